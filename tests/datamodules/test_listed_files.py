"""Pictures that a CSV file lists: each with its own row, or an error that names the row."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.collection import Collection
from datamodules.listed_files import read_listed
from metrics import InputError

ROWS = (
    "b/1.png,nodule,ann,train",
    "a/1.png,none,bob,test",
    "a/2.png,,ann,train",
    "b/0.png,none,,",
    "c.png,nodule,ann,x",
)


@pytest.fixture(autouse=True)
def _scans() -> None:
    for level, name in enumerate(("a/1.png", "a/2.png", "b/0.png", "b/1.png", "c.png", "unlisted.png")):
        (Path("scans") / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), level).save(Path("scans") / name)


def _read(rows: Iterable[str] = ROWS, header: str = "file,finding,patient,part", **options: Any) -> Collection:
    Path("list.csv").write_text("\n".join((header, *rows)), encoding="utf-8")
    return read_listed("scans", "list.csv", **{"path_column": "file", "label_column": "finding"} | options)


def test_rows_belong_to_their_pictures_in_the_order_of_paths() -> None:
    scans = _read(group_column="patient", split_column="part")
    assert scans.sources == ("a/1.png", "b/0.png", "b/1.png", "c.png")
    assert scans.images[:, 0, 0, 0].tolist() == [0, 2, 3, 4]
    assert (scans.class_names, scans.labels.tolist()) == (("nodule", "none"), [1, 1, 0, 0])
    assert scans.groups is not None
    assert scans.groups.tolist() == ["bob", "b/0.png", "ann", "ann"]
    assert scans.splits is not None
    assert scans.splits.tolist() == ["test", "", "train", "x"]
    assert scans.name == "scans"
    assert scans.notes == ("1 of 5 rows of list.csv have no label: left out",)


def test_groups_and_splits_are_unknown_unless_asked_for() -> None:
    assert (_read().groups, _read().splits) == (None, None)


def test_the_order_of_rows_does_not_matter() -> None:
    one, two = (_read(rows, group_column="patient", split_column="part") for rows in (ROWS, ROWS[::-1]))
    np.testing.assert_array_equal(one.images, two.images)
    for name in ("labels", "groups", "splits"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.sources, one.class_names, one.notes) == (two.sources, two.class_names, two.notes)


def test_classes_are_chosen_before_files_are_looked_for() -> None:
    scans = _read((*ROWS, "absent.png,cyst,ann,train"), classes=["none", "nodule"])
    assert (scans.class_names, scans.labels.tolist()) == (("none", "nodule"), [0, 0, 1, 1])
    with pytest.raises(
        InputError, match=r"class 'mass' does not exist in list.csv \(finding\): choose from nodule, none"
    ):
        _read(classes=["mass"])


def test_spreadsheets_marks_quotes_and_spaces_are_understood() -> None:
    scans = _read(['"b/1.png", "mass, large" ,ann,', "", "a/1.png ,none"], header="\ufefffile,finding,patient,part")
    assert scans.sources == ("a/1.png", "b/1.png")
    assert scans.class_names[1] == "none"


@pytest.mark.parametrize("name", ["./b/1.png", "a/../b/1.png", "b//1.png", "b/1", "{here}/scans/b/1.png"])
def test_a_path_may_be_written_in_several_ways(name: str, tmp_path: Path) -> None:
    assert _read([f"{name.format(here=tmp_path)},x"]).sources == ("b/1.png",)
    with pytest.raises(InputError, match=r"b/1.png is listed twice in list.csv: in rows 2 and 4"):
        _read([f"{name.format(here=tmp_path)},x", "c.png,y", "b/1.png,y"])


@pytest.mark.parametrize("name", ["../list.csv", "/etc/hosts", "a/../../list.csv", "../scans-too/1.png"])
def test_a_path_that_leads_outside_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"'{name}' in row 3 of list.csv leads outside scans"):
        _read(["c.png,x", f"{name},y"])


@pytest.mark.parametrize("name", ["d.png", "a", "c.png/1.png", "x" * 5000])
def test_an_absent_file_is_named_with_its_row(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"1 of 2 files that list.csv lists are not in scans \(first: '{name}' in row 3"
    ):
        _read(["c.png,x", f"{name},y"], skip_unreadable=True)


def test_an_extension_that_could_be_one_of_two_is_not_guessed() -> None:
    Image.new("L", (4, 3)).save("scans/c.bmp")
    with pytest.raises(InputError, match="first: 'c' in row 2"):
        _read(["c,x"])


def test_a_row_with_a_label_but_no_file_is_refused() -> None:
    with pytest.raises(InputError, match=r"row 3 of list.csv has a label but names no file"):
        _read(["c.png,x", ",y"])


@pytest.mark.parametrize("option", ["path_column", "label_column", "group_column", "split_column"])
def test_a_missing_column_is_named_with_those_that_are_there(option: str) -> None:
    with pytest.raises(InputError, match=r"list.csv has no column 'id': choose from file, finding, patient, part"):
        _read(**{option: "id"})


def test_a_list_that_cannot_be_read_is_refused() -> None:
    Path("list.csv").write_bytes(b"file,finding\nc.png,\xff\n")
    for name in ("list.csv", "nowhere.csv"):
        with pytest.raises(InputError, match=f"{name} cannot be read"):
            read_listed("scans", name, path_column="file", label_column="finding")
    with pytest.raises(InputError, match=r"no column 'file': choose from \(no columns\)"):
        _read([], header="")
    with pytest.raises(InputError, match=r"list.csv \(finding\) has no image with a label"):
        _read(["c.png,"])


def test_unreadable_files_stop_it_or_are_listed() -> None:
    Path("scans/b/0.png").write_text("rubbish")
    with pytest.raises(InputError, match=r"1 of 4 pictures in scans cannot be read.*--skip-unreadable"):
        _read()
    scans = _read(skip_unreadable=True, group_column="patient")
    assert scans.sources == ("a/1.png", "b/1.png", "c.png")
    assert scans.labels.tolist() == [1, 0, 0]
    assert scans.groups is not None
    assert scans.groups.tolist() == ["bob", "ann", "ann"]
    assert [skipped.split(":")[0] for skipped in scans.skipped] == ["b/0.png"]


def test_pictures_are_read_as_asked() -> None:
    told: list[tuple[int, int]] = []
    scans = _read(image_size=5, channels=3, progress=lambda done, total: told.append((done, total)))
    assert scans.images.shape == (4, 3, 5, 5)
    assert told[-1] == (4, 4)
    Image.fromarray(np.full((3, 4), 50, dtype=np.uint16)).save("scans/c.png")
    np.testing.assert_array_equal(_read(window=(0, 100)).images[-1], np.full((1, 3, 4), 128))
