"""`lightning attack` as it is typed: the numbers of a run again, other images, figures; and every mistake."""

import csv
import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.nn import functional as F

from datamodules import ImageTable, TableDataModule, write_table
from lightning_app.main import main
from models import ImageClassifier
from tests.lightning_app.conftest import mistake

Found = dict[str, Any]
Attacks = Callable[..., Found]

CALLBACKS = [
    {
        "class_path": "AdversarialRobustness",
        "init_args": {"attacks": ["fgsm", "pgd"], "eps": [4, 16], "n_images": 9, "precision": "float32"},
    },
    {"class_path": "callbacks.MinimalRadius", "init_args": {"n_images": 5}},
]
SIZES = {"n_train": 40, "n_val": 10, "n_test": 20, "image_size": 16, "batch_size": 10}


def trained(place: Path, *options: str) -> Path:
    """The folder of a run, made through the command line."""
    rng = np.random.default_rng(7)
    labels = np.arange(90) % 2
    pixels = rng.normal(100 + 40 * labels[:, None, None, None], 30, (90, 1, 16, 16)).clip(0, 255).astype(np.uint8)
    rows = ({"label": int(y), "group": f"g{i}", "source": f"noise {i}"} for i, y in enumerate(labels))
    write_table(place / "tiny", zip(pixels, rows, strict=True))
    content = {
        "seed_everything": 0,
        "name": "test",
        "runs": str(place / "runs"),
        "model": {"backbone": "test_resnet"},
        "data": {"class_path": "TableDataModule", "init_args": {"table": str(place / "tiny"), **SIZES}},
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False, "callbacks": CALLBACKS},
    }
    (place / "run.yaml").write_text(yaml.safe_dump(content))
    main(["fit", "--config", str(place / "run.yaml"), "--trainer.logger", "false", *options])
    (result,) = place.glob("runs/test/*/result.json")
    return result.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    return trained(tmp_path_factory.mktemp("attacked"))


@pytest.fixture
def attacks() -> Attacks:
    """Runs the command and returns its JSON."""

    def attack(ckpt: Path | str, *argv: str) -> Found:
        main(["attack", "--ckpt", str(ckpt), *argv, "--json", "out.json"])
        found: Found = json.loads(Path("out.json").read_text(encoding="utf-8"))
        return found

    return attack


@pytest.fixture
def refusal(run: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Attacks the run with a mistake and returns the one line that it costs."""
    return functools.partial(mistake, capsys, "attack", "--ckpt", str(run))


def robust(content: Found) -> Found:
    return {name: value for name, value in content.items() if name.startswith("robust/")}


def last_epoch(run: Path) -> Found:
    """What was logged after the last epoch; metrics.csv has it in single precision."""
    with (run / "metrics.csv").open() as file:
        row = list(csv.DictReader(file))[-2]
    return {name: float(cell) for name, cell in row.items() if name.startswith("robust/") and cell}


def own_data(run: Path) -> TableDataModule:
    return TableDataModule(str(run.parents[2] / "tiny"), **SIZES)


def model_of(run: Path) -> ImageClassifier:
    return ImageClassifier.from_checkpoint(run / "checkpoints/last.ckpt").eval()


def write_folders(run: Path, folder: str, names: tuple[str, str], side: int = 16, mode: str = "L") -> None:
    """The run's test images as pictures."""
    images = own_data(run).test_set
    for i, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        file = Path(folder) / names[label] / f"{i:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).convert(mode).resize((side, side)).save(file)


def test_the_run_is_reproduced_to_the_last_digit(run: Path, attacks: Attacks) -> None:
    record = json.loads((run / "result.json").read_text())
    assert {"robust/clean/acc", "robust/pgd_16/loss_increase_stderr", "robust/radius"} < robust(record).keys()
    for ckpt in (run, run / "checkpoints/last.ckpt"):
        found = attacks(ckpt, "--radius")
        assert robust(found) == robust(record)
    without = attacks(run)
    assert robust(without).items() <= robust(record).items()
    assert not any("radius" in name for name in robust(without))
    assert (without["split"], without["n_available"], without["backbone"]) == ("test", 20, "test_resnet")
    assert without["not_finite"] == []


def test_the_last_epochs_validation_images_are_reproduced(run: Path, attacks: Attacks) -> None:
    found = robust(attacks(run, "--split", "val", "--radius"))
    assert {name: float(np.float32(value)) for name, value in found.items()} == last_epoch(run)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_other_precisions_are_reproduced(precision: str, tmp_path: Path, attacks: Attacks) -> None:
    # 16 pixels are too few: training in bf16-mixed comes to NaN.
    run = trained(tmp_path, "--trainer.precision", precision, "--data.image_size", "32")
    assert robust(attacks(run, "--radius")) == robust(json.loads((run / "result.json").read_text()))
    val = robust(attacks(run, "--split", "val", "--radius"))
    assert {name: float(np.float32(value)) for name, value in val.items()} == last_epoch(run)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_fgsm_is_what_its_formula_says(run: Path, attacks: Attacks, split: str) -> None:
    found = attacks(run, "--split", split, "--attacks", "fgsm", "--eps", "8", "--n-images", "all")
    images = getattr(own_data(run), f"{split}_set")
    model = model_of(run)
    x, y = (images.images / 255).requires_grad_(), images.labels
    clean = F.cross_entropy(model(x), y, reduction="none")
    clean.sum().backward()
    assert x.grad is not None
    with torch.no_grad():
        moved = model((x + 8 / 255 * x.grad.sign()).clamp(0, 1))
    loss, clean = F.cross_entropy(moved, y, reduction="none"), clean.detach()
    right = model(x).argmax(dim=1) == y
    stands = right & (moved.argmax(dim=1) == y)
    assert found["robust/fgsm_8/acc"] == pytest.approx(float(stands.double().mean()))
    assert found["robust/fgsm_8/acc_of_correct"] == pytest.approx(float(stands[right].double().mean()))
    assert found["robust/fgsm_8/loss"] == pytest.approx(float(loss.mean()), rel=1e-4)
    assert found["robust/fgsm_8/loss_increase"] == pytest.approx(float((loss - clean).mean()), rel=1e-4)
    assert robust(found).keys() == {
        f"robust/{name}{error}"
        for name in ("clean/acc", "clean/loss", *(f"fgsm_8/{what}" for what in FOUND))
        for error in ("", "_stderr")
    }
    assert found["attacks"] == [
        {
            **{"attack": "fgsm", "norm": "linf", "eps": [8.0], "steps": 10, "step_size": 0.25, "restarts": 1},
            **{"n_images": len(y), "seed": 0, "precision": "float32"},
        }
    ]


FOUND = ("acc", "acc_of_correct", "loss", "loss_increase")


def test_lists_with_commas_and_with_blanks(run: Path, attacks: Attacks) -> None:
    found = [attacks(run, "--attacks", *a, "--eps", *e, "--norm", "l2") for a, e in LISTS]
    assert found[0] == found[1]
    assert {name.split("/")[1] for name in robust(found[0])} == {
        "clean",
        *(f"{a}_l2_{e}" for a in AB for e in ("2", "8")),
    }


AB = ("fgsm", "pgd")
LISTS = ((["fgsm,pgd"], ["2,8"]), (["fgsm", "pgd"], ["2", "8"]))


def test_more_steps_and_starts_are_no_weaker(run: Path, attacks: Attacks) -> None:
    options = ("--attacks", "pgd", "--n-images", "all", "--eps", "24")
    one, many = attacks(run, *options, "--steps", "1"), attacks(run, *options, "--steps", "8", "--restarts", "3")
    assert (many["attacks"][0]["steps"], many["attacks"][0]["restarts"]) == (8, 3)
    assert many["robust/pgd_24/loss"] > one["robust/pgd_24/loss"]


def test_the_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["attack", "--ckpt", str(run), "--radius"])
    printed = capsys.readouterr()
    record = json.loads((run / "result.json").read_text())
    lines = printed.out.splitlines()
    assert lines[1].rstrip() == "test_resnet on tiny · 9 of 20 test images · L∞"
    rows = [line.split()[:2] for line in lines if line.split()[:1] and line.split()[0] in ("none", "fgsm", "pgd")]
    assert rows == [["none", "0"], ["fgsm", "4"], ["fgsm", "16"], ["pgd", "4"], ["pgd", "16"]]
    (pgd,) = (line for line in lines if line.split()[:2] == ["pgd", "16"])
    values = [float(value) for value in re.findall(r"(\S+) ±", pgd)]
    errors = [float(value) for value in re.findall(r"± (\S+)", pgd)]
    for found, suffix in ((values, ""), (errors, "_stderr")):
        expected = [record[f"robust/pgd_16/{what}{suffix}"] for what in FOUND]
        assert found == pytest.approx(expected, rel=0.05, abs=0.01)
    assert any(line.split()[:1] == ["radius"] and "median, in grey levels of 255" in line for line in lines)
    assert max(map(len, lines[:-1])) <= 80
    (told,) = printed.err.splitlines()
    assert told == "attacking tiny, 9 images: fgsm, pgd at ε = 4, 16"


def test_figures_and_json_are_written_into_a_folder(run: Path) -> None:
    for _ in range(2):  # what is there is replaced
        main(["attack", "--ckpt", str(run), "--out", "new/folder", "--split", "val"])
    names = {"accuracy_over_eps_val.png", "attacked_images_val.png", "attack.json"}
    assert {file.name for file in Path("new/folder").iterdir()} == names
    for name in names - {"attack.json"}:
        assert Path("new/folder", name).read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path("new/folder/attack.json").read_text())["split"] == "val"


def test_a_run_draws_figures_of_itself_and_gives_them_to_wandb(fit: Callable[..., Found]) -> None:
    record = fit("--trainer.callbacks+", "AttackPanels", "--trainer.callbacks.steps", "1")
    stems = {f"{stem}_{part}" for stem in ("accuracy_over_eps", "attacked_images") for part in ("val", "test")}
    folder = Path(record["folder"])
    assert {file.name for file in (folder / "figures").iterdir()} == {f"{stem}.png" for stem in stems}
    sent = {file.name for file in folder.glob("wandb/offline-run-*/files/media/images/figures/*.png")}
    assert {re.sub(r"_\d+_[0-9a-f]+\.png$", "", name) for name in sent} == stems
    assert not any("figures" in name for name in record)


def test_the_run_stays_as_it_was(run: Path, attacks: Attacks) -> None:
    before = {file: file.stat().st_mtime_ns for file in run.parents[1].rglob("*")}
    attacks(run)
    assert {file: file.stat().st_mtime_ns for file in run.parents[1].rglob("*")} == before


def test_the_configuration_is_found_however_deep_the_checkpoint_lies(run: Path, attacks: Attacks) -> None:
    shutil.copytree(run, "moved")
    Path("moved/checkpoints/some/where").mkdir(parents=True)
    shutil.move("moved/checkpoints/last.ckpt", "moved/checkpoints/some/where/best.ckpt")
    # A configuration of another network in between is not the run's.
    other = yaml.safe_load((run / "config.yaml").read_text())
    other["model"]["backbone"] = "resnet18"
    Path("moved/checkpoints/some/config.yaml").write_text(yaml.safe_dump(other))
    assert robust(attacks("moved/checkpoints/some/where/best.ckpt")) == robust(attacks(run))


def test_a_run_without_probes_is_attacked_as_by_default(run: Path, attacks: Attacks) -> None:
    shutil.copytree(run, "plain")
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["trainer"]["callbacks"] = None
    Path("plain/config.yaml").write_text(yaml.safe_dump(content))
    found = attacks("plain", "--n-images", "all", "--radius")
    (attack,) = found["attacks"]
    assert (attack["attack"], attack["eps"]) == ("fgsm", [1, 2, 4, 8])
    assert [finder["attack"] for finder in found["radii"]] == ["fgsm"]


def test_several_probes_of_a_run_are_all_made_again(run: Path, attacks: Attacks) -> None:
    shutil.copytree(run, "several")
    content = yaml.safe_load((run / "config.yaml").read_text())
    (robustness,) = (each for each in content["trainer"]["callbacks"] if "Robustness" in each["class_path"])
    second = {**robustness, "init_args": {**robustness["init_args"], "norm": "l2", "eps": [64.0]}}
    content["trainer"]["callbacks"].append(second)
    Path("several/config.yaml").write_text(yaml.safe_dump(content))
    assert [each["norm"] for each in attacks("several")["attacks"]] == ["linf", "linf", "l2", "l2"]
    same = attacks("several", "--norm", "l2", "--eps", "32")
    assert [(each["attack"], each["eps"]) for each in same["attacks"]] == [("fgsm", [32.0]), ("pgd", [32.0])]


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("0", "1"), []),  # the labels of the table: known by name
        (("one", "another"), ["--classes", "one", "another"]),
        (("1", "0"), ["--classes", "1", "0"]),  # what is said counts
    ],
)
def test_folders_of_pictures(run: Path, attacks: Attacks, names: tuple[str, str], options: list[str]) -> None:
    write_folders(run, "pictures", names)
    record = json.loads((run / "result.json").read_text())
    found = attacks(run, "--data", "pictures", *options, "--n-images", "all")
    assert (found["data"], found["split"], found["n_available"]) == ("pictures", "all", 20)
    assert found["classes"] == list(names)
    assert found["robust/clean/acc"] == pytest.approx(record["test/acc"], abs=1e-6)
    assert found["robust/clean/loss"] == pytest.approx(record["test/loss"], rel=1e-5)


def test_a_part_of_split_folders(run: Path, attacks: Attacks) -> None:
    write_folders(run, "pictures/val", ("0", "1"))
    write_folders(run, "pictures/train", ("1", "0"))  # every label wrong
    record = json.loads((run / "result.json").read_text())
    for split, accuracy in (("val", record["test/acc"]), ("train", 1 - record["test/acc"])):
        found = attacks(run, "--data", "pictures", "--split", split, "--n-images", "all")
        assert (found["split"], found["n_available"]) == (split, 20)
        assert found["robust/clean/acc"] == pytest.approx(accuracy, abs=1e-6)


def test_a_data_set_by_name(run: Path, attacks: Attacks) -> None:
    options = [f"--data.{name}={value}" for name, value in SIZES.items()]
    table = f"--data.table={run.parents[2] / 'tiny'}"
    assert robust(attacks(run, "--data", "TableDataModule", table, *options)) == robust(attacks(run))


def test_a_table_resampled_and_made_grey(run: Path, attacks: Attacks) -> None:
    table = ImageTable.open(run.parents[2] / "tiny")
    pixels = np.repeat(np.repeat(np.repeat(table.images, 2, axis=2), 2, axis=3), 3, axis=1)
    rows = ({"label": int(y), "group": i} for i, y in enumerate(table.labels("label")))
    write_table("large", zip(pixels, rows, strict=True))
    found = attacks(run, "--data", "large", "--image-size", "16", "--channels", "1", "--n-images", "all")
    # Bilinear with averaging weighs four pixels in a row by 1, 3, 3, 1: the middle two are one pixel, doubled.
    weights = np.eye(16) * 6 + np.eye(16, k=1) + np.eye(16, k=-1)
    weights /= weights.sum(axis=1, keepdims=True)
    with torch.no_grad():
        logits = model_of(run)(torch.from_numpy(weights @ table.images @ weights.T).round().float() / 255)
    right = float((logits.argmax(dim=1).numpy() == table.labels("label")).mean())
    assert (found["n_available"], found["channels"], found["height"]) == (len(table), 1, 16)
    assert found["robust/clean/acc"] == pytest.approx(right, abs=1.01 / len(table))  # one image may be on the edge


def test_a_checkpoint_alone_needs_images(run: Path, attacks: Attacks, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(run / "checkpoints/last.ckpt", "alone.ckpt")
    line = mistake(capsys, "attack", "--ckpt", "alone.ckpt")
    assert re.search(r"no config.yaml of a run lies beside or above alone.ckpt: say with --data", line)
    write_folders(run, "pictures", ("any", "names"))
    found = attacks("alone.ckpt", "--data", "pictures", "--n-images", "all")
    assert found["config"] is None
    assert found["classes"] == ["any", "names"]


def test_the_configuration_of_another_data_set_is_noticed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, "changed")
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["data"]["init_args"]["image_size"] = 24
    Path("changed/config.yaml").write_text(yaml.safe_dump(content))
    line = mistake(capsys, "attack", "--ckpt", "changed")
    assert "config.yaml is not of the run of changed/checkpoints/last.ckpt" in line


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["--attacks", "square"], "unknown attack 'square': choose from fgsm, pgd, auto"),
        (["--attacks", ","], "argument --attacks: ',' names nothing"),
        (["--eps", "0"], "eps=0 is out of range: choose 0 < eps <= 255"),
        (["--eps", "4,300"], "eps=300 is out of range"),
        (["--eps", "4,x"], "argument --eps: '4,x' is no number"),
        (["--norm", "l1"], "unknown norm 'l1': choose from linf, l2"),
        (["--steps", "0"], "steps=0"),
        (["--restarts", "0"], "restarts=0"),
        (["--n-images", "0"], "n_images=0"),
        (["--n-images", "many"], "'many' is neither a whole number nor all"),
        (["--n-images", "21"], "n_images=21 is more than the 20 test images of tiny: add --n-images 20 or less"),
        (["--n-images", "11", "--split", "val"], "more than the 10 val images"),
        (["--split", "all"], "argument --split: invalid choice"),
        (["--data", "gone"], "there is no file, folder or data set 'gone'"),
        (["--data", "MNIST5"], "did you mean MNIST5k?"),
        (["--data", "a.npz"], "--data a.npz is a file: give a folder"),
        (["--data", "pictures", "--labelling", "x"], "--labelling does not apply to a folder of class folders"),
        (
            ["--data", "pictures", "--classes", "cat", "dog", "--split", "val"],
            "--split val: nothing says which image of pictures is in which",
        ),
        (["--data", "pictures"], r"classes of pictures \(cat, dog\) are not those of the network \(0, 1\).*--classes"),
        (["--data", "three"], r"three has 3 classes \(a, b, c\), the network tells 2 apart"),
        (["--data", "pictures", "--classes", "cat", "cow"], "class 'cow' does not exist in pictures"),
        (["--data", "large", "--classes", "a", "b"], "have 1 channels of 8x8 .* 1 of 16x16: add --image-size 16"),
        (["--data", "large", "--image-size", "16", "--channels", "3"], "3 channels of 16x16 .*: add --channels 1"),
        (["--data", "split/deep", "--split", "test"], "deep has no test images, but train: choose by --split"),
        (["--data", "Manifold", "--data.dimensions", "3"], "there is no option 'dimensions': did you mean dimension"),
        (["--classes", "a"], "--classes does not apply to the images of the run"),
        (["--data.n_test", "3"], "there is no option '--data.n_test'"),
        (["--stepz", "3"], "there is no option '--stepz'"),
        (["--json", "no/file.json"], "cannot write no/file.json: there is no folder"),
        (["--out", "a.npz"], "--out a.npz is a file: name a folder"),
    ],
)
def test_a_mistake_costs_one_line(
    argv: list[str], match: str, refusal: Callable[..., str], noise: Callable[..., Any]
) -> None:
    noise("pictures", {"cat": 2, "dog": 2}, (16, 16))
    noise("three", {"a": 2, "b": 2, "c": 2}, (16, 16))
    noise("large", {"a": 2, "b": 2}, (8, 8))
    noise("split/deep", {"train/0": 2, "train/1": 2}, (16, 16))
    Path("a.npz").write_bytes(b"")
    if argv[:2] == ["--data", "large"] and "--classes" not in argv:
        argv = [*argv, "--classes", "a", "b"]
    before = sorted(Path().rglob("*"))
    assert re.search(match, refusal(*argv))
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("ckpt", "match"),
    [
        ("gone.ckpt", "checkpoint gone.ckpt does not exist"),
        ("empty", "empty is no folder of a run: there is no empty/checkpoints/last.ckpt"),
        ("torn.ckpt", "torn.ckpt is no readable checkpoint"),
        ("other.ckpt", "other.ckpt does not say which network it holds"),
        ("bad/last.ckpt", "bad/config.yaml cannot be read"),
        ("old/last.ckpt", "old/config.yaml was written by another version of the suite: .*'strength'"),
    ],
)
def test_no_checkpoint(ckpt: str, match: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("torn.ckpt").write_bytes(b"PK\x03\x04 torn")
    torch.save({"state_dict": {}}, "other.ckpt")
    for folder in ("bad", "old"):
        Path(folder).mkdir()
        shutil.copy(run / "checkpoints/last.ckpt", folder)
    Path("bad/config.yaml").write_text("{")
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["trainer"]["callbacks"] = [{"class_path": "AdversarialRobustness", "init_args": {"strength": 3}}]
    Path("old/config.yaml").write_text(yaml.safe_dump(content))
    assert re.search(match, mistake(capsys, "attack", "--ckpt", ckpt))


def test_a_checkpoint_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the following arguments are required: --ckpt" in mistake(capsys, "attack")


def test_without_validation_images(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, "none")
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["data"]["init_args"]["n_val"] = 0
    Path("none/config.yaml").write_text(yaml.safe_dump(content))
    line = mistake(capsys, "attack", "--ckpt", "none", "--split", "val")
    assert "the run has no val images (n_val=0): choose another --split" in line


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['attack', '--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'pandas', 'rich', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--ckpt PATH" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
