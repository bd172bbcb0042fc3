"""The page of `lightning measure`: well-formed, on its own, safe, and with the numbers of the JSON beside it."""

import base64
import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.lightning_app.html_page import Page, check_self_contained

Numbers = dict[str, Any]
Pictures = dict[str, NDArray[np.uint8]]
Noise = Callable[..., Pictures]
Measured = Callable[..., Numbers]

Paged = Callable[..., tuple[Page, Numbers]]


@pytest.fixture
def paged(measured: Measured) -> Paged:
    """Measures, and returns the page and the JSON."""

    def run(*argv: str) -> tuple[Page, Numbers]:
        found = measured(*argv, "--html", "page.html")
        return Page(Path("page.html").read_text(encoding="utf-8")), found

    return run


def number(value: float) -> str:
    return f"{value:.4g}"


OVER_M, NEAREST = "Label sharpness over sample size", "Nearest images"
OVER_K, OVER_N = "Dimension over scale", "Dimension over sample size"


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (5, 9, 3), (2, 3)])
def test_pairs_are_shown_pixel_by_pixel(shape: tuple[int, ...], noise: Noise, paged: Paged) -> None:
    pictures = noise("pets", {"cat": 6, "dog": 6}, shape)
    page, found = paged("pets", "--k", "3", "--pairs", "4")
    shown = page.html.all("figure", "pair")
    assert len(shown) == len(found["sharpest_pairs"]) == 4
    for figure, pair in zip(shown, found["sharpest_pairs"], strict=True):
        sides = figure.all("div", "side")
        for side, path, label in zip(sides, pair["images"], pair["classes"], strict=True):
            (picture,) = side.all("img")
            assert (side.text, picture.attributes["alt"]) == (label + path, label)
            kind, _, data = str(picture.attributes["src"]).partition(",")
            assert kind == "data:image/png;base64"
            image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            assert image.format == "PNG"
            assert max(image.size) == 160
            # Enlarged, not smoothed: the middle of every patch is the pixel.
            height, width = shape[:2]
            rows = (np.arange(height) + 0.5) * image.height / height
            columns = (np.arange(width) + 0.5) * image.width / width
            middles = np.asarray(image)[rows.astype(int)][:, columns.astype(int)]
            np.testing.assert_array_equal(middles, pictures[path])
        rms = pair["distance"] / math.sqrt(math.prod(shape))
        assert figure.all("figcaption")[0].text == f"K = {number(pair['K'])}, RMS difference {number(rms)}"


def test_large_pictures_are_shown_small(noise: Noise, paged: Paged) -> None:
    noise("pets", {"cat": 2, "dog": 2}, (320, 200))
    page, _ = paged("pets", "--k", "3", "--pairs", "1")
    for picture in page.html.all("img"):
        data = str(picture.attributes["src"]).partition(",")[2]
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (100, 160)


def test_numbers_of_the_page_are_those_of_the_json(noise: Noise, paged: Paged) -> None:
    pictures = noise("pets", {"cat": 80, "dog": 80, "owl": 80})
    argv = ("--k", "4", "--samples", "120", "--trials", "3", "--seed", "5", "--estimators", "mle", "twonn", "lPCA")
    page, found = paged("pets", *argv)
    assert page.titles() == [OVER_M, NEAREST, OVER_K, OVER_N]
    assert all(len(figure.all("svg")) == 1 for figure in page.html.all("figure") if figure.all("h3"))

    rows = page.rows()
    for label, name in (("d (MLE)", "d_mle"), ("d (TwoNN)", "d_twonn"), ("K_F", "K_F")):
        assert rows[label][:2] == [number(found[name]), number(found[f"{name}_stderr"])]
    assert rows["d (lPCA)"][:2] == [number(found["d_lPCA"]), ""]
    for label, name in (("K_F per pixel", "K_F_per_pixel"), ("K_F / 255", "K_F_255"), ("K_F of all images", "K_F_all")):
        assert rows[label][:2] == [number(found[name]), ""]
    for quantile in found["K_quantiles"]:
        assert rows[f"K, {100 * quantile['level']:g} %"][0] == number(quantile["K"])
    assert (rows["conflicts"][0], rows["duplicates"][0]) == ("0", "0")
    assert "240 images, 8×8 pixels, 1 channel ·" in page.html.text
    assert "3 classes: cat (80), dog (80), owl (80)" in page.html.text
    assert page.html.all("h1")[0].text == "pets"
    assert "seed 5" in page.html.all("footer")[0].text

    (small, large) = found["K_F_over_M"]
    power = math.log(large["K_F"] / small["K_F"]) / math.log(large["M"] / small["M"])
    assert f"From M = 60 to 120 it grew like M to the power {power:.2f}." in page.caption(OVER_M)
    ks = found["d_over_k"]["mle"]
    assert (ks[0]["k"], ks[-1]["k"]) == (4, 50)
    assert (
        f"Between k = 4 and 50 the estimate goes from {number(ks[0]['d'])} to {number(ks[-1]['d'])};"
        in page.caption(OVER_K)
    )
    for name, estimator in (("MLE", "mle"), ("TwoNN", "twonn")):
        curve = found["d_over_n"][estimator]
        assert f"{name} from {number(curve[0]['d'])} to {number(curve[-1]['d'])}" in page.caption(OVER_N)

    x = np.stack([pixels.flatten() for pixels in pictures.values()]).astype(np.float64)
    y = np.array([path[:3] for path in pictures])
    apart = np.linalg.norm(x[:, None] - x, axis=2)
    np.fill_diagonal(apart, np.inf)
    part = (
        np.where(y[:, None] != y, apart, np.inf).min(axis=1) < np.where(y[:, None] == y, apart, np.inf).min(axis=1)
    ).mean()
    assert f"For {part:.1%} of the images the nearest image belongs to another class." in page.caption(NEAREST)

    between = page.html.all("table")[1]
    cells = [[cell.text for cell in row.all("td")] for row in between.all("tr")[1:]]
    values = {tuple(entry["classes"]): number(entry["K_F"]) for entry in found["K_F_class_pairs"]}
    assert cells == [[values["cat", "dog"], values["cat", "owl"]], ["", values["dog", "owl"]]]


@pytest.mark.parametrize(
    ("count", "options", "expected"),
    [
        (1, ["--k", "3"], [OVER_M, NEAREST]),
        (6, ["--k", "3"], [OVER_M, NEAREST, OVER_K]),
        (6, ["--k", "3", "--estimators", "twonn"], [OVER_M, NEAREST]),
        (6, ["--k", "12"], [OVER_M, NEAREST]),
        (60, ["--k", "3", "--estimators", "twonn"], [OVER_M, NEAREST, OVER_N]),
    ],
)
def test_figures_are_drawn_where_there_is_something_to_draw(
    count: int, options: list[str], expected: list[str], noise: Noise, paged: Paged
) -> None:
    noise("pets", {"cat": count, "dog": count})
    page, _ = paged("pets", *options)
    assert page.titles() == expected


def test_a_page_of_nothing_says_why(noise: Noise, paged: Paged) -> None:
    pictures = noise("pets", {"a": 3, "b": 3})
    for name in pictures:
        Image.fromarray(pictures["a/000.png"]).save(Path("pets") / name)
    page, found = paged("pets", "--k", "3")
    assert page.html.all("figure") == []
    assert page.html.all("h2") == []
    warned = [paragraph.text for paragraph in page.html.all("p", "warn")]
    assert warned == [f"Not measured: {problem}" for problem in found["missing"]]
    assert len(warned) == 2


@pytest.mark.parametrize("classes", [6, 7, 13])
def test_many_classes(classes: int, noise: Noise, paged: Paged) -> None:
    noise("pets", {f"c{i:02}": 2 for i in range(classes)})
    page, _ = paged("pets", "--k", "3")
    assert f"{classes} classes: c00 (2)" in page.html.text
    assert ("c11 (2) and 1 more" in page.html.text) is (classes == 13)
    headings = [heading.text for heading in page.html.all("h2")]
    assert ("Between classes" in headings) is (classes <= 12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1, 3)])
def test_images_of_a_pixel_or_a_line(shape: tuple[int, ...], noise: Noise, paged: Paged) -> None:
    noise("pets", {"cat": 6, "dog": 6}, shape)
    page, found = paged("pets", "--k", "3")
    assert f"{shape[1]}×{shape[0]} pixels" in page.html.text
    assert len(page.html.all("img")) == 2 * len(found["sharpest_pairs"])


def test_conflicts_are_marked(noise: Noise, paged: Paged) -> None:
    pictures = noise("pets", {"cat": 4, "dog": 4})
    Image.fromarray(pictures["cat/001.png"]).save("pets/dog/002.png")
    page, _ = paged("pets", "--k", "3", "--pairs", "2")
    captions = [figure.all("figcaption")[0].text for figure in page.html.all("figure", "pair")]
    assert captions[0] == "K = ∞, RMS difference 0 identical pixels"
    assert "identical" not in captions[1]
    assert page.rows()["conflicts"][0] == "2"


def test_leaks_are_listed(noise: Noise, paged: Paged) -> None:
    pictures = noise("pets", {"cat": 5, "dog": 5})
    Image.fromarray(pictures["cat/000.png"]).save("pets/cat/001.png")
    near = pictures["dog/000.png"].copy()
    near[0, 0] ^= 1
    Image.fromarray(near).save("pets/dog/001.png")
    lines = ["path,label,owner,split"]
    lines += [f"{path},{path[:3]},o{i},{('train', 'test')[i % 2]}" for i, path in enumerate(pictures)]
    lines[5], lines[10] = lines[5].replace("o4", "<ann>"), lines[10].replace("o9", "<ann>")
    Path("list.csv").write_text("\n".join(lines))
    argv = ("pets", "--labels", "list.csv", "--group-column", "owner", "--split-column", "split", "--k", "3")
    page, found = paged(*argv, "--near", "0.05")
    assert found["audit"]["counts"] == {"groups": 1, "exact": 1, "near": 1}
    assert "1 groups, 1 exact and 1 near duplicates lie on both sides" in page.html.text
    leaks = [[cell.text for cell in row.all("td")] for row in page.html.all("table")[-1].all("tr")[1:]]
    (twin,) = found["audit"]["near_duplicates"]
    assert leaks == [
        ["group", "<ann>", "test, train, 2 images", ""],
        ["exact", "cat/000.png (train)", "cat/001.png (test)", "0"],
        ["near", "dog/000.png (test)", "dog/001.png (train)", number(twin["rms"])],
    ]
    assert page.rows()["splits"][2] == "test (5), train (5)"
    assert page.rows()["groups"][0] == "9"


def test_a_split_without_leaks_says_so(noise: Noise, paged: Paged) -> None:
    noise("pets/train", {"cat": 4, "dog": 4}, seed=0)
    noise("pets/test", {"cat": 4, "dog": 4}, seed=1)
    page, _ = paged("pets", "--k", "3")
    assert "No group and no duplicate lies on both sides of the split (near duplicates: up to 0.1 of" in page.html.text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "--><script>alert(2)</script><!--",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac$ & [red]",
    "</svg></figure><b>",
)


def test_names_cannot_become_markup(noise: Noise, paged: Paged) -> None:
    pictures = list(noise("<script>alert(0)<", {"q": 18}))
    rows = []
    for i, path in enumerate(pictures):
        name = HOSTILE[i % 6]
        file = f"q/{name.replace('/', '∕')}{i}.png"
        (Path("<script>alert(0)<") / path).rename(Path("<script>alert(0)<") / file)
        rows.append({"path": file, "label": name, "owner": f"{name}{i % 2}", "split": f"<i>{i % 3 // 2}"})
    with Path("list.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    argv = ("--labels", "list.csv", "--group-column", "owner", "--split-column", "split", "--k", "3", "--pairs", "90")
    page, found = paged("<script>alert(0)<", *argv)
    assert page.html.all("script") == page.html.all("b") == page.html.all("i") == []
    for element in page.every():
        assert not [name for name in element.attributes if name.startswith("on")]
        if element.tag == "img":
            assert str(element.attributes["src"]).startswith("data:image/png;base64,")
    for name in HOSTILE:
        assert f"{name} (3)" in page.html.text
    assert {side.text for side in page.html.all("div", "side")} == {
        label + path
        for pair in found["sharpest_pairs"]
        for label, path in zip(pair["classes"], pair["images"], strict=True)
    }
    assert page.html.all("h1")[0].text == page.html.all("title")[0].text.partition(" – ")[0] == "<script>alert(0)<"


def test_the_page_needs_nothing_else(noise: Noise, paged: Paged) -> None:
    noise("pets", {"cat": 60, "dog": 60})
    page, _ = paged("pets", "--k", "3")
    check_self_contained(page)


def test_the_language_and_the_encoding_are_said(noise: Noise, paged: Paged) -> None:
    noise("pets", {"cat": 2, "dog": 2})
    page, _ = paged("pets", "--k", "3")
    assert page.html.attributes == {"lang": "en"}
    assert page.html.all("meta")[0].attributes == {"charset": "utf-8"}
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n")


def test_skipped_files_and_notes_are_said(noise: Noise, paged: Paged) -> None:
    noise("pets", {"cat": 9, "dog": 9})
    for i in range(7):
        Path(f"pets/cat/x{i}.png").touch()
    page, found = paged("pets", "--k", "3", "--skip-unreadable", "--image-size", "9")
    (skipped,) = page.html.all("p", "warn")
    assert skipped.text.startswith("7 unreadable files were left out: cat/x0.png: the file is empty")
    assert skipped.text.endswith("and 2 more")
    assert len(found["skipped"]) == 7
    assert found["notes"]
    soft = [paragraph.text for paragraph in page.html.all("p", "soft")]
    assert [f"Note: {note}" for note in found["notes"]] == [text for text in soft if text.startswith("Note: ")]
