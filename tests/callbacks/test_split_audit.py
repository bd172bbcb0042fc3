"""The split of a run: what leaks is counted, said once, and stops a strict run. As a script: one of two processes."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callbacks import SplitCheck
from datamodules import ImageSet, ImageTable, TableDataModule, write_table
from metrics import InputError, audit_split
from tests.callbacks.helpers import LIGHTNING_WARNINGS, Tripwire, equal, make_data, make_model, make_trainer, run
from tests.processes import in_two_processes

pytestmark = LIGHTNING_WARNINGS

KINDS = ("groups", "exact", "near")


def counts(probe: SplitCheck) -> tuple[float, ...]:
    assert set(probe.readings) == {f"audit/{kind}" for kind in KINDS}
    return tuple(probe.readings[f"audit/{kind}"] for kind in KINDS)


def copy_of(table: ImageTable, images: np.ndarray[Any, Any]) -> ImageTable:
    rows = ({"label": i % 2, "group": f"g{i}"} for i in range(len(images)))
    return write_table(table.folder.parent / "copy", zip(images, rows, strict=True))


def leaky(table: ImageTable) -> tuple[TableDataModule, dict[str, list[int]]]:
    """Two exact and one near duplicate across the split, and copies on one side; the rows of each set."""
    data = make_data(table)
    rows = {name: getattr(data, f"{name}_set").rows.tolist() for name in ("train", "val", "test")}
    images = np.array(table.images)
    images[rows["test"][3]] = images[rows["train"][7]]
    images[rows["val"][0]] = images[rows["train"][2]]
    images[rows["test"][5]] = images[rows["val"][1]] ^ 1  # noise of contrast 30, one grey level apart
    images[rows["train"][10]] = images[rows["train"][11]]
    leaky_data = make_data(copy_of(table, images))
    assert leaky_data.train_set.rows.tolist() == rows["train"]
    return leaky_data, rows


class SharedGroups(TableDataModule):
    """A split by image: groups of eight rows lie on all sides."""

    @property
    def train_set(self) -> ImageSet:
        return self._regrouped(super().train_set)

    @property
    def val_set(self) -> ImageSet:
        return self._regrouped(super().val_set)

    @property
    def test_set(self) -> ImageSet:
        return self._regrouped(super().test_set)

    def _regrouped(self, images: ImageSet) -> ImageSet:
        return replace(images, groups=images.rows // 8)


def shared_groups(table: ImageTable) -> SharedGroups:
    return SharedGroups(str(table.folder), n_train=40, n_val=12, n_test=20, image_size=16, batch_size=16)


def count_audits(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a split has been audited since."""
    audits = []

    def counting(*args: Any, **options: Any) -> Any:
        audits.append(options)
        return audit_split(*args, **options)

    monkeypatch.setattr("callbacks.split_audit.audit_split", counting)
    return lambda: len(audits)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_a_clean_split_costs_no_word(tiny_table: ImageTable, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    probe = SplitCheck(strict=True)
    logged = run(stage, make_data(tiny_table), probe).callback_metrics
    assert counts(probe) == (0, 0, 0)
    assert [float(logged[f"audit/{kind}"]) for kind in KINDS] == [0, 0, 0]
    assert "split audit" not in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_leaks_are_counted_and_the_first_is_named(
    tiny_table: ImageTable, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, rows = leaky(tiny_table)
    probe = SplitCheck()
    logged = run(stage, data, probe).callback_metrics
    assert counts(probe) == (0, 2, 1)
    assert [float(logged[f"audit/{kind}"]) for kind in KINDS] == [0, 2, 1]
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "audit" in line)
    first = f"train row {rows['train'][2]} = val row {rows['val'][0]}"
    assert line == (
        f"split audit: 2 exact and 1 near duplicates across splits, first: {first}; `lightning measure` lists them"
    )


@pytest.mark.parametrize(("near", "found"), [(0.0, (0, 2, 0)), (1e-4, (0, 2, 0)), (0.2, (0, 2, 1)), (50, (0, 2, None))])
def test_near_is_the_limit(tiny_table: ImageTable, near: float, found: tuple[int | None, ...]) -> None:
    data, _ = leaky(tiny_table)
    probe = SplitCheck(near=near)
    run("validate", data, probe)
    if found[2] is None:  # then every image has one
        assert probe.readings["audit/near"] > 30
    else:
        assert counts(probe) == found


def test_a_single_near_duplicate(tiny_table: ImageTable, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {name: getattr(make_data(tiny_table), f"{name}_set").rows.tolist() for name in ("train", "test")}
    images = np.array(tiny_table.images)
    images[rows["test"][4]] = images[rows["train"][1]] ^ 1
    run("validate", make_data(copy_of(tiny_table, images)), SplitCheck())
    expected = f"1 near duplicate across splits, first: train row {rows['train'][1]} ≈ test row {rows['test'][4]};"
    assert expected in capsys.readouterr().err


def test_groups_on_several_sides(tiny_table: ImageTable, capsys: pytest.CaptureFixture[str]) -> None:
    data = shared_groups(tiny_table)
    sides: dict[int, dict[str, int]] = {}
    for name, images in (("train", data.train_set), ("val", data.val_set), ("test", data.test_set)):
        for row in images.rows.tolist():
            sides.setdefault(row // 8, {}).setdefault(name, row)
    leaks = {group: firsts for group, firsts in sorted(sides.items()) if len(firsts) > 1}
    probe = SplitCheck()
    run("validate", data, probe)
    assert counts(probe) == (len(leaks), 0, 0)
    (one, row), (other, other_row) = list(next(iter(leaks.values())).items())[:2]
    assert (
        f"split audit: {len(leaks)} groups across splits, first: {one} row {row} and {other} row {other_row} "
        "share a group;" in capsys.readouterr().err
    )


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_strict_stops_before_anything_runs(
    tiny_table: ImageTable, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tripwire = Tripwire()
    data, _ = leaky(tiny_table)
    with pytest.raises(
        InputError, match=r"^split audit: 2 exact and 1 near .*train row \d+ = val row \d+; give .*one group.*strict"
    ):
        run(stage, data, tripwire, SplitCheck(strict=True))
    assert not tripwire.begun
    assert "audit" not in capsys.readouterr().err


def test_audited_once_per_data_module_and_logged_at_every_epoch(
    tiny_table: ImageTable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audits = count_audits(monkeypatch)
    data, _ = leaky(tiny_table)
    model, probe = make_model(data), SplitCheck()
    trainer = make_trainer(probe, epochs=2)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    trainer.validate(model, datamodule=data, verbose=False)
    assert counts(probe) == (0, 2, 1)
    assert audits() == capsys.readouterr().err.count("split audit") == 1
    trainer.test(model, datamodule=make_data(tiny_table), verbose=False)
    assert counts(probe) == (0, 0, 0)
    assert audits() == 2


def test_without_validation_and_test_images(tiny_table: ImageTable) -> None:
    data, probe = make_data(tiny_table, n_val=0, n_test=0), SplitCheck()
    make_trainer(probe, limit_val_batches=0).fit(make_model(data), datamodule=data)
    assert counts(probe) == (0, 0, 0)


def test_weights_are_those_of_a_run_without_it(tiny_table: ImageTable) -> None:
    weights = []
    for probes in ([], [SplitCheck()]):
        data, _ = leaky(tiny_table)
        weights.append(run("fit", data, *probes, model=make_model(data, drop_rate=0.5)).lightning_module.state_dict())
    assert equal(*weights)


@pytest.mark.parametrize("near", [-0.1, float("nan")])
def test_near_is_checked_at_once(near: float) -> None:
    with pytest.raises(InputError, match=f"near={near} "):
        SplitCheck(near=near)


@pytest.mark.slow
def test_two_processes_find_what_one_does_and_only_the_first_speaks(tiny_table: ImageTable, tmp_path: Path) -> None:
    data, _ = leaky(tiny_table)
    expected = SplitCheck(near=1.5)
    run("validate", data, expected)
    assert counts(expected)[2] > 10  # work for both
    errors = in_two_processes("tests.callbacks.test_split_audit", data.table_folder, tmp_path)
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [expected.readings] * 2
    assert [error.count("split audit: 2 exact and") for error in errors] == [1, 0]


def main(table: ImageTable, folder: Path) -> None:
    probe, data = SplitCheck(near=1.5), make_data(table)
    trainer = make_trainer(probe, strategy="ddp", devices=2, default_root_dir=folder)
    trainer.validate(make_model(data), datamodule=data, verbose=False)
    (folder / f"{trainer.global_rank}.json").write_text(json.dumps(probe.readings))


if __name__ == "__main__":
    signal.alarm(280)  # a process that waits for the other one ends itself
    main(ImageTable.open(sys.argv[1]), Path(sys.argv[2]))
