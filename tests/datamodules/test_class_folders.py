"""One folder per class: every picture under its class, in one order, and the expected layout where it is not there."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules.class_folders import read_class_folders
from datamodules.collection import Collection
from metrics import InputError

PETS = ("pets/dog/2.png", "pets/cat/b/1.PNG", "pets/cat/1.jpeg", "pets/cat-like/1.tif", "pets/dog/1.bmp")
SORTED = ("cat-like/1.tif", "cat/1.jpeg", "cat/b/1.PNG", "dog/1.bmp", "dog/2.png")


def _level(name: str) -> int:
    """A grey of its own for each file."""
    return sum(map(ord, name)) % 256


def _write(names: Iterable[str], size: tuple[int, int] = (4, 3)) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, _level(name)).save(name)


def _levels(collection: Collection) -> NDArray[np.uint8]:
    return collection.images[:, 0, 0, 0].numpy()


def test_folders_are_classes_and_paths_the_order() -> None:
    _write(PETS)
    pets = read_class_folders("pets")
    assert pets.sources == SORTED
    assert pets.class_names == ("cat", "cat-like", "dog")
    assert pets.labels.tolist() == [1, 0, 0, 2, 2]
    assert pets.labels.dtype == np.int64
    np.testing.assert_array_equal(_levels(pets), [_level(f"pets/{name}") for name in SORTED])
    assert (pets.name, pets.groups, pets.splits, pets.skipped, pets.notes) == ("pets", None, None, (), ())


def test_the_order_of_creation_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    collections = []
    for place in ("one", "two"):
        Path(place).mkdir()
        os.chdir(place)
        _write(rng.permutation(PETS).tolist())
        collections.append(read_class_folders("pets"))
        os.chdir("..")
    one, two = collections
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.labels, two.labels)
    assert (one.sources, one.class_names, one.notes) == (two.sources, two.class_names, two.notes)


def test_the_name_of_the_folder_that_one_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    _write(PETS)
    monkeypatch.chdir("pets")
    here = read_class_folders(".")
    assert (here.name, here.sources) == ("pets", SORTED)


def test_classes_that_are_numbers_are_in_their_order() -> None:
    _write(["digits/10/a.png", "digits/9/a.png"])
    digits = read_class_folders("digits")
    assert (digits.class_names, digits.labels.tolist()) == (("9", "10"), [1, 0])


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "VALID", "Testing"), ("training", "validation")])
def test_folders_that_hold_nothing_but_splits_are_splits(names: tuple[str, ...]) -> None:
    _write(f"pets/{split}/{name}/{i}.png" for split in names for name in ("cat", "dog") for i in range(2))
    pets = read_class_folders("pets")
    parts = {"tr": "train", "va": "val", "te": "test"}
    assert pets.splits is not None
    assert pets.splits.tolist() == [parts[source[:2].lower()] for source in pets.sources]
    assert pets.labels.tolist() == ["dog" in source for source in pets.sources]
    assert pets.class_names == ("cat", "dog")
    assert pets.sources == tuple(sorted(pets.sources))


def test_a_class_beside_splits_makes_them_classes() -> None:
    _write(["x/train/a/1.png", "x/test/a/1.png", "x/other/a/1.png"])
    found = read_class_folders("x")
    assert (found.class_names, found.splits) == (("other", "test", "train"), None)


def test_what_is_hidden_or_no_picture_is_left_out() -> None:
    _write(PETS)
    _write(["pets/.hidden/1.png", "pets/cat/.2.png", "pets/cat/.thumbs/3.png", "pets/loose.png"])
    for name in ("pets/readme.txt", "pets/cat/scan.dcm", "pets/dog/LICENSE", "pets/dog/.DS_Store", "pets/cat/b.DCM"):
        Path(name).write_text("")
    pets = read_class_folders("pets")
    assert pets.sources == SORTED
    assert pets.notes == (
        "1 pictures lie in no class folder: left out",
        "4 files are no pictures by their extension: left out (2 .dcm, 1 .txt, 1 no extension)",
    )


def test_links_are_followed_but_not_in_circles() -> None:
    _write(["elsewhere/a/1.png", "elsewhere/b/1.png", "pets/cat/1.png"])
    Path("pets/dog").symlink_to(Path("elsewhere").resolve())
    Path("pets/cow").symlink_to(Path("elsewhere/a").resolve())
    Path("pets/cat/circle").symlink_to(Path("pets").resolve())
    Path("elsewhere/a/circle").symlink_to(Path("pets/dog").absolute())
    pets = read_class_folders("pets")
    assert {"cat/1.png", "cow/1.png", "dog/a/1.png", "dog/b/1.png"} <= set(pets.sources)
    assert pets.class_names == ("cat", "cow", "dog")
    assert len(pets) < 10


def test_classes_are_chosen_before_anything_is_read() -> None:
    _write(PETS)
    Path("pets/dog/1.bmp").write_text("rubbish")
    pets = read_class_folders("pets", classes=["cat-like", "cat"])
    assert (pets.class_names, pets.labels.tolist()) == (("cat-like", "cat"), [0, 1, 1])
    with pytest.raises(InputError, match="class 'cow' does not exist in pets: choose from cat, cat-like, dog"):
        read_class_folders("pets", classes=["cow", "cat"])


def test_unreadable_files_stop_it_or_are_listed() -> None:
    _write(PETS)
    Path("pets/cat/b/1.PNG").write_text("rubbish")
    with pytest.raises(InputError, match=r"1 of 5 pictures in pets .* --skip-unreadable \(cat/b/1.PNG: cannot be id"):
        read_class_folders("pets")
    pets = read_class_folders("pets", skip_unreadable=True)
    assert pets.sources == tuple(name for name in SORTED if name != "cat/b/1.PNG")
    assert pets.labels.tolist() == [1, 0, 2, 2]
    assert [skipped.split(":")[0] for skipped in pets.skipped] == ["cat/b/1.PNG"]


def test_a_class_of_unreadable_files_gets_no_number() -> None:
    _write(PETS)
    Path("pets/cat-like/1.tif").write_text("")
    pets = read_class_folders("pets", skip_unreadable=True)
    assert (pets.class_names, pets.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 1])


def test_pictures_are_read_as_asked() -> None:
    _write(PETS)
    told: list[tuple[int, int]] = []
    pets = read_class_folders("pets", image_size=5, channels=3, progress=lambda done, total: told.append((done, total)))
    assert pets.images.shape == (5, 3, 5, 5)
    assert len(pets.notes) == 2
    assert told[-1] == (5, 5)
    Image.fromarray(np.array([[0, 100]], dtype=np.uint16)).save("pets/dog/0.png")
    assert read_class_folders("pets", window=(0, 100), image_size=1).images[3] == 128


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], r"classes: none; no pictures\)"),
        (["x/1.png", "x/2.png"], r"classes: none; 2 pictures\)"),
        (["x/a/1.png", "x/a/2.png"], r"classes: a; 2 pictures\)"),
        (["x/train/1.png", "x/test/1.png"], r"classes: none; 2 pictures\)"),
        (["x/train/a/1.png", "x/test/a/1.png"], r"classes: a; 2 pictures\)"),
    ],
)
def test_another_layout_is_refused_with_the_one_that_is_expected(names: list[str], found: str) -> None:
    Path("x").mkdir()
    _write(names)
    with pytest.raises(
        InputError, match=rf"x has fewer than two class folders .*{found}: expected x/<class>/"
    ) as caught:
        read_class_folders("x")
    assert "x/<split>/<class>/" in str(caught.value)


def test_a_folder_of_other_files_says_which() -> None:
    Path("x/a").mkdir(parents=True)
    Path("x/a/1.dcm").write_text("")
    with pytest.raises(InputError, match=r"no pictures, 1 other files \(1 .dcm\)"):
        read_class_folders("x")


def test_a_folder_that_is_none_or_cannot_be_listed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nowhere is no folder"):
        read_class_folders("nowhere")
    _write(PETS)

    def locked(place: str) -> None:
        raise PermissionError(13, "Permission denied", place)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(InputError, match="pets cannot be listed: Permission denied"):
        read_class_folders("pets")
