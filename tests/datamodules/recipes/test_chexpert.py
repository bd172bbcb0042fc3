"""CheXpert: every film with its codes in every layout, the official counts, and what its data module makes of codes."""

import gzip
import shutil
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from datamodules.chexpert import CheXpert
from datamodules.preparation.raw import Raw
from datamodules.recipes.chexpert import LABELLINGS, CheXpertRecipe, Film, read_films
from datamodules.tables import ImageTable
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.chexpert import OBSERVATIONS, Layout, make_chexpert, write_film, write_sheet
from tests.raw.made import Made

SMALL = Path("raw/CheXpert-v1.0-small")
RECIPE = CheXpertRecipe(image_size=16)
FIRST = "train/patient00001/study1/view1_frontal.jpg"


def _rows(table: ImageTable) -> dict[str, dict[str, str]]:
    columns = {name: cells.tolist() for name, cells in table.columns.items()}
    sources = columns.pop("source")
    return {source: {name: columns[name][i] for name in columns} for i, source in enumerate(sources)}


def _edit(change: Callable[[list[str]], list[str]], name: str = "train.csv") -> None:
    """Change the lines of a spreadsheet, the first of which is its header."""
    sheet = SMALL / name
    sheet.write_text("\n".join(change(sheet.read_text(encoding="utf-8").splitlines())) + "\n", encoding="utf-8")


def _line(source: str) -> int:
    """The line of train.csv that lists a film."""
    lines = (SMALL / "train.csv").read_text(encoding="utf-8").splitlines()
    return next(i for i, line in enumerate(lines, start=1) if source in line)


@pytest.fixture
def made() -> Made:
    return make_chexpert(Path("raw"))


@pytest.mark.parametrize("layout", get_args(Layout))
def test_rows_are_what_was_written(layout: Layout) -> None:
    made = make_chexpert(Path("raw"), layout=layout)
    table, summary = prepared(RECIPE, "raw")
    assert _rows(table) == made.expected
    assert table.columns["source"].tolist() == sorted(made.expected)
    assert table.images.shape == (len(made.expected), 1, 16, 16)
    assert list(table.columns) == [*LABELLINGS, "view", "group", "split", "source"]
    assert table.labellings == list(LABELLINGS)
    assert sorted(LABELLINGS) == sorted(OBSERVATIONS)
    assert LABELLINGS[0] == "Pleural Effusion"
    assert summary["skipped"] == {}
    assert summary["splits"] == dict(Counter(row["split"] for row in made.expected.values()))


def test_the_fixture_has_every_code_under_both_labellings(made: Made) -> None:
    for name in ("Pleural Effusion", "Edema"):
        assert {row[name] for row in made.expected.values()} == {"1", "0", "-1", ""}
    assert {row["view"] for row in made.expected.values()} == {"frontal", "lateral"}
    classes: dict[str, set[str]] = {}
    for row in made.expected.values():
        classes.setdefault(row["group"], set()).add(row["Pleural Effusion"])
    assert max(map(len, classes.values())) > 1  # a patient on both sides


def test_the_folder_itself_or_the_one_above_may_be_named(made: Made) -> None:
    table, _ = prepared(RECIPE, SMALL)
    assert _rows(table) == made.expected


def test_train_and_valid_are_not_mixed_up() -> None:
    rng = np.random.default_rng(0)
    path = "patient00001/study1/view1_frontal.jpg"
    for split in ("train", "valid"):
        write_film(SMALL / split / path, rng)
        write_sheet(
            SMALL / f"{split}.csv", [[f"CheXpert-v1.0-small/{split}/{path}", "", "", "Frontal", "", *[""] * 14]]
        )
    write_film(SMALL / "test" / path, rng)
    table, _ = prepared(CheXpertRecipe(image_size=48, fit="stretch"), "raw")
    assert table.columns["source"].tolist() == [f"train/{path}", f"valid/{path}"]
    for image, split in zip(table.images, ("train", "valid"), strict=True):
        with Image.open(SMALL / split / path) as film:
            columns = np.asarray(film)[[0, -1]].astype(float)  # the first and last lines stay where they are
        np.testing.assert_allclose(image[0, [0, -1]], columns, atol=1)


def test_one_spreadsheet_is_enough(made: Made) -> None:
    (SMALL / "train.csv").unlink()
    table, _ = prepared(RECIPE, "raw")
    assert set(table.columns["split"].tolist()) == {"valid"}
    assert len(table) == sum(row["split"] == "valid" for row in made.expected.values())


def test_without_spreadsheets_it_says_where_to_get_them(made: Made) -> None:
    for split in ("train", "valid"):
        (SMALL / f"{split}.csv").unlink()
    with pytest.raises(InputError, match=r"raw holds nothing of CheXpert .*train.csv and valid.csv, from the Stanford"):
        prepared(RECIPE, "raw")


def test_films_are_padded_and_keep_their_grey_levels(made: Made) -> None:
    table, _ = prepared(RECIPE, "raw")
    image = table.images[table.columns["source"].tolist().index(FIRST)][0]
    with Image.open(SMALL / FIRST) as film:
        values = torch.from_numpy(np.asarray(film).copy())[None, None].float()
    expected = F.interpolate(values, (13, 16), mode="bilinear", antialias=True)[0, 0].numpy()  # 40 x 48
    assert not image[[0, 14, 15]].any()
    np.testing.assert_allclose(image[1:14], expected, atol=1.01)


def test_reference_films_are_scaled_by_their_maximum_and_stretched(made: Made) -> None:
    table, _ = prepared(CheXpertRecipe(image_size=16, protocol="reference"), "raw")
    image = table.images[table.columns["source"].tolist().index(FIRST)][0]
    with Image.open(SMALL / FIRST) as film:
        pixels = np.asarray(film).astype(int)
    assert pixels.max() < 255
    values = torch.from_numpy(pixels * 255 // pixels.max())[None, None].float()
    expected = F.interpolate(values, (16, 16), mode="bilinear", antialias=True)[0, 0].numpy()
    np.testing.assert_allclose(image, expected, atol=1.01)


def test_a_film_that_is_listed_twice_alike_is_taken_once(made: Made) -> None:
    _edit(lambda lines: [*lines, lines[_line(FIRST) - 1]])
    table, summary = prepared(RECIPE, "raw")
    assert _rows(table) == made.expected
    assert summary["skipped"] == {"listed a second time": 1}
    assert summary["skipped_sources"] == [[FIRST, "listed a second time"]]


def test_a_film_that_is_listed_twice_and_differs_is_refused(made: Made) -> None:
    again = ",".join([f"CheXpert-v1.0-small/{FIRST}", "Male", "61", "Frontal", "AP", *["0.0"] * 13, "1.0"])
    _edit(lambda lines: [*lines, again])
    count = len((SMALL / "train.csv").read_text().splitlines())
    with pytest.raises(InputError, match=rf"train.csv, line {count}: CheXpert.*{FIRST} is listed a second time"):
        prepared(RECIPE, "raw")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",Frontal,", ",Oblique,", r"Frontal/Lateral is 'Oblique', expected Frontal or Lateral"),
        ("CheXpert-v1.0-small/train/", "CheXpert-v1.0-small/valid/", r"Path is 'CheX.*expected …/train/patient00001/"),
        ("/patient00001/", "/someone/", r"Path is 'CheXpert-v1.0-small/train/someone/study1"),
    ],
)
def test_cells_of_another_form_are_refused(made: Made, old: str, new: str, message: str) -> None:
    number = _line(FIRST)
    _edit(lambda lines: [line.replace(old, new) if FIRST in line else line for line in lines])
    with pytest.raises(InputError, match=rf"train.csv, line {number}: {message}"):
        prepared(RECIPE, "raw")


def test_an_unknown_code_is_refused(made: Made) -> None:
    number = _line(FIRST)
    _edit(lambda lines: [line.rpartition(",")[0] + ",2.0" if FIRST in line else line for line in lines])
    with pytest.raises(InputError, match=rf"train.csv, line {number}: Support Devices is '2.0', expected 1.0, 0.0"):
        prepared(RECIPE, "raw")


def test_a_missing_column_is_refused(made: Made) -> None:
    _edit(lambda lines: [lines[0].replace("Edema", "Oedema"), *lines[1:]])
    with pytest.raises(InputError, match=r"train.csv has no column 'Edema': its columns are Path, Sex"):
        prepared(RECIPE, "raw")


@pytest.mark.parametrize(
    ("damage", "reason"), [("absent", r"absent \(listed in raw/.*line \d+"), ("truncated", "truncated")]
)
def test_a_film_that_cannot_be_read_stops_it_or_is_counted(made: Made, damage: str, reason: str) -> None:
    film = SMALL / FIRST
    content = film.read_bytes()
    film.unlink()
    if damage == "truncated":
        film.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"{FIRST} cannot be read: .*{reason}.*--skip-unreadable"):
        prepared(RECIPE, "raw")
    table, summary = prepared(RECIPE, "raw", skip_unreadable=True)
    assert set(_rows(table)) == set(made.expected) - {FIRST}
    assert [source for source, _ in summary["skipped_sources"]] == [FIRST]


def test_two_copies_of_the_films_are_refused(made: Made) -> None:
    shutil.copytree(SMALL / "train/patient00001", "raw/backup/train/patient00001")
    with pytest.raises(InputError, match=rf"raw holds {FIRST} twice .*--raw"):
        prepared(RECIPE, "raw")


def test_two_versions_below_one_folder_are_refused(made: Made) -> None:
    make_chexpert(Path("raw"), layout="large")
    with pytest.raises(InputError, match=r"2 different files called train.csv \(CheXpert-v1.0-small/train.csv, CheX"):
        prepared(RECIPE, "raw")


POLICIES: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({}, {"1": 1, "0": 0, "-1": -1, "": 0}),
    ({"uncertain": "negative"}, {"1": 1, "0": 0, "-1": 0, "": 0}),
    ({"uncertain": "positive"}, {"1": 1, "0": 0, "-1": 1, "": 0}),
    ({"blank": "drop"}, {"1": 1, "0": 0, "-1": -1, "": -1}),
    ({"blank": "drop", "uncertain": "positive"}, {"1": 1, "0": 0, "-1": 1, "": -1}),
    ({"protocol": "reference"}, {"1": 1, "0": -1, "-1": 0, "": 0}),
]


@pytest.mark.parametrize("labelling", [None, "Edema"])
@pytest.mark.parametrize(("options", "meaning"), POLICIES)
def test_codes_become_labels_by_the_options(
    made: Made, options: dict[str, Any], meaning: dict[str, int], labelling: str | None
) -> None:
    table, _ = prepared(RECIPE, "raw")
    labels = CheXpert("table", labelling=labelling, **options).read_labels(table)
    column = labelling or "Pleural Effusion"
    assert labels.tolist() == [meaning[made.expected[source][column]] for source in sorted(made.expected)]


def test_lateral_films_can_be_left_out(made: Made) -> None:
    table, _ = prepared(RECIPE, "raw")
    rows = [made.expected[source] for source in sorted(made.expected)]
    labels = CheXpert("table", views="frontal", uncertain="positive").read_labels(table)
    assert [int(label) >= 0 for label in labels] == [row["view"] == "frontal" for row in rows]


def test_the_reference_rule_takes_no_options() -> None:
    with pytest.raises(InputError, match=r"uncertain=positive and blank=negative have no effect with protocol=ref"):
        CheXpert("table", protocol="reference", uncertain="positive")


def test_a_labelling_that_does_not_exist_is_refused(made: Made) -> None:
    table, _ = prepared(RECIPE, "raw")
    with pytest.raises(InputError, match=r"no labelling 'Oedema': choose from Pleural Effusion, No Finding"):
        CheXpert("table", labelling="Oedema").read_labels(table)


@pytest.mark.parametrize("protocol", ["standard", "reference"])
def test_it_can_be_trained_on(made: Made, protocol: Any) -> None:
    prepared(CheXpertRecipe(image_size=16, protocol=protocol), "raw")
    data = CheXpert("table", protocol=protocol, n_train=8, n_val=0, n_test=4, image_size=16)
    assert (len(data.train_set), len(data.test_set), data.input_shape) == (8, 4, (1, 16, 16))
    assert (data.name, data.domain, data.num_classes) == ("CheXpert", "medical", 2)


@pytest.mark.skipif(find_spec("torchxrayvision") is None, reason="torchxrayvision, which ships train.csv, is missing")
def test_the_official_training_rows_have_the_official_counts() -> None:
    spec = find_spec("torchxrayvision")
    assert spec is not None
    assert spec.origin is not None
    Path("raw").mkdir()
    with gzip.open(Path(spec.origin).parent / "data/chexpert_train.csv.gz") as packed:
        Path("raw/train.csv").write_bytes(packed.read())
    films = list(read_films(Raw("raw", Path("scratch")), "train.csv", "train").values())
    assert len(films) == 223_414
    assert len({film.group for film in films}) == 64_540
    assert Counter(film.view for film in films) == {"frontal": 191_027, "lateral": 32_387}

    def counts(labelling: str) -> Counter[int | str]:
        position = LABELLINGS.index(labelling)
        return Counter(film.codes[position] for film in films)

    assert counts("Pleural Effusion") == {1: 86_187, 0: 35_396, -1: 11_628, "": 90_203}
    assert counts("Edema") == {1: 52_246, 0: 20_726, -1: 12_984, "": 137_458}
    table = _table_of(films)
    default = Counter(CheXpert("table").read_labels(table).tolist())
    assert default == {1: 86_187, 0: 35_396 + 90_203, -1: 11_628}
    reference = Counter(CheXpert("table", protocol="reference", labelling="Edema").read_labels(table).tolist())
    assert reference == {1: 52_246, 0: 12_984 + 137_458, -1: 20_726}


def _table_of(films: list[Film]) -> ImageTable:
    """A table without images."""
    codes = zip(*(film.codes for film in films), strict=True)
    columns = {name: np.array(list(map(str, cells))) for name, cells in zip(LABELLINGS, codes, strict=True)}
    return ImageTable(Path("table"), np.zeros((len(films), 1, 1, 1), dtype=np.uint8), columns)
