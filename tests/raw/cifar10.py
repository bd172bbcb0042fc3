"""CIFAR-10 as it is downloaded, in small: pickles as Python 2 wrote them."""

import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests.raw.made import Made

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
_BATCHES = {"test_batch": 40, "data_batch_3": 24, **{f"data_batch_{i}": 24 for i in (5, 1, 4, 2)}}


def make_cifar10(root: Path, seed: int = 0, *, archive: bool = False) -> Made:
    """Write the six batches and the names of the classes, in a folder or as the archive that holds it."""
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    files = {"batches.meta": pickled({b"label_names": [b"airplane", b"automobile"], b"num_vis": 3072})}
    for batch, count in _BATCHES.items():
        labels = rng.permutation(np.arange(count) % 10).tolist()
        data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        files[batch] = pickled(
            {b"batch_label": batch.encode(), b"labels": labels, b"data": data, b"filenames": [b"a.png"] * count}
        )
        split = "test" if batch == "test_batch" else "train"
        for i, label in enumerate(labels):
            expected[f"{batch}#{i}"] = {"label": str(label), "group": f"{batch}#{i}", "split": split}
    if archive:
        write_archive(root / ARCHIVE, files)
    else:
        (root / FOLDER).mkdir(parents=True)
        for name, content in files.items():
            (root / FOLDER / name).write_bytes(content)
    return Made(expected)


def write_archive(file: Path, files: dict[str, bytes]) -> None:
    """Write a compressed tar archive of the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


class _Python2(pickle._Pickler):  # the one in C cannot be taught
    """Writes text and bytes as Python 2 did, which knew no difference."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _save_string(self, text: str | bytes) -> None:
        content = text.encode() if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)  # type: ignore[attr-defined]  # it has

    dispatch[str] = dispatch[bytes] = _save_string


def pickled(content: dict[bytes, Any]) -> bytes:
    """What Python 2 and the NumPy of its time would have written."""
    file = io.BytesIO()
    _Python2(file, protocol=2).dump(content)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
