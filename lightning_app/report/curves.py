"""What was logged at every epoch, of many runs at once."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

_BATCH = 50  # files that are parsed as one: to begin takes longer than to read a file

Log = tuple[str, Path, bytes]


def read_curves(files: Mapping[str, Path]) -> pd.DataFrame:
    """The losses, and the dimensions and depths of representations, at every epoch.

    Args:
        files: ``metrics.csv`` of every run, by its run id. One that is not there has no rows; one that is damaged has
            none either, and is named on stderr.

    Returns:
        ``run_id``, ``epoch``, and every ``…/loss`` of train, val and test, ``repr/…/d_mle`` and ``repr/…/depth`` that
        any of the files has, as float32: NaN where there is none.
    """
    named = list(files.items())
    batches = [named[i : i + _BATCH] for i in range(0, len(named), _BATCH)]
    frames: list[pd.DataFrame] = []
    complaints: list[str] = []
    for found, wrong in map(_read, batches):
        frames += [frame for frame in found if len(frame)]
        complaints += wrong
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if not frames:
        return pd.DataFrame({"run_id": pd.Series(dtype="str"), "epoch": pd.Series(dtype="int32")})
    return pd.concat(frames, ignore_index=True)


def _read(files: Sequence[tuple[str, Path]]) -> tuple[list[pd.DataFrame], list[str]]:
    """What some of the files hold, and what is wrong with others."""
    logs: dict[bytes, list[Log]] = {}
    frames, complaints = [], []
    for run_id, file in files:
        try:
            header, _, body = file.read_bytes().partition(b"\n")
        except FileNotFoundError:
            continue
        except OSError as error:
            complaints.append(f"left out {file}: {error.strerror}")
            continue
        logs.setdefault(header, []).append((run_id, file, body))
    for header, alike in logs.items():
        try:
            frames.append(_parsed(header, alike))
        except (ValueError, csv.Error):
            for log in alike:
                try:
                    frames.append(_parsed(header, [log]))
                except (ValueError, csv.Error):
                    complaints.append(f"left out {log[1]}: it is damaged")
    return frames, complaints


def _parsed(header: bytes, logs: Sequence[Log]) -> pd.DataFrame:
    """Files with the same columns, one below the other."""
    columns = next(csv.reader([header.decode()]))
    types = {name: "int32" if name == "epoch" else "float32" for name in columns if _is_needed(name)}
    text = b"".join(body for _, _, body in logs)
    frame = pd.read_csv(io.BytesIO(text), header=None, names=columns, usecols=list(types), dtype=types, index_col=False)
    rows = [body.count(b"\n") for _, _, body in logs]
    if sum(rows) != len(frame) or "epoch" not in frame:
        raise ValueError(header)
    frame.insert(0, "run_id", np.repeat([run_id for run_id, _, _ in logs], rows))
    return frame


def _is_needed(name: str) -> bool:
    if name.startswith("repr/"):
        return name.endswith(("/d_mle", "/depth"))
    return name in ("epoch", "train/loss", "val/loss", "test/loss")
