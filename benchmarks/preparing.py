"""How much preparing costs beyond decoding and resizing, as ratios against a bare parallel loop over the same files.

    python benchmarks/preparing.py           all rows, about five minutes on two cores, 2 GB of disk
    python benchmarks/preparing.py chexpert  only rows whose name contains a word

The rival is a ``multiprocessing`` pool that decodes and resizes every file with the same libraries and throws the
result away: no table, no order, no manifest, no checks, nothing that could be continued. Both sides use one process per
core, take turns, and the best time of three counts. Starting up is left out on both sides: libraries are imported
before the clock starts. The last row is no ratio: it says how long ``setup`` takes.
"""

import argparse
import csv
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Python looks for modules beside the script first, where metrics.py would hide the package of its name.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_rescale
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from datamodules.preparation.prepare import prepare
from datamodules.preparation.workers import available_processors
from datamodules.recipes import make_recipe

_REPEATS = 3
_SIDE = 224
_WANTED = 1.3


@dataclass(frozen=True)
class Case:
    """Files of one kind, and what the rival does with one."""

    what: str
    recipe: str
    count: int
    write: Callable[[Path, int], list[Path]]
    decode: Callable[[Path], object]


def texture(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A smooth picture with some noise, which compresses like a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(rng.integers(0, 40, (size[1], size[0]), dtype=np.uint8)).filter(ImageFilter.BoxBlur(1))
    return np.clip(np.asarray(coarse).astype(np.int64) + np.asarray(fine) - 20, 0, 255).astype(np.uint8)


def write_chexpert(folder: Path, count: int) -> list[Path]:
    """Grey JPEGs of 390×320, as in the small version of CheXpert."""
    files, lines = [], []
    columns = ["Path", "Frontal/Lateral", *make_columns()]
    for i in range(count):
        name = f"train/patient{i:05d}/study1/view1_frontal.jpg"
        file = folder / "CheXpert-v1.0-small" / name
        file.parent.mkdir(parents=True)
        Image.fromarray(texture(i % 50, (390, 320))).save(file, quality=90)
        files.append(file)
        lines.append([f"CheXpert-v1.0-small/{name}", "Frontal", *[str(float(i % 2))] * (len(columns) - 2)])
    with (folder / "CheXpert-v1.0-small" / "train.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([columns, *lines])
    return files


def make_columns() -> tuple[str, ...]:
    """The observations of CheXpert."""
    from datamodules.recipes.chexpert import LABELLINGS

    return LABELLINGS


def decode_chexpert(file: Path) -> object:
    """Decode and resize one JPEG."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def write_rsna(folder: Path, count: int) -> list[Path]:
    """Signed 16-bit CT slices of 512×512, uncompressed, as RSNA's."""
    kinds = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
    files, lines = [], []
    (folder / "stage_2_train").mkdir(parents=True)
    for i in range(count):
        name = f"ID_{i:09x}"
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
        data.PatientID, data.Modality = f"ID_{i // 30:08x}", "CT"
        data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
        data.Rows = data.Columns = 512
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept, data.PixelSpacing = 1, -1024, [0.5, 0.5]
        data.WindowCenter, data.WindowWidth = 40, 80
        data.PixelData = (texture(i % 50, (512, 512)).astype(np.int16) + 960).tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / "stage_2_train" / f"{name}.dcm", enforce_file_format=True)
        files.append(folder / "stage_2_train" / f"{name}.dcm")
        lines += [[f"{name}_{kind}", i % 2] for kind in kinds]
    with (folder / "stage_2_train.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([["ID", "Label"], *lines])
    return files


def decode_rsna(file: Path) -> object:
    """Decode, window and resize one slice."""
    data = pydicom.dcmread(file)
    units = apply_rescale(data.pixel_array, data)
    levels = np.rint(units.clip(0, 80) * (255 / 80)).astype(np.uint8)
    return np.asarray(Image.fromarray(levels).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def write_isic(folder: Path, count: int) -> list[Path]:
    """Colour JPEGs of 1,024×768, as many of ISIC 2019."""
    files, truth, metadata = [], [], []
    place = folder / "ISIC_2019_Training_Input"
    place.mkdir(parents=True)
    for i in range(count):
        name = f"ISIC_{i:07d}"
        colours = [texture(3 * (i % 20) + channel, (1024, 768)) for channel in range(3)]
        Image.fromarray(np.stack(colours, axis=-1)).save(place / f"{name}.jpg", quality=90)
        files.append(place / f"{name}.jpg")
        truth.append([name, *[float(j == i % 2) for j in range(9)]])
        metadata.append([name, 50, "torso", f"lesion{i}", "female"])
    for stem, columns, rows in (
        ("GroundTruth", ["image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"], truth),
        ("Metadata", ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"], metadata),
    ):
        with (folder / f"ISIC_2019_Training_{stem}.csv").open("w", newline="") as opened:
            csv.writer(opened).writerows([columns, *rows])
    return files


def decode_isic(file: Path) -> object:
    """Decode and resize one photograph."""
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


CASES = (
    Case("chexpert: 4,000 grey JPEGs of 390×320", "chexpert", 4000, write_chexpert, decode_chexpert),
    Case("isic: 800 colour JPEGs of 1,024×768", "isic", 800, write_isic, decode_isic),
    Case("rsna: 1,500 DICOM slices of 512×512", "rsna", 1500, write_rsna, decode_rsna),
)


def bare_loop(case: Case, files: list[Path]) -> float:
    """Seconds that the rival takes."""
    with multiprocessing.get_context("fork").Pool(available_processors()) as pool:
        pool.map(abs, range(100))
        start = time.perf_counter()
        for _ in pool.imap_unordered(_Discard(case.decode), files, chunksize=16):
            pass
        return time.perf_counter() - start


@dataclass(frozen=True)
class _Discard:
    decode: Callable[[Path], object]

    def __call__(self, file: Path) -> None:
        self.decode(file)


def preparation(case: Case, folder: Path, out: Path) -> float:
    """Seconds that preparing takes, listing and writing included."""
    shutil.rmtree(out, ignore_errors=True)
    recipe = make_recipe(case.recipe)
    start = time.perf_counter()
    prepare(recipe, folder, out)
    return time.perf_counter() - start


def compare(case: Case, place: Path) -> None:
    """Time both sides and print a row."""
    folder = place / case.recipe
    files = case.write(folder, case.count)
    preparation(case, folder, place / "table")  # starts what copies of the processes are made of
    ours, rival = [], []
    for _ in range(_REPEATS):
        rival.append(bare_loop(case, files))
        ours.append(preparation(case, folder, place / "table"))
    ratio = min(ours) / min(rival)
    print(f"| {case.what} | {min(ours):.2f} s | {min(rival):.2f} s | **{ratio:.2f}** | {_WANTED} |", flush=True)
    shutil.rmtree(folder)


def time_setup(place: Path) -> None:
    """Print how long ``setup`` takes on a table of 10,000 images."""
    from datamodules import TableDataModule, write_table  # here: each process that decodes imports this file

    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (64, 1, _SIDE, _SIDE), dtype=np.uint8)
    rows = ({"label": i % 2, "group": f"p{i // 3}", "split": "", "source": f"s{i}"} for i in range(10_000))
    write_table(place / "big", ((np.roll(base[i % 64], i, axis=2), row) for i, row in enumerate(rows)))
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        TableDataModule(str(place / "big"), n_train=2500, n_val=0, n_test=750).setup()
        times.append(time.perf_counter() - start)
    print(f"\nsetup, N = 2,500 and 750 to test, {_SIDE}×{_SIDE}, of 10,000: {min(times):.2f} s (wanted: under 1 s)")


def main() -> None:
    """Print a table in Markdown."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("word", nargs="?", default="", help="only rows whose name contains it")
    word = words.parse_args().word
    print(f"{available_processors()} processors; Pillow {Image.__version__}, pydicom {pydicom.__version__}\n")
    print("| files | prepare | bare loop | ratio | wanted at most |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        place = Path(temporary)
        for case in CASES:
            if word in case.what:
                compare(case, place)
        if word in "setup":
            time_setup(place)


if __name__ == "__main__":
    main()
