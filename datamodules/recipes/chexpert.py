"""CheXpert: chest radiographs, labelled by a program that read their reports."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, PictureRecipe, Piece
from datamodules.tables import Cell
from metrics import InputError

LABELLINGS = (
    *("Pleural Effusion", "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Other", "Fracture"),
    "Support Devices",
)
"""The fourteen observations: that of the paper, then the others in the order of the CSV files."""

_CODES: dict[str, Cell] = {"1.0": 1, "0.0": 0, "-1.0": -1, "1": 1, "0": 0, "-1": -1, "": ""}
_VIEWS = {"Frontal": "frontal", "Lateral": "lateral"}
_SPLITS = ("train", "valid")
_LISTED = re.compile(r"(?:.*/)?(train|valid)/((patient\d+)/.+)")
# The original comes in batches, "CheXpert-v1.0 batch 2 (train 1)" and so on, where train has no folder of its own.
_STORED = re.compile(r"(?:.*/)?[^/]*(train|valid)[^/]*/(patient\d+/.+)")


@dataclass(frozen=True)
class Film:
    """A row of train.csv or valid.csv.

    Attributes:
        codes: 1 (positive), 0 (negative), −1 (uncertain) or blank (not mentioned), one per labelling.
        view: frontal or lateral.
        group: The patient.
        split: train or valid.
    """

    codes: tuple[Cell, ...]
    view: str
    group: str
    split: str


@dataclass(frozen=True, kw_only=True)
class CheXpertRecipe(PictureRecipe[Film]):
    """CheXpert 1.0: 223,648 chest radiographs of 64,740 patients, small or original size, in grey.

    A row holds a column per observation (``Pleural Effusion`` first) with the official code: 1 positive, 0 negative,
    −1 uncertain, blank not mentioned. What a code is taken for is an option of the data module. Then ``view`` (frontal
    or lateral), ``group`` (the patient), ``split`` (train or valid) and ``source``, e.g.
    ``train/patient00001/study1/view1_frontal.jpg``.

    Images are found by their path from the patient on, whatever folder, or batch of the original, they lie in.

    Source: J. Irvin et al., arXiv 1901.07031.
    """

    name = "chexpert"
    title = "CheXpert 1.0 (chest radiographs)"
    access = (
        "CheXpert-v1.0-small, or the batches of CheXpert-v1.0, with train.csv and valid.csv, from the Stanford AIMI "
        "Center (aimi.stanford.edu, shared datasets), after registration and under its research-use agreement."
    )

    def pieces(self, raw: Raw) -> list[Piece[Film]]:
        """Every film that train.csv and valid.csv list; train_cheXbert.csv and the like are not read.

        Raises:
            InputError: A film that is listed twice with different codes, an unknown code, view or path; names file
                and line. Two copies of the images.
        """
        films: dict[str, Film] = {}
        for split in _SPLITS:
            if file := raw.find(f"{split}.csv"):
                films |= read_films(raw, file, split)
        if not films:
            return []
        places = raw.index(".jpg", _source)
        return [Piece(source, (places.get(source, source),), films[source]) for source in sorted(films)]

    def decode(self, folder: Path, piece: Piece[Film]) -> Iterator[Found]:
        """The film."""
        film = piece.facts
        yield (
            self.picture(folder / piece.files[0], 1),
            {
                **dict(zip(LABELLINGS, film.codes, strict=True)),
                "view": film.view,
                "group": film.group,
                "split": film.split,
                "source": piece.source,
            },
        )

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the codes mean."""
        return {name: {-1: "uncertain", 0: "negative", 1: "positive"} for name in LABELLINGS}


def read_films(raw: Raw, file: str, split: str) -> dict[str, Film]:
    """The films of train.csv or valid.csv by their sources; no image is looked for.

    Args:
        raw: The raw folder; one that is listed twice with the same codes is skipped there.
        file: The spreadsheet.
        split: train or valid.

    Raises:
        InputError: A missing column, an unknown code, view or path, a film with two different rows.
    """
    films: dict[str, Film] = {}
    for number, (path, view, *codes) in raw.rows(file, ["Path", "Frontal/Lateral", *LABELLINGS]):
        where = f"{raw.folder / file}, line {number}"
        match = _LISTED.fullmatch(path)
        if match is None or match[1] != split:
            raise InputError(f"{where}: Path is {path!r}, expected …/{split}/patient00001/study1/view1_frontal.jpg")
        if view not in _VIEWS:
            raise InputError(f"{where}: Frontal/Lateral is {view!r}, expected {' or '.join(_VIEWS)}")
        for name, code in zip(LABELLINGS, codes, strict=True):
            if code not in _CODES:
                raise InputError(f"{where}: {name} is {code!r}, expected 1.0, 0.0, -1.0 or blank")
        source = f"{split}/{match[2]}"
        film = Film(tuple(_CODES[code] for code in codes), _VIEWS[view], match[3], split)
        raw.listed[source] = where
        if source not in films:
            films[source] = film
        elif films[source] == film:
            raw.skip(source, "listed a second time")
        else:
            raise InputError(f"{where}: {path} is listed a second time, with other codes: keep the right line")
    return films


def _source(file: str) -> str | None:
    match = _STORED.fullmatch(file)
    return match and f"{match[1]}/{match[2]}"
