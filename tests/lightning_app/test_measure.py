"""`lightning measure` as it is typed: every kind of DATA, every mistake, and nothing left that was not asked for."""

import csv
import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules import Manifold, write_table
from lightning_app.main import main

Numbers = dict[str, Any]
Pictures = dict[str, NDArray[np.uint8]]
Noise = Callable[..., Pictures]
Measured = Callable[..., Numbers]
Refusal = Callable[..., str]

SPLITS = ("train", "val", "test")


@pytest.fixture
def pets(noise: Noise) -> Pictures:
    """Twenty cats and twenty dogs of noise, in folders of these names."""
    return noise("pets", {"cat": 20, "dog": 20})


def files() -> set[str]:
    """Every file below the folder that the test runs in."""
    return {str(path) for path in Path().rglob("*") if path.is_file()}


def write_csv(file: str, rows: list[dict[str, str]]) -> None:
    with Path(file).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# Every kind of DATA is a way of writing the same pictures down; it returns the words that measure them, and what is
# known of groups and splits.
Way = Callable[[Pictures], tuple[list[str], int | None, dict[str, int] | None]]


def class_folders(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    return ["pets"], None, None


def split_class_folders(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    for i, (path, pixels) in enumerate(pets.items()):
        file = Path("parted", ("train", "Validation", "test")[i % 3], path)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return ["parted"], None, {"train": 14, "val": 13, "test": 13}


def listed_files(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    Path("flat").mkdir()
    rows = []
    for i, (path, pixels) in enumerate(pets.items()):
        Image.fromarray(pixels).save(Path("flat", f"{i}.png"))
        rows.append({"file": f"{i}.png", "kind": path[:3], "owner": f"o{i % 10}", "part": SPLITS[i % 10 % 2]})
    write_csv("pets.csv", rows)
    words = ["--labels", "pets.csv", "--path-column", "file", "--label-column", "kind"]
    return ["flat", *words, "--group-column", "owner", "--split-column", "part"], 10, {"train": 20, "val": 20}


def npz(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    np.savez("pets.npz", x=np.stack(list(pets.values())), y=[path[:3] for path in pets])
    return ["pets.npz"], None, None


def npz_with_keys_of_its_own(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    np.savez("pets.npz", pics=np.stack(list(pets.values())), kind=[path[:3] for path in pets])
    return ["pets.npz", "--images-key", "pics", "--labels-key", "kind"], None, None


def medmnist(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    pixels, kinds = np.stack(list(pets.values())), np.array([path[:3] for path in pets])
    order = np.arange(40) % 4
    parts = {"train": order < 2, "val": order == 2, "test": order == 3}
    arrays = {f"{name}_images": pixels[part] for name, part in parts.items()}
    np.savez("medical.npz", **arrays, **{f"{name}_labels": kinds[part] for name, part in parts.items()})
    return ["medical.npz"], None, {"train": 20, "val": 10, "test": 10}


def _table(pets: Pictures, splits: tuple[str, str]) -> None:
    rows: list[dict[str, str | int]] = [
        {"kind": int(path.startswith("dog")), "group": f"g{i}", "source": path, "split": splits[i % 2]}
        for i, path in enumerate(pets)
    ]
    write_table("table", zip((pixels[None] for pixels in pets.values()), rows, strict=True))


def image_table(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    _table(pets, SPLITS)
    return ["table", "--labelling", "kind"], 40, {"train": 20, "val": 20}


def data_module(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    _table(pets, ("", "train"))
    sizes = ["--data.n_train", "24", "--data.n_val", "6", "--data.n_test", "10", "--data.image_size", "8"]
    return (
        ["TableDataModule", "--data.table", "table", "--data.labelling", "kind", *sizes],
        40,
        {"train": 24, "val": 6, "test": 10},
    )


def class_path(pets: Pictures) -> tuple[list[str], int | None, dict[str, int] | None]:
    words, groups, splits = data_module(pets)
    return ["datamodules.TableDataModule", *words[1:]], groups, splits


@pytest.mark.parametrize(
    "way",
    [
        class_folders,
        split_class_folders,
        listed_files,
        npz,
        npz_with_keys_of_its_own,
        medmnist,
        image_table,
        data_module,
        class_path,
    ],
    ids=lambda way: way.__name__,
)
def test_the_same_pictures_have_the_same_numbers_whatever_they_are_read_from(
    way: Way, pets: Pictures, measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    words, groups, splits = way(pets)
    before = files()
    found = measured(*words, "--k", "3", "--near", "0")

    x = np.stack([pixels.flatten() for pixels in pets.values()]).astype(np.float64)
    y = np.array([path[:3] for path in pets])
    apart = np.linalg.norm(x[:, None] - x, axis=2)
    assert found["K_F_all"] == pytest.approx(255 / apart[y[:, None] != y].min(), rel=1e-12)
    np.fill_diagonal(apart, np.inf)
    t = np.sort(apart, axis=1)[:, :3]
    # Levina and Bickel for k = 3, normalised by k − 2 = 1.
    assert found["d_mle"] == pytest.approx(1 / (np.log(t[:, 2] / t[:, 0]) + np.log(t[:, 2] / t[:, 1])).mean())
    assert (found["n_images"], found["channels"], found["height"], found["width"]) == (40, 1, 8, 8)
    assert list(found["classes"].values()) == [20, 20]
    assert list(found["classes"]) in (["cat", "dog"], ["0", "1"])
    assert (found["n_groups"], found["splits"]) == (groups, splits)
    assert (found["audit"] is None) is (splits is None)
    assert found["missing"] == []

    assert files() == before
    captured = capsys.readouterr()
    assert captured.err == ""
    for name in ("K_F", "d_mle", "d_twonn"):
        assert re.search(rf"^ ?{name} +{re.escape(f'{found[name]:.4g}')} ", captured.out, re.MULTILINE), name


def test_a_data_module_makes_its_own_table_and_nothing_else(
    measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    dials = {"dimension": 3, "amount": 60, "n_train": 30, "n_val": 10, "n_test": 20, "image_size": 8, "margin": 0.5}
    options = [word for name, value in dials.items() for word in (f"--data.{name}", str(value))]
    found = measured("Manifold", *options, "--k", "3")
    assert (found["data"], found["splits"]) == ("Manifold d3 m0.5 N60", {"train": 30, "val": 10, "test": 20})
    made = files()
    data = Manifold(**dials)  # type: ignore[arg-type]  # whole numbers and one float, each where it belongs
    assert made == {str(data.table_folder / name) for name in ("images.npy", "manifest.csv")}
    assert str(data.table_folder).startswith("data/manifold/")
    x = np.concatenate([part.images.flatten(1).numpy() for part in (data.train_set, data.val_set, data.test_set)])
    y = np.concatenate([part.labels.numpy() for part in (data.train_set, data.val_set, data.test_set)])
    apart = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    assert found["K_F_all"] == pytest.approx(255 / apart[y[:, None] != y].min(), rel=1e-12)
    assert measured("Manifold", *options, "--k", "3") == found
    assert files() == made
    assert capsys.readouterr().err == ""


def test_classes_are_taken_in_the_order_given(noise: Noise, measured: Measured) -> None:
    noise("pets", {"cat": 4, "dog": 5, "owl": 6})
    found = measured("pets", "--classes", "owl", "cat", "--k", "3")
    assert list(found["classes"].items()) == [("owl", 6), ("cat", 4)]


def test_pictures_are_brought_to_the_size_and_channels_asked_for(noise: Noise, measured: Measured) -> None:
    noise("pets", {"cat": 4, "dog": 4}, (9, 7))
    found = measured("pets", "--image-size", "8", "--channels", "3", "--k", "3")
    assert (found["height"], found["width"], found["channels"]) == (8, 8, 3)
    assert "resampled from 7x9 to 8x8" in found["notes"][0]


def test_window_of_16_bit_pictures(measured: Measured) -> None:
    for i in range(8):
        Path("scans", "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), 100 * i, dtype=np.uint16)).save(Path("scans", "ab"[i % 2], f"{i}.png"))
    found = measured("scans", "--window", "0", "1000", "--k", "3")
    levels = np.rint(np.arange(8) * 25.5)
    assert found["K_F"] == pytest.approx(255 / (2 * np.diff(levels).min()), rel=1e-12)


def test_unreadable_pictures_stop_it_or_are_named(
    pets: Pictures, measured: Measured, refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pets/cat/torn.png").write_bytes(Path("pets/cat/000.png").read_bytes()[:60])
    Path("pets/dog/empty.png").touch()
    line = refusal("pets", "--k", "3")
    assert "2 of 42 pictures in pets cannot be read" in line
    assert "--skip-unreadable" in line
    assert "cat/torn.png" in line
    assert "dog/empty.png: the file is empty" in line
    found = measured("pets", "--k", "3", "--skip-unreadable")
    assert found["n_images"] == 40
    assert [entry.split(":")[0] for entry in found["skipped"]] == ["cat/torn.png", "dog/empty.png"]
    out = capsys.readouterr().out
    assert re.search(r"unreadable +2 ", out)
    assert "cat/torn.png" in out


NAMES = (
    "[red]",
    "[/bold] :heart:",
    "[link=https://example.org]x[",
    "back\\",
    "a = b",
    "two  blanks",
    "quotes'\"",
    "Käse",
    "肺炎",
    "<i>&amp;",
)


def test_names_are_shown_as_they_are(
    noise: Noise, measured: Measured, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    # A folder of class folders has no name with a slash in it; a CSV file may.
    shades = noise("flat", {"all": 2 * len(NAMES)})
    names = [name for name in NAMES for _ in range(2)]
    rows = []
    for i, (path, name) in enumerate(zip(shades, names, strict=True)):
        file = f"all/{name.replace('/', '∕')} {i}.png"
        Path("flat", path).rename(Path("flat", file))
        rows.append({"path": file, "label": name, "split": SPLITS[i % 2]})
    for i in (0, 2):  # two exact duplicates across the split, under one label each
        (Path("flat") / rows[i + 1]["path"]).write_bytes((Path("flat") / rows[i]["path"]).read_bytes())
    write_csv("list.csv", rows)
    found = measured("flat", "--labels", "list.csv", "--split-column", "split", "--k", "3", "--near", "0")
    assert found["classes"] == {name: 2 for name in sorted(NAMES)}
    every = {row["path"] for row in rows}
    assert {name for pair in found["sharpest_pairs"] for name in pair["images"]} <= every
    out = capsys.readouterr().out
    for name in sorted(NAMES)[:8]:
        assert f"{name} 2" in out
    assert f"exact duplicates: {rows[0]['path']} (train) = {rows[1]['path']} (val)" in out
    pair = found["sharpest_pairs"][0]
    sides = [f"{image} ({label})" for image, label in zip(pair["images"], pair["classes"], strict=True)]
    assert f"sharpest pair: {sides[0]} and {sides[1]}\n" in out


def test_names_that_are_no_text_or_steer_a_terminal_are_shown_by_their_codes(
    noise: Noise, measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = noise("pets", {"a": 3, "b": 3, "\x1b[31m\n": 3})
    odd = os.path.join(b"pets/a", b"caf\xe9.png")  # as a Windows archive leaves it
    try:
        os.rename("pets/a/000.png", odd)
    except OSError:
        pytest.skip("file names are text on this system")
    twin = pictures["a/000.png"].copy()
    twin[0, 0] ^= 1
    Image.fromarray(twin).save("pets/b/000.png")
    found = measured("pets", "--k", "3", "--html", "page.html")
    name = found["sharpest_pairs"][0]["images"][0]
    assert os.path.exists(Path("pets") / name)  # JSON holds the name that opens the file
    out = capsys.readouterr().out
    assert "sharpest pair: a/caf\\xe9.png (a) and b/000.png (b)" in out
    assert "\\x1b[31m\\x0a 3" in out
    assert "\x1b" not in out
    page = Path("page.html").read_text(encoding="utf-8")
    assert "a/caf\\xe9.png" in page
    assert "\x1b" not in page


def test_what_could_not_be_measured_is_said(noise: Noise, capsys: pytest.CaptureFixture[str]) -> None:
    noise("pets", {"a": 2, "b": 2})
    main(["measure", "pets", "--k", "9"])
    out = capsys.readouterr().out
    assert "not measured: intrinsic dimension: 4 distinct points are too few for k=9" in out
    assert "d_mle" not in out
    assert "K_F" in out


def test_files_asked_for_are_written_and_shown_and_no_others(
    pets: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files()
    Path("out").mkdir()
    Path("page.html").write_text("an older one")
    main(["measure", "pets", "--k", "3", "--json", "out/numbers.json", "--html", "page.html"])
    assert files() == before | {"out/numbers.json", "page.html"}
    assert json.loads(Path("out/numbers.json").read_text())["n_images"] == 40
    assert Path("page.html").read_text().startswith("<!DOCTYPE html>")
    captured = capsys.readouterr()
    assert "out/numbers.json\n" in captured.out
    assert "page.html\n" in captured.out
    assert captured.err == ""


def test_two_runs_write_the_same_bytes(noise: Noise) -> None:
    noise("pets", {"cat": 60, "dog": 60})
    written = []
    for _ in range(2):
        main(["measure", "pets", "--k", "3", "--samples", "60", "--json", "n.json", "--html", "page.html"])
        written.append((Path("n.json").read_bytes(), Path("page.html").read_bytes()))
    assert written[0] == written[1]


def sides_of(pets: Pictures, leak: bool) -> list[str]:
    """A CSV of the pictures whose owners are on one side of the split each, but for one of them."""
    rows = [
        {"path": path, "label": path[:3], "owner": f"o{i // 2}", "side": SPLITS[i // 2 % 2]}
        for i, path in enumerate(pets)
    ]
    if leak:
        rows[0]["side"] = "test"
    write_csv("sides.csv", rows)
    return ["pets", "--labels", "sides.csv", "--group-column", "owner", "--split-column", "side", "--k", "3"]


def test_strict_passes_where_nothing_leaks(
    pets: Pictures, measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    found = measured(*sides_of(pets, leak=False), "--strict")
    assert found["audit"]["counts"] == {"groups": 0, "exact": 0, "near": 0}
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.search(r"leaks +0 ", captured.out)


def test_strict_makes_a_leak_an_error_after_everything_is_shown_and_written(
    pets: Pictures, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["measure", *sides_of(pets, leak=True), "--strict", "--json", "n.json"])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert "groups on several sides: o0 (test, train)\n" in captured.out
    assert json.loads(Path("n.json").read_text())["audit"]["counts"] == {"groups": 1, "exact": 0, "near": 0}
    (line,) = captured.err.splitlines()
    assert line.startswith("lightning: error: the split leaks: 1 groups, 0 exact and 0 near duplicates")
    assert line.endswith("keep each on one side")


def test_without_strict_a_leak_is_no_error(
    pets: Pictures, measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measured(*sides_of(pets, leak=True))["audit"]["counts"]["groups"] == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.search(r"leaks +1 ", captured.out)


def test_many_leaks_are_counted_and_the_first_are_named(
    pets: Pictures, measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in itertools.product(("cat", "dog"), SPLITS[:2]):
        Path("twice", side, name).mkdir(parents=True)
        for path in list(pets)[:10] if name == "cat" else list(pets)[20:30]:
            Image.fromarray(pets[path]).save(Path("twice", side, path))
    found = measured("twice", "--k", "3")
    assert found["audit"]["counts"] == {"groups": 0, "exact": 20, "near": 0}
    out = capsys.readouterr().out
    assert out.count("exact duplicates: train/") == 8
    assert "exact duplicates: 12 more; --json FILE lists every one\n" in out
    assert {tuple(leak["images"]) for leak in found["audit"]["exact"]} == {
        (f"train/{name}", f"val/{name}") for name in [*list(pets)[:10], *list(pets)[20:30]]
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "DATA"),
        (["nowhere"], "no file, folder or data set 'nowhere'.*Manifold"),
        (["some/where"], "no file, folder or data set 'some/where'"),
        (["nowhere.npz"], "no file, folder or data set 'nowhere.npz'"),
        (["x" * 5000], "no file, folder or data set"),
        (["MNIST5"], "'MNIST5': did you mean MNIST5k"),
        (["datamodules.Manifolds"], "'datamodules.Manifolds': did you mean Manifold"),
        (["datamodules.nowhere.Manifold"], "no file, folder or data set"),
        (["torch.nn.Linear"], "no file, folder or data set"),
        (["pets/cat/000.png"], "pets/cat/000.png is no folder and no .npz file: give the folder"),
        (["no.npz"], "no.npz is no .npz archive"),
        (["pets/cat"], "fewer than two class folders"),
        (["pets", "dogs"], "'dogs' follows 'pets'.*quotes"),
        (["pets", "--sample", "9"], "no option '--sample': did you mean --samples"),
        (["pets", "--k=5", "--seeds=1"], "no option '--seeds=1': did you mean --seed"),
        (["Manifold", "--sampels", "9"], "no option '--sampels': did you mean --samples"),
        (["Manifold", "--data.amuont", "9"], "no option 'amuont': did you mean amount"),
        (["Manifold", "--data.amount", "few"], "amount.*'few'"),
        (["Manifold", "--data.margin", "5"], "margin=5.* is out of range"),
        (["Manifold", "--data.amount", "30"], "n_test=300 is more than can be balanced from the 30 images"),
        (["TableDataModule"], "no table: give the folder"),
        (["TableDataModule", "--data.table", "nowhere"], "no image table at nowhere"),
        (["pets", "--data.amount", "9"], "no option '--data.amount'"),
        (["pets", "--k", "2"], "k=2 is out of range: choose 3 or more"),
        (["pets", "--k", "many"], "--k: invalid int value: 'many'"),
        (["pets", "--k"], "--k: expected one argument"),
        (["pets", "--estimators", "mle", "mel"], "unknown estimator 'mel': choose from mle"),
        (["pets", "--samples", "1"], "samples=1"),
        (["pets", "--trials", "0"], "trials=0"),
        (["pets", "--pairs", "0"], "pairs=0"),
        (["pets", "--max-images", "1"], "max_images=1"),
        (["pets", "--near", "nan"], "near=nan"),
        (["pets", "--near", "inf"], "near=inf"),
        (["pets", "--seed", "-1"], "seed=-1"),
        (["pets", "--channels", "2"], "--channels: invalid choice: '2'"),
        (["pets", "--image-size", "0"], "image_size=0"),
        (["pets", "--window", "9", "9"], "window="),
        (["pets", "--window", "9"], "--window: expected 2 arguments"),
        (["pets", "--classes", "cat", "cow"], "class 'cow' does not exist.*cat, dog"),
        (["pets", "--classes", "cat", "cat"], "class 'cat'.* twice"),
        (["pets", "--labelling", "a"], "--labelling does not apply: pets is read as a folder of class folders"),
        (["pets", "--images-key", "a"], "--images-key does not apply"),
        (["pets", "--path-column", "a"], "--path-column does not apply"),
        (["pets", "--labels", "list.csv", "--labels-key", "a"], "--labels-key does not apply.*a folder with a CSV"),
        (["p.npz", "--image-size", "8"], "--image-size does not apply: p.npz is read as an npz file, which takes"),
        (["p.npz", "--skip-unreadable"], "--skip-unreadable does not apply"),
        (["p.npz", "--labels", "list.csv"], "--labels does not apply"),
        (["table", "--channels", "3"], "--channels does not apply: table is read as an image table"),
        (["table", "--labelling", "knid"], "no labelling 'knid'.*kind"),
        (["Manifold", "--labels", "list.csv"], "--labels does not apply: Manifold is read as a data module"),
        (["pets", "--labels", "nowhere.csv"], "nowhere.csv"),
        (["pets", "--labels", "list.csv", "--path-column", "file"], "no column 'file': choose from path, label"),
        (["pets", "--labels", "list.csv", "--split-column", "side"], "no column 'side'"),
        (["p.npz", "--images-key", "pics"], "images_key='pics'.*x, y"),
        (["pets", "--json", "no/where.json"], "cannot write no/where.json: there is no folder .*no"),
        (["pets", "--html", "no/where.html"], "cannot write no/where.html"),
        (["pets", "--json", "pets"], "cannot write 'pets': that is a folder"),
        (["pets", "--html", "."], "cannot write '.': that is a folder"),
        (["pets", "--json", ""], "cannot write ''"),
        (["pets", "--strict"], "--strict: nothing says which image is in which split.*--split-column"),
        (["pets", "--labels", "list.csv", "--split-column", "blank", "--strict"], "--strict: nothing says"),
        (["table", "--labelling", "kind", "--strict", "--max-images", "6"], "34 images unseen.*leave --max-images out"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_mistake_costs_one_line_and_leaves_nothing(
    words: list[str], expected: str, pets: Pictures, refusal: Refusal
) -> None:
    npz(pets)
    Path("pets.npz").rename("p.npz")
    image_table(pets)
    Path("no.npz").write_text("no archive")
    write_csv("list.csv", [{"path": path, "label": path[:3], "blank": ""} for path in pets])
    before = files()
    assert re.search(expected, refusal(*words))
    left = files() - before
    assert all(name.startswith("data/manifold/") for name in left)


def test_a_file_that_cannot_be_written_in_the_end_costs_one_line_and_no_result(
    pets: Pictures, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightning_app.output.write_bytes", full)
    with pytest.raises(SystemExit) as stop:
        main(["measure", "pets", "--k", "3", "--json", "n.json"])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert "K_F per pixel" in captured.out
    assert captured.err == "lightning: error: cannot write n.json: No space left on device\n"


def test_two_outputs_need_two_files(pets: Pictures, refusal: Refusal) -> None:
    assert "--json and --html both name same" in refusal("pets", "--json", "same", "--html", "./same")


def test_an_output_may_be_a_pipe_or_a_link(pets: Pictures, tmp_path: Path) -> None:
    main(["measure", "pets", "--k", "3", "--json", "/dev/null"])
    assert not Path("/dev/null").is_file()
    (tmp_path / "link.json").symlink_to(tmp_path / "there.json")
    main(["measure", "pets", "--k", "3", "--json", "link.json"])
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there.json").is_file()


def test_geomle_alone_misses_where_images_are_few(pets: Pictures, measured: Measured) -> None:
    found = measured("pets", "--k", "3", "--estimators", "mle", "geomle", "--max-images", "10")
    assert found["d_mle"] is not None
    assert found["d_geomle"] is None
    assert "geomle with k=3" in found["missing"][0]


def test_more_classes_than_images_to_be_measured(noise: Noise, refusal: Refusal) -> None:
    noise("pets", {"a": 2, "b": 2, "c": 2})
    assert "max_images=2 is less than the 3 classes" in refusal("pets", "--max-images", "2")
    assert "samples=2 is less than the 3 classes" in refusal("pets", "--samples", "2")


class Terminal(io.StringIO):
    """What a terminal was sent."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_progress_beside_the_table(
    pets: Pictures, measured: Measured, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    measured("pets", "--k", "3", "--html", "page.html")
    assert terminal.getvalue().endswith("\x1b[2K")
    out = capsys.readouterr().out
    assert "K_F" in out
    assert "\x1b" not in out


def test_a_mistake_on_a_terminal_stands_alone_on_its_line(pets: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Path("pets/cat/empty.png").touch()
    with pytest.raises(SystemExit):
        main(["measure", "pets", "--k", "3"])
    shown = terminal.getvalue()
    assert "reading" in shown
    # The cursor is back, the line is wiped, and the error stands alone on it.
    assert shown.rindex("\x1b[?25h") > shown.rindex("reading")
    assert re.search(r"\x1b\[2K[^\n]*lightning: error: 1 of 41 pictures[^\n]*\n$", shown)


def test_an_interrupt_ends_with_one_line(
    pets: Pictures, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_app.measure.measure", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(["measure", "pets"])
    assert stop.value.code == 130
    assert capsys.readouterr() == ("", "stopped\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["pets", "--k", "3", "--help"]])
def test_help_explains_every_option(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["measure", *words])
    out = capsys.readouterr().out
    assert out.startswith("usage: lightning measure")
    for option in (
        *("--labels", "--path-column", "--label-column", "--group-column", "--split-column", "--labelling"),
        *("--images-key", "--labels-key", "--classes", "--image-size", "--channels", "--window", "--skip-unreadable"),
        *("--estimators", "--k", "--samples", "--trials", "--pairs", "--seed", "--max-images", "--near"),
        *("--json", "--html", "--strict"),
    ):
        assert re.search(rf"^  {option}(?: |$)", out, re.MULTILINE), option
    assert "--data.NAME" in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['measure', '--help']); "
        "print(sorted({'torch', 'lightning', 'numpy', 'matplotlib', 'rich', 'PIL'} & set(sys.modules)), "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_pictures_are_measured_without_loading_lightning(pets: Pictures) -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['measure', 'pets', '--k', '3']); "
        "print(sorted({'lightning', 'wandb', 'timm', 'skdim'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "\n  measure " in capsys.readouterr().out
