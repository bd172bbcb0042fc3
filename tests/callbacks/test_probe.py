import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from callbacks import AdversarialRobustness, DatasetProperties, Probe, RepresentationDimension
from callbacks.probe import Readings, Subject, readings
from datamodules import ImageTable
from metrics import Estimate, InputError
from tests.callbacks import two_processes
from tests.callbacks.helpers import (
    LIGHTNING_WARNINGS,
    Meddling,
    Ordered,
    Snapshots,
    all_probes,
    equal,
    make_data,
    make_model,
    make_trainer,
    run,
)
from tests.processes import in_two_processes

pytestmark = LIGHTNING_WARNINGS

STAGES = ["fit", "validate", "test"]


class Frozen(Callback):
    """A user's choice that no probe may undo: one batch norm stays in eval mode, one part of the network in train."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network = pl_module.backbone.network
        network.layer1[0].bn1.eval()
        network.layer2[0].bn1.weight.requires_grad_(False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for parameter in pl_module.parameters():
            parameter.grad = torch.full_like(parameter, 0.5)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.validating:
            pl_module.backbone.network.layer3.train()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.backbone.network.layer3.train()


class Rows(Callback):
    def __init__(self) -> None:
        self.epochs: list[float | None] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = trainer.callback_metrics.get("epoch")
        self.epochs.append(None if logged is None else float(logged))


class Failing(Probe):
    def measure(self, subject: Subject) -> Readings:
        subject.model.train()
        raise ZeroDivisionError


def train(
    table: ImageTable, probes: list[Probe], epochs: int, backbone: str, model_options: dict[str, Any], **sizes: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Weights before and after training, and the optimiser's state."""
    data = make_data(table, **sizes)
    model = make_model(data, backbone, **model_options)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    trainer = make_trainer(*probes, epochs=epochs)
    trainer.fit(model, datamodule=data)
    return before, model.state_dict(), trainer.optimizers[0].state_dict()


@pytest.mark.parametrize(("drop_rate", "every_n_epochs", "epochs"), [(0.0, 1, 2), (0.5, 1, 2), (0.5, 2, 3)])
def test_weights_are_those_of_a_run_without_probes(
    tiny_table: ImageTable, drop_rate: float, every_n_epochs: int, epochs: int
) -> None:
    probes = [*all_probes(every_n_epochs), Meddling(every_n_epochs)]
    options = {"drop_rate": drop_rate}
    before, weights, optimizer = train(tiny_table, probes, epochs, "test_resnet", options)
    _, expected, expected_optimizer = train(tiny_table, [], epochs, "test_resnet", options)
    assert all(probe.readings for probe in probes)
    assert equal(weights, expected)
    assert equal(optimizer, expected_optimizer)
    assert not any(
        torch.equal(before[f"network.{name}"], weights[f"backbone.network.{name}"]) for name in ["fc.weight"]
    )


@pytest.mark.slow
def test_weights_of_a_vgg(tiny_table: ImageTable) -> None:
    sizes = {"image_size": 32, "n_train": 12, "n_val": 4, "batch_size": 12}
    _, expected, expected_optimizer = train(tiny_table, [], 2, "vgg11", {}, **sizes)
    _, weights, optimizer = train(tiny_table, all_probes(n_images=4, layer="features.4"), 2, "vgg11", {}, **sizes)
    assert equal(weights, expected)
    assert equal(optimizer, expected_optimizer)


@pytest.mark.parametrize("stage", STAGES)
def test_a_probe_leaves_no_trace(tiny_table: ImageTable, stage: str) -> None:
    data = make_data(tiny_table)
    before, after = Snapshots(), Snapshots()
    run(stage, data, Frozen(), before, *all_probes(), Meddling(), after)
    modes = before.taken[-1]["modes"]
    network = "backbone.network."
    assert modes[f"{network}layer1.0.bn1"] is False
    assert modes[f"{network}layer3.0.bn1"] is True
    assert modes[f"{network}layer2.0.bn1"] is (stage == "fit")
    assert before.taken[-1]["trainable"][f"{network}layer2.0.bn1.weight"] is (stage != "fit")
    assert bool(before.taken[-1]["gradients"]) is (stage == "fit")
    assert equal(before.taken, after.taken)


@pytest.mark.parametrize("stage", STAGES)
def test_modes_come_back_after_an_exception(tiny_table: ImageTable, stage: str) -> None:
    snapshots = Snapshots()
    with pytest.raises(ZeroDivisionError):
        run(stage, make_data(tiny_table), Frozen(), snapshots, Failing())
    before, after = snapshots.taken[-2:]
    assert all(equal(before[key], after[key]) for key in after)


@pytest.mark.parametrize("make", [DatasetProperties, RepresentationDimension, AdversarialRobustness, Meddling])
def test_every_n_epochs(tiny_table: ImageTable, make: Callable[..., Probe]) -> None:
    data = make_data(tiny_table, n_train=24, n_val=4)
    model = make_model(data)
    probe = make(every_n_epochs=2)
    probe.check, probe.prepare = Mock(), Mock()
    probe.measure = Mock(side_effect=lambda subject: {"epoch": float(subject.trainer.current_epoch)})
    rows = Rows()
    trainer = make_trainer(probe, rows, epochs=5, num_sanity_val_steps=2)
    trainer.fit(model, datamodule=data)
    assert rows.epochs == [None, 1, 1, 3, 3]  # what was logged last
    assert probe.measure.call_count == 2
    trainer.validate(model, datamodule=data, verbose=False)
    assert probe.measure.call_count == 3
    trainer.test(model, datamodule=data, verbose=False)
    assert probe.measure.call_count == 4
    assert probe.check.call_count == probe.prepare.call_count == 3


def test_fit_and_validate_measure_the_same(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    fitted = all_probes()
    logged = run("fit", data, *fitted, model=model).callback_metrics
    names = {name for probe in fitted for name in probe.readings}
    assert names == {name for name in logged if not name.startswith(("train/", "val/"))}
    for stage in ("validate", "test"):
        probes = all_probes()
        again = run(stage, data, *probes, model=model).callback_metrics
        for probe, earlier in zip(probes, fitted, strict=True):
            if stage == "validate" or not isinstance(probe, AdversarialRobustness):
                assert probe.readings == earlier.readings
            assert {name: float(again[name]) for name in probe.readings} == pytest.approx(probe.readings, rel=1e-6)


def test_lower_precision_does_not_reach_probes(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table, image_size=32)
    model = make_model(data)
    full, mixed, surrounded = all_probes(), all_probes(), all_probes()
    make_trainer(*full).validate(model, datamodule=data, verbose=False)
    make_trainer(*mixed, precision="bf16-mixed").validate(model, datamodule=data, verbose=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        make_trainer(*surrounded).validate(model, datamodule=data, verbose=False)
    for probes in (mixed, surrounded):
        assert [probe.readings for probe in probes] == [probe.readings for probe in full]


def test_which_images_are_evaluated(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    probe = Meddling()
    for stage, expected in (("fit", data.val_set), ("validate", data.val_set), ("test", data.test_set)):
        trainer = run(stage, data, probe)
        subject = probe.subjects[-1]
        assert subject.evaluation_set is expected
        assert subject.data is data
        assert subject.model is trainer.lightning_module


def test_images_are_mapped_in_order_in_batches(tiny_table: ImageTable) -> None:
    probe = Ordered(batch_size=16)
    run("validate", make_data(tiny_table), probe)
    assert probe.sizes == [16, 16, 8]


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tiny_table: ImageTable, tmp_path: Path) -> None:
    # In this process: some weights, and what they are worth.
    data = make_data(tiny_table, **two_processes.SIZES)
    model = make_model(data)
    make_trainer().fit(model, datamodule=data)
    torch.save(model.state_dict(), tmp_path / two_processes.WEIGHTS)
    expected = {stage: two_processes.evaluate(tiny_table, model.state_dict(), stage) for stage in ("validate", "test")}

    in_two_processes("tests.callbacks.two_processes", tiny_table.folder, tmp_path)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    weights = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert found[0] == found[1]
    for stage in ("validate", "test"):
        assert found[0][stage] == pytest.approx(expected[stage], rel=1e-6)
    assert expected["validate"]["robust/clean/loss"] == pytest.approx(expected["validate"]["val/loss"], rel=1e-6)
    assert expected["test"]["robust/clean/acc"] == pytest.approx(expected["test"]["test/acc"], rel=1e-6)

    # Training in two processes comes out the same with probes and without, and what they measured at its end,
    # while running statistics differed, belongs to the first process's weights.
    assert equal(weights[0]["probed"], weights[0]["plain"])
    for name, before in model.named_parameters():
        assert torch.equal(weights[1]["probed"][name], weights[0]["probed"][name])
        assert not torch.equal(before, weights[0]["probed"][name])
    final = two_processes.evaluate(tiny_table, weights[0]["probed"], "validate")
    assert found[0]["fit"] == pytest.approx({name: final[name] for name in found[0]["fit"]}, rel=1e-6)


@pytest.mark.parametrize("make", [*(type(probe) for probe in all_probes()), Meddling])
@pytest.mark.parametrize("n", [0, -1])
def test_every_n_epochs_is_positive(make: Callable[..., Probe], n: int) -> None:
    with pytest.raises(InputError, match=f"every_n_epochs={n}"):
        make(every_n_epochs=n)


def test_data_without_image_sets(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    listed = [batch | {"image": batch["image"] / 255} for batch in data.train_dataloader()]
    batches = DataLoader(listed, batch_size=None)  # type: ignore[arg-type]  # a list serves as a data set
    for probe in all_probes():
        trainer = make_trainer(probe)
        with pytest.raises(InputError, match=f"{type(probe).__name__}.*train_set, val_set, test_set, reference_set"):
            trainer.fit(make_model(data), batches, batches)
        assert trainer.global_step == 0


@pytest.mark.parametrize("layer", ["penultimate", "layer1"])
def test_diverged_weights(tiny_table: ImageTable, layer: str) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    nn.init.constant_(model.backbone.network.layer1[0].conv1.weight, torch.nan)
    with pytest.raises(InputError, match=f"'{layer}'.*NaN"):
        run("test", data, RepresentationDimension(layer, k=5), model=model)


def test_readings_of_an_estimate() -> None:
    assert readings("x", Estimate(value=2.0, stderr=None, n_used=3)) == {"x": 2.0}
    assert readings("x", Estimate(value=2.0, stderr=0.5, n_used=3)) == {"x": 2.0, "x_stderr": 0.5}


@pytest.mark.parametrize(
    ("every", "epochs", "due"),
    [
        (3, 7, [3, 6]),
        (9, 7, []),
        (None, 4, [1, 2, 3, 4]),
        (None, 20, list(range(1, 21))),
        (None, 30, list(range(2, 31, 2))),
        (None, 50, [*range(3, 51, 3), 50]),
        (None, 100, list(range(5, 101, 5))),
    ],
)
def test_when_a_probe_measures(every: int | None, epochs: int, due: list[int]) -> None:
    probe = RepresentationDimension(every_n_epochs=every)
    assert [done for done in range(1, epochs + 1) if probe.is_due(done, epochs)] == due


@pytest.mark.parametrize("epochs", [None, -1])
def test_a_run_without_an_end_is_measured_at_every_epoch(epochs: int | None) -> None:
    assert all(RepresentationDimension().is_due(done, epochs) for done in range(1, 50))
