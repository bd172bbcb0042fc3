"""OAI as it is downloaded, in small: films of both knees, their readings; and knees that Chen cut out of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.raw.dicom import write_dicom
from tests.raw.made import Made

PACKAGE = "Package_1197300"
SERIES = "Bilateral PA Fixed Flexion Knee"
SHAPE = (300, 400)  # pixels
SPACING = 0.8  # mm
JOINTS = ((130, 95), (170, 310))  # row and column in pixels, the left one in the picture first
BITS = 12

Reading = tuple[str, str, str, str]
"""Side, project, grade and the barcode of the film, as they stand in the spreadsheet."""


@dataclass(frozen=True)
class Study:
    """One film, and what is known of it.

    Attributes:
        path: Release, participant, date and barcode.
        grades: Of the right and the left knee; a text says why there is none.
        readings: The rows of the spreadsheet.
        tags: DICOM elements that are not as usual.
    """

    path: str
    grades: tuple[int | str, int | str]
    readings: tuple[Reading, ...] = ()
    tags: tuple[tuple[str, object], ...] = ()


_NONE, _OTHER = "no KL grade", "the KL grade is of another film"
_PLAIN = tuple(
    Study(
        f"0.E.1/{9_100_000 + 37 * i}/20050{i}17/00{700_004 + 1_000 * i}",
        (i % 5, (2 * i + 1) % 5),
        (("1", "15", str(i % 5), f"01660{700_004 + 1_000 * i:07}"), ("2", "15", str((2 * i + 1) % 5), "")),
        (("PhotometricInterpretation", "MONOCHROME1"),) if i % 2 else (),
    )
    for i in (4, 2, 7, 1, 5, 8, 3, 6)
)
# Not sorted: neither in this list nor on disk.
STUDIES = (
    *_PLAIN,
    Study(  # values with their meaning
        "0.C.2/9001695/20041207/00456604",
        (0, 2),
        (("1: Right", "15", "0: None", "016600456604"), ("2: Left", "15", "2: Minimal", "016600456604")),
        (("PhotometricInterpretation", "MONOCHROME1"),),
    ),
    Study(  # several readings: 15 counts, else 37, else 42; those that are missing do not
        "0.E.1/9002116/20050322/00660603",
        (3, 1),
        (
            *(("1", "42", "1", ""), ("1", "15", "3", ""), ("1", "37", "2", "")),
            *(("2", "42", "4", ""), ("2", "37", "1", ""), ("2", "15", ".", "")),
        ),
        (("PixelSpacing", None), ("ImagerPixelSpacing", [SPACING, SPACING])),
    ),
    Study(  # the left knee could not be graded; a barcode that lost its first digit
        "0.E.1/9002430/20050405/00685004",
        (4, _NONE),
        (("1", "15", "4: Severe", "16600685004"), ("2", "15", ".A: Not Expected", "16600685004")),
    ),
    Study("0.E.1/9003380/20050118/00502004", (_NONE, _NONE), (("1", "99", "3", ""),)),
    # Two films of one participant on one day, read one each.
    Study("0.C.2/9466244/20040715/00153705", (1, _OTHER), (("1", "15", "1", "016600153705"),)),
    Study("0.C.2/9466244/20040715/00153704", (_OTHER, 3), (("2", "15", "3", "016600153704"),)),
    # A hand, of a participant whose readings do not name their film.
    Study("0.E.1/9116298/20050407/00696804", (2, 0), (("1", "15", "2", "."), ("2", "15", "0", "T"))),
    Study("0.E.1/9116298/20050407/00696899", ("", ""), (), (("SeriesDescription", "PA Right Hand"),)),
    # Pixels that are not square.
    Study(
        "0.E.1/9656208/20051103/01244303",
        (0, 0),
        (("1", "15", "0", ""), ("2", "15", "0", "")),
        (("PixelSpacing", [0.6, 0.9]),),
    ),
    # No size of pixels.
    Study("0.E.1/9569946/20050714/00938104", (2, _NONE), (("1", "15", "2", ""),), (("PixelSpacing", [0, 0]),)),
)


def draw_film(rng: np.random.Generator, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint16]:
    """Two bright legs with a gap each, twelve bits, bone bright."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    film = rng.integers(100, 300, shape)
    for row, column in JOINTS:
        film[(np.abs(columns - column) < 32) & (np.abs(rows - row) > 4)] += int(rng.integers(2500, 3500))
    return film.astype(np.uint16)


def make_oai(root: Path, seed: int = 0) -> Made:
    """Write a package of films with their readings, among previews, other series and a film of a later visit."""
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    skipped: dict[str, str] = {}
    package = root / PACKAGE
    for study in STUDIES:
        write_film(package / "results" / "P001" / study.path / "001", rng, **dict(study.tags))
        _, participant, date, barcode = study.path.split("/")
        source = f"{participant}/{date}/{barcode}/001"
        if "SeriesDescription" in dict(study.tags):
            skipped[source] = f"a series that is not called {SERIES}"
            continue
        for side, grade in zip("RL", study.grades, strict=True):
            if isinstance(grade, str):
                skipped[f"{source}#{side}"] = grade
            else:
                expected[f"{source}#{side}"] = row(participant, side, grade)
    write_readings(package / "kxr_sq_bu00.txt", STUDIES)
    folder = package / "results" / "P001" / "0.C.2" / "9001695" / "20041207" / "00456604"
    Image.new("L", (8, 8)).save(folder / "001.jpg")
    (folder / ".DS_Store").write_bytes(b"left by a Mac")
    write_film(package / "results" / "P001" / "1.E.1" / "9001695" / "20051209" / "01300001" / "001", rng)
    return Made(expected, skipped)


def write_film(file: Path, rng: np.random.Generator, **tags: object) -> None:
    """Write a DICOM file of both knees."""
    film = draw_film(rng)
    usual: dict[str, object] = {"SeriesDescription": SERIES, "PixelSpacing": [SPACING, SPACING], "BitsStored": BITS}
    tags = usual | {"Modality": "CR"} | tags
    if tags.get("PhotometricInterpretation") == "MONOCHROME1":
        film = (2**BITS - 1 - film).astype(np.uint16)
    write_dicom(file, film, **tags)


def write_readings(file: Path, studies: Iterable[Study]) -> None:
    """Write the spreadsheet; the case of its columns varies, as between releases."""
    lines = ["ID|side|READPRJ|VERSION|V00XRKL|V00XRJSM|v00barcdbu"]
    for study in studies:
        participant = study.path.split("/")[1]
        for side, project, grade, barcode in study.readings:
            lines.append(f"{participant}|{side}|{project}|0.8|{grade}|0|{barcode}")
    lines.append("9999999|1|15|0.8|3|0|016609999999")  # of a film that was not downloaded
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def write_contents(folder: Path, seed: int = 0) -> None:
    """Write the films as a whole visit has them: ``OAI_00m`` with contents.csv, and no series in their headers."""
    rng = np.random.default_rng(seed)
    lines = ["Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"]
    for study in STUDIES:
        tags = dict(study.tags)
        series = tags.get("SeriesDescription", SERIES)
        write_film(folder / study.path / "001", rng, **tags | {"SeriesDescription": None})
        _, participant, date, barcode = study.path.split("/")
        lines.append(f"{study.path},{participant},{date},{int(barcode)},OAI^Bilateral,{series}")
    lines.append("0.E.1/9001695/20050101/10000001,9001695,20050101,10000001,OAI^MR,SAG_3D_DESS_LEFT")
    (folder / "contents.csv").write_text("\n".join(lines) + "\n")


def make_kneexray(root: Path, seed: int = 0) -> Made:
    """Write knees that were cut out by Chen, in two sizes, with auto_test."""
    rng = np.random.default_rng(seed)
    expected = {}
    for i in range(40):
        participant, side, grade = str(9_000_000 + 31 * (i // 2)), "LR"[i % 2], (3 * i + i // 10) % 5
        split = ("train", "train", "val", "test")[i // 2 % 4]
        for place, size in ((f"kneeKL224/{split}", 224), (f"kneeKL299/{split}", 299), ("kneeKL224/auto_test", 224)):
            file = root / "ClsKLData" / place / str(grade) / f"{participant}{side}.png"
            if place.endswith("auto_test") and split != "test":
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            small = rng.integers(0, 250, (8, 8)).astype(np.uint8)
            Image.fromarray(small).resize((size, size), Image.Resampling.NEAREST).save(file)
        name = {"val": "valid"}.get(split, split)
        expected[f"{split}/{grade}/{participant}{side}.png"] = row(participant, side, grade, name)
    return Made(expected)


def row(participant: str, side: str, grade: int, split: str = "") -> dict[str, str]:
    """What the manifest holds of a knee."""
    label = {0: "0", 1: "0", 2: "1", 3: "1", 4: "1"}[grade]
    return {"label": label, "kl": str(grade), "side": side, "group": participant, "split": split}
