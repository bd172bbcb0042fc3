"""The properties of one's own images, as far as they can be compared with those in a law."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_app.analysis.law import ScalingLaw
from lightning_app.mistakes import mistake

_PER_PIXEL = "_per_pixel"
_SAME = 1.02  # sample sizes this close are equal: images with twins of another class do not count


@dataclass(frozen=True)
class Properties:
    """What a forecast needs to know of images.

    Attributes:
        d_data: Intrinsic dimension.
        d_data_stderr: Its standard error; 0 where it is unknown.
        k_f: Label sharpness.
        k_f_stderr: Its standard error; 0 where it is unknown.
        notes: What may not be comparable, a sentence each.
    """

    d_data: float
    d_data_stderr: float
    k_f: float
    k_f_stderr: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """What K_F of a law's data sets was measured at; empty where the records do not say.

    Attributes:
        sizes: Sides of the images in pixels, in order.
        channels: Their channels, in order.
        samples: Images per sample, in order.
        records: Whose they are, in words.
    """

    sizes: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    samples: tuple[int, ...] = ()
    records: str = "the records"

    def __str__(self) -> str:
        channels = "channel" if self.channels == (1,) else "channels"
        counted = {"pixels a side": self.sizes, channels: self.channels, "images per sample": self.samples}
        return ", ".join(f"{' or '.join(map(str, values))} {what}" for what, values in counted.items() if values)


def settings_of(law: ScalingLaw, records: pd.DataFrame, domain: str | None = None) -> Settings:
    """What the data sets of a law were measured at.

    Args:
        law: The law.
        records: All records of its report.
        domain: Only those of this domain count, where there are any.
    """
    there = domain in set(law.records["domain"])
    chosen = law.records[law.records["domain"] == domain] if there else law.records
    fitted = records[records["run_id"].isin(chosen["run_id"])]
    samples = law.sharpness.removesuffix(_PER_PIXEL) + "_n_images"
    shape = [] if law.sharpness.endswith(_PER_PIXEL) else ["image_size", "channels"]
    found = {
        name: tuple(sorted({int(value) for value in fitted[name].dropna()}))
        for name in (*shape, samples)
        if name in fitted
    }
    whose = f"the records of {domain}" if there else "the records"
    return Settings(found.get("image_size", ()), found.get("channels", ()), found.get(samples, ()), whose)


def read_properties(file: str, law: ScalingLaw, settings: Settings) -> Properties:
    """What ``lightning measure --json FILE`` has written, in the units of a law.

    Args:
        file: The file.
        law: Its ``dimension`` and ``sharpness`` say what is taken.
        settings: What the images must have been measured at.

    Raises:
        InputError: No such file, something else, or measured otherwise than the law's data sets.
    """
    content = _read(file)
    d, d_stderr = _value(content, law.dimension.rpartition("/")[2], file)
    per_pixel = law.sharpness.endswith(_PER_PIXEL)
    if not per_pixel:
        _check_shape(content, settings, file)
    point, notes = _at_sample_size(content, settings, file)
    k_f, k_f_stderr = _value(point, "K_F", file)
    scale = 1.0
    if law.sharpness.endswith(_PER_PIXEL):
        scale = math.sqrt(content["channels"] * content["height"] * content["width"])
    return Properties(d, d_stderr, scale * k_f, scale * k_f_stderr, notes)


def _read(file: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise mistake(
            f"cannot read {file} ({error.strerror}): `lightning measure FOLDER --json {file}` writes it"
        ) from error
    except ValueError as error:
        raise mistake(f"{file} is damaged: write it again with `lightning measure FOLDER --json {file}`") from error
    if not isinstance(content, dict) or not {"K_F_over_M", "channels", "height", "width"} <= content.keys():
        raise mistake(f"{file} holds no properties of images: `lightning measure FOLDER --json FILE` writes them")
    return content


def _value(content: dict[str, Any], name: str, file: str) -> tuple[float, float]:
    if name not in content:
        raise mistake(f"{file} has no {name}: measure with --estimators {name.removeprefix('d_')}")
    if content[name] is None:
        raise mistake(f"{file} has no {name}: {'; '.join(content.get('missing', ())) or 'it could not be measured'}")
    return float(content[name]), float(content.get(f"{name}_stderr") or 0.0)


def _check_shape(content: dict[str, Any], settings: Settings, file: str) -> None:
    height, width, channels = (content[name] for name in ("height", "width", "channels"))
    if settings.sizes and (height != width or height not in settings.sizes):
        theirs = " or ".join(f"{size}×{size}" for size in settings.sizes)
        raise mistake(
            f"K_F depends on the resolution: {file} has {width}×{height} pixels, {settings.records} have {theirs}: "
            f"measure with --image-size {settings.sizes[-1]}"
        )
    if settings.channels and channels not in settings.channels:
        raise mistake(
            f"K_F depends on the channels: {file} has {channels}, {settings.records} have "
            f"{' or '.join(map(str, settings.channels))}: measure with --channels {settings.channels[-1]}"
        )


def _at_sample_size(content: dict[str, Any], settings: Settings, file: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """K_F of samples as large as the law's, and what is to be said of it."""
    curve: list[dict[str, Any]] = content["K_F_over_M"] or []
    if not curve or not settings.samples:
        return content, ()
    least, most = settings.samples[0], settings.samples[-1]
    fitting = [point for point in curve if least / _SAME <= point["M"] <= most * _SAME]
    if fitting:
        return fitting[-1], ()
    if content["n_images"] < least:
        return curve[-1], (
            f"K_F is of all {curve[-1]['M']:,} images that there are, and grows with their number: that of "
            f"{settings.records} is of samples of {least:,}, so here it is too low, and so is the loss.",
        )
    raise mistake(
        f"K_F grows with the images per sample: {file} has it for {', '.join(str(point['M']) for point in curve)}, "
        f"{settings.records} for {' or '.join(map(str, settings.samples))}: measure with --samples {most}"
    )
