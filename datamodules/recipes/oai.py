"""OAI: radiographs of both knees, or knees cut out of them, with the Kellgren and Lawrence grade of each."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.levels import by_maximum, to_levels
from datamodules.pictures import UnreadableError
from datamodules.preparation import dicom
from datamodules.preparation.knees import PIXEL, Centre, cut_out, locate_knees, to_pixels
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Note, PictureRecipe, Piece, Skip
from datamodules.tables import Row
from metrics import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

Crops = Literal["localizer", "boxes", "kneexray"]

SERIES = "Bilateral PA Fixed Flexion Knee"
_READINGS = "kxr_sq_bu00.txt"
_BARCODE = "V00BARCDBU"
_PROJECTS = (15, 37, 42)  # that graded the knees; the first that graded one counts
_SIDES = {1: "R", 2: "L"}
_BOXES = "boxes.csv"
_LEAST, _MOST = 10, 1000  # mm: height and width of a film
# Release (those of the baseline visit begin with 0), then participant, date, barcode and file.
_FILM = re.compile(r"(?:(?:.*/)?(\d+)\.\w+\.\d+/|(?:.*/)?)(\d{7}/\d{8}/\d{8}/[^/.]+)(?:\.dcm)?", re.IGNORECASE)
_KNEE = re.compile(r"(?:.*/)?((train|val|test)/([0-4])/(\d{7})([LR])\.png)")


@dataclass(frozen=True)
class Knee:
    """A knee with a grade.

    Attributes:
        side: Of the body, L or R.
        kl: Kellgren and Lawrence grade, 0 to 4.
        centre: The joint in pixels of 0.2 mm, where it is given.
    """

    side: str
    kl: int
    centre: Centre | None = None


@dataclass(frozen=True)
class Film:
    """A film of both knees, or a picture of one.

    Attributes:
        participant: Whose.
        split: train, valid, test or blank.
        knees: Those that become images.
        others: The sides that do not, and why.
        is_listed: Whether contents.csv says that it is of the right series.
    """

    participant: str
    split: str
    knees: tuple[Knee, ...]
    others: tuple[tuple[str, str], ...] = ()
    is_listed: bool = False


@dataclass(frozen=True)
class _Reading:
    """A grade: by which project, and of which film, as far as that is known."""

    line: int
    project: int
    barcode: int | None
    kl: int


@dataclass(frozen=True, kw_only=True)
class OAIRecipe(PictureRecipe[Film]):
    """Osteoarthritis Initiative, baseline visit: one image per knee, from films of both knees.

    A row holds ``label``: 1 for a Kellgren and Lawrence grade of 2 and more (osteoarthritis), 0 for 0 and 1; ``kl``,
    the grade; ``side``, L or R, the patient's; ``group``, the participant, with both knees; ``split``, official for
    knees that were cut out by Chen, else blank; and ``source``, e.g. ``9001695/20041207/00456604/001#L`` or
    ``train/2/9001695L.png``.

    Films are those called "Bilateral PA Fixed Flexion Knee" by contents.csv or, where it does not list them, by
    themselves. The grade of a knee is that of reading project 15, else 37, else 42, for the film that was read, as far
    as kxr_sq_bu00.txt names it (column V00BARCDBU, whose last eight digits are the barcode of the film's folder).

    Grey levels span the range that the film states (its window, or all values that its bits can hold); bone is bright
    (MONOCHROME1 is inverted after that); pixels become 0.2 mm (bicubic), and 672×672 of them about the joint are cut
    out, black where the film ends. The left knee in the picture is the patient's right one. Under the reference
    protocol a film is scaled by its own maximum instead, and each crop by its own again.

    Args:
        crops: Where the knees are: localizer finds them (see ``preparation/knees.py``); boxes reads the middle of each
            joint from boxes.csv, with the columns ID (participant), side (L or R), cx and cy (in pixels of 0.2 mm from
            the film's left and upper border) and, needed where a participant has several films, Barcode; kneexray
            takes knees that were cut out by Chen, kneeKL224/{train,val,test}/{0..4}/9001695L.png.

    Source: nda.nih.gov/oai; P. Chen, Knee Osteoarthritis Severity Grading Dataset, Mendeley Data, 2018.
    """

    name = "oai"
    title = "OAI (radiographs of the knee)"
    access = (
        "The NIMH Data Archive (nda.nih.gov/oai) gives it after registration and a data-use certification: the package "
        "OAIBaselineImages (releases 0.C.2 and 0.E.1; X-ray), and kxr_sq_bu00.txt from X-Ray Image Assessments, "
        "Semi-Quant Scoring, ASCII. Without that, take KneeXrayData, knees cut out by P. Chen (Mendeley Data, "
        "doi 10.17632/56rmx5bjcr, which states its licence; no registration), with --crops kneexray."
    )
    variants = (*PictureRecipe.variants, "crops")

    crops: Crops = "localizer"

    def pieces(self, raw: Raw) -> list[Piece[Film]]:
        """One piece per film, by participant, date and barcode, or one per knee that is cut out already.

        Raises:
            InputError: Readings or boxes that cannot be understood or contradict each other, a box that fits several
                films, a film or knee that lies in two places; names file and line.
        """
        if self.crops == "kneexray":
            return _cut_out_already(raw)
        films = _films(raw)
        if not films:
            if _cut_out_already(raw):
                raise InputError(f"{raw.folder} holds knees that are cut out already: give --crops kneexray")
            return []
        readings = _readings(raw)
        graded = {
            source: {side: _grade(readings[_participant(source), side], _barcode(source)) for side in ("L", "R")}
            for source in films
        }
        centres = _centres(raw, graded) if self.crops == "boxes" else {}
        pieces = []
        for source, (file, is_listed) in sorted(films.items()):
            knees, others = [], []
            for side, kl in graded[source].items():
                centre = centres.get((source, side))
                if isinstance(kl, str):
                    others.append((side, kl))
                elif self.crops == "boxes" and centre is None:
                    others.append((side, f"{_BOXES} has no row for it"))
                else:
                    knees.append(Knee(side, kl, centre))
            film = Film(_participant(source), "", tuple(knees), tuple(others), is_listed)
            pieces.append(Piece(source, (file,), film))
        return pieces

    def decode(self, folder: Path, piece: Piece[Film]) -> Iterator[Found]:
        """The knees of a film, the patient's left one first."""
        film, file = piece.facts, folder / piece.files[0]
        if self.crops == "kneexray":
            yield self.picture(file, 1), _row(film, film.knees[0], piece.source)
            return
        data = dicom.read_dicom(file)
        if not film.is_listed and not _is_right(str(data.get("SeriesDescription", ""))):
            yield Skip(piece.source, f"a series that is not called {SERIES}")
            return
        for side, reason in film.others:
            yield Skip(f"{piece.source}#{side}", reason)
        if not film.knees:
            return
        is_reference = self.protocol == "reference"
        levels = _levels(data, by_itself=is_reference)
        spacing = dicom.pixel_spacing(data)
        if spacing is None:
            yield Note(f"a film that does not state the size of its pixels: taken as {PIXEL} mm")
            spacing = PIXEL, PIXEL
        height, width = (pixels * size for pixels, size in zip(levels.shape, spacing, strict=True))
        if min(height, width) < _LEAST or max(height, width) > _MOST:
            raise UnreadableError(f"measures {height:.4g} × {width:.4g} mm: expected {_LEAST} to {_MOST}")
        levels = to_pixels(levels, spacing)
        found = dict(zip("RL", locate_knees(levels), strict=True)) if self.crops == "localizer" else {}
        for knee in film.knees:
            image = cut_out(levels, knee.centre or found[knee.side])
            image = by_maximum(image) if is_reference else image
            yield self.square(image[None]), _row(film, knee, f"{piece.source}#{knee.side}")

    def label_names(self) -> dict[str, dict[int, str]]:
        """What labels and grades mean."""
        grades = ("none", "doubtful", "minimal", "moderate", "severe")
        return {"label": {0: "KL 0 or 1", 1: "KL 2, 3 or 4"}, "kl": dict(enumerate(grades))}


def _levels(data: "Dataset", *, by_itself: bool) -> NDArray[np.uint8]:
    """A film in grey levels, bone bright: over the range that it states, or by its own maximum."""
    values = dicom.stored_values(data)
    if values.ndim != 2:
        raise UnreadableError(f"holds {len(values)} frames: expected one")
    levels = by_maximum(values) if by_itself else to_levels(dicom.rescaled(data, values), dicom.stated_window(data))
    return 255 - levels if dicom.is_inverted(data) else levels


def _row(film: Film, knee: Knee, source: str) -> Row:
    return {
        "label": int(knee.kl >= 2),
        "kl": knee.kl,
        "side": knee.side,
        "group": film.participant,
        "split": film.split,
        "source": source,
    }


def _participant(source: str) -> str:
    return source.split("/")[0]


def _barcode(source: str) -> int:
    return int(source.split("/")[2])


def _is_right(series: str) -> bool:
    return series.strip().casefold() == SERIES.casefold()


def _cut_out_already(raw: Raw) -> list[Piece[Film]]:
    """The knees of Chen, the smaller of two sizes, without auto_test, which is no split."""
    above = raw.folder.resolve().name

    def source_of(file: str) -> str | None:
        match = _KNEE.fullmatch(file)
        return match[1] if match and "kneekl299" not in f"{above}/{file}".lower().split("/") else None

    places: dict[str, str] = {}
    pieces = []
    for source, file in sorted(raw.index(".png", source_of).items()):
        split, grade, name = source.split("/")
        known = places.setdefault(name, file)
        if known != file:
            raise InputError(f"{raw.folder} holds {name} twice ({known}, {file}): keep one of them")
        film = Film(name[:7], "valid" if split == "val" else split, (Knee(name[7], int(grade)),))
        pieces.append(Piece(source, (file,), film))
    return pieces


def _films(raw: Raw) -> dict[str, tuple[str, bool]]:
    """Files of the baseline visit by their source, and whether contents.csv says that they are of the right series.

    Files that contents.csv says are not are left out. One that it lists and that is absent is in.
    """

    def source_of(file: str) -> str | None:
        match = _FILM.fullmatch(file)
        if match is None:
            return None
        if match[1] and int(match[1]):
            raw.note("a file of a later visit: left out")
            return None
        return match[2]

    stored = raw.index("", source_of)
    listed: dict[str, bool] = {}
    absent: dict[str, str] = {}
    folders = {source.rpartition("/")[0] for source in stored}
    for contents in raw.below("", "contents.csv"):
        for _, (place, series) in raw.rows(contents, ["Folder", "SeriesDescription"]):
            file = "/".join([*contents.split("/")[:-1], *place.replace("\\", "/").strip("./").split("/"), "001"])
            match = _FILM.fullmatch(file)
            if match is None or int(match[1] or 0):
                continue
            folder = match[2].rpartition("/")[0]
            listed[folder] = _is_right(series)
            if listed[folder] and folder not in folders:
                absent[match[2]] = file
    films: dict[str, tuple[str, bool]] = {source: (file, True) for source, file in absent.items()}
    for source, file in stored.items():
        is_right = listed.get(source.rpartition("/")[0])
        if is_right is False:
            raw.note(f"a file of a series that is not called {SERIES}: left out")
        else:
            films[source] = file, is_right is True
    return films


def _readings(raw: Raw) -> defaultdict[tuple[str, str], list[_Reading]]:
    """The grades of each knee, by participant and side; those that are missing are left out."""
    file = raw.require(_READINGS, "the grades of the knees")
    columns = ["ID", "SIDE", "READPRJ", "V00XRKL"]
    readings: defaultdict[tuple[str, str], list[_Reading]] = defaultdict(list)
    for number, cells in raw.rows(file, [*columns, *_optional(raw, file, _BARCODE)], delimiter="|"):
        where = f"{raw.folder / file}, line {number}"
        named = dict(zip(columns, cells, strict=False))
        participant, side, project, kl = (_code(cell, name, where) for name, cell in named.items())
        if kl is None or project not in _PROJECTS:
            continue
        if participant is None or side not in _SIDES or kl > 4:
            shown = ", ".join(f"{name} {cell!r}" for name, cell in named.items())
            raise InputError(f"{where}: {shown}; expected a participant, side 1 (right) or 2 (left), a grade of 0 to 4")
        film = re.match(r"\d+", "".join(cells[len(columns) :]))
        # The barcode of the film's folder follows four digits that are the same for all.
        reading = _Reading(number, project, int(film[0][-8:]) if film else None, kl)
        for other in readings[str(participant), _SIDES[side]]:
            if (other.project, other.barcode) == (reading.project, reading.barcode) and other.kl != kl:
                raise InputError(f"{where}: grade {kl} of a knee that line {other.line} grades {other.kl}: keep one")
        readings[str(participant), _SIDES[side]].append(reading)
    return readings


def _grade(readings: list[_Reading], barcode: int) -> int | str:
    """The grade that counts for a knee on a film, or why there is none."""
    if not readings:
        return "no KL grade"
    fitting = [reading for reading in readings if reading.barcode in (barcode, None)]
    if not fitting:
        return "the KL grade is of another film"
    # What is known to be of this film goes before what does not say.
    return min(fitting, key=lambda reading: (_PROJECTS.index(reading.project), reading.barcode is None)).kl


def _code(cell: str, name: str, where: str) -> int | None:
    """The number that a cell begins with ("2: Minimal"); None where it is missing (blank, or a code like ".A")."""
    if not cell or cell.startswith("."):
        return None
    match = re.match(r"\d+", cell)
    if match is None:
        raise InputError(f"{where}: {name} is {cell!r}, expected a number, blank, or a code that begins with a point")
    return int(match[0])


def _optional(raw: Raw, file: str, column: str) -> list[str]:
    """A column, if the file has it."""
    _, header = next(raw.lines(file), (0, ""))
    return [column] if column.casefold() in header.casefold() else []


def _centres(raw: Raw, graded: Mapping[str, Mapping[str, int | str]]) -> dict[tuple[str, str], Centre]:
    """The joints that boxes.csv places, by film and side; a box without barcode is for a participant's only film."""
    file = raw.require(_BOXES, "the middle of each joint: ID,side,cx,cy in pixels of 0.2 mm")
    boxes: dict[tuple[str, str, int | None], Centre] = {}
    columns = ["ID", "side", "cx", "cy", *_optional(raw, file, "Barcode")]
    for number, (participant, side, cx, cy, *barcodes) in raw.rows(file, columns):
        where = f"{raw.folder / file}, line {number}"
        try:
            centre = round(float(cy)), round(float(cx))
        except (ValueError, OverflowError):
            raise InputError(f"{where}: cx is {cx!r} and cy {cy!r}, expected two numbers") from None
        if side.upper() not in _SIDES.values():
            raise InputError(f"{where}: side is {side!r}, expected L or R")
        barcode = _code(barcodes[0], "Barcode", where) if barcodes else None
        if boxes.setdefault((participant, side.upper(), barcode), centre) != centre:
            raise InputError(f"{where}: another box for {participant} {side}: keep one of them")
    films = [(source, side) for source, sides in graded.items() for side, kl in sides.items() if isinstance(kl, int)]
    several = Counter((_participant(source), side) for source, side in films)
    centres = {}
    for source, side in films:
        participant, barcode = _participant(source), _barcode(source)
        if (participant, side, barcode) in boxes:
            centres[source, side] = boxes[participant, side, barcode]
        elif (participant, side, None) in boxes:
            if several[participant, side] > 1:
                raise InputError(
                    f"{raw.folder / file} has a box for {participant} {side} and does not say for which of "
                    f"{several[participant, side]} films: add a column Barcode"
                )
            centres[source, side] = boxes[participant, side, None]
    return centres
