import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor
from torch.nn import functional as F

from metrics import InputError
from models import AdversarialTraining, ImageClassifier, default_learning_rate
from tests.models.helpers import Batch, loader, make_batches, make_model, make_trainer

pytestmark = [
    # Lightning says so on a machine that has a GPU.
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    # Some tests train without validation.
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
]


def expected(model: ImageClassifier, batches: list[Batch]) -> tuple[float, float]:
    """Cross-entropy and accuracy over all images that are no padding, in one go and in float64."""
    whole = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    real = whole["index"] >= 0
    with torch.no_grad():
        logits = model.eval()(whole["image"][real]).double()
    labels = whole["label"][real]
    log_probabilities = logits - logits.exp().sum(dim=1, keepdim=True).log()
    loss = -log_probabilities[torch.arange(len(labels)), labels].mean()
    return float(loss), float((logits.argmax(dim=1) == labels).double().mean())


def frozen_sgd(parameters: Iterator[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.0)


def save(model: ImageClassifier, path: Path) -> Path:
    """A checkpoint of a model that has trained for two steps."""
    trainer = make_trainer()
    trainer.fit(model, loader(make_batches([4, 4])))
    trainer.save_checkpoint(path)
    return path


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.0, 1.0), (0.3, 0.2)])
def test_normalisation_is_inside(mean: float, std: float) -> None:
    model = make_model(mean=mean, std=std).eval()
    images = make_batches([5])[0]["image"]
    normalised = (images - mean) / std
    with torch.no_grad():
        assert torch.equal(model(images), model.backbone(normalised))
        layers = ["layer1", "penultimate"]
        theirs = model.backbone.features(normalised, layers)
        torch.testing.assert_close(model.features(images, layers), theirs, rtol=0, atol=0)
    assert list(model.features(images)) == ["penultimate"]
    assert (model.depths, model.depth_profile()) == (model.backbone.depths, model.backbone.depth_profile())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_losses_are_weighted_by_samples(backbone: str) -> None:
    model = make_model(backbone, optimizer=frozen_sgd)
    train, val, test = (
        make_batches([7, 2, 4]),
        make_batches([6, 1, 5], padding=3, seed=1),
        make_batches([3, 8], padding=2, seed=2),
    )
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, loader(train), loader(val))
    logged = dict(trainer.callback_metrics)
    logged |= trainer.test(model, loader(test), verbose=False)[0]
    (validated,) = trainer.validate(model, loader(val), verbose=False)
    for stage, batches in (("val", val), ("test", test)):
        loss, acc = expected(model, batches)
        assert float(logged[f"{stage}/loss"]) == pytest.approx(loss, rel=1e-5)
        assert float(logged[f"{stage}/acc"]) == pytest.approx(acc)
    assert validated == pytest.approx({key: float(logged[key]) for key in ("val/loss", "val/acc")}, rel=1e-6)
    if backbone == "test_vit":  # without batch normalisation, training computes what evaluation computes
        loss, acc = expected(model, train)
        assert float(logged["train/loss"]) == pytest.approx(loss, rel=1e-5)
        assert float(logged["train/acc"]) == pytest.approx(acc)


@pytest.mark.parametrize(("command", "stage"), [("validate", "val"), ("test", "test")])
def test_a_loss_that_is_not_finite_shows(command: str, stage: str) -> None:
    batches = make_batches([3, 3])
    batches[1]["image"][0] = torch.nan
    trainer = make_trainer()
    (logged,) = getattr(trainer, command)(make_model(), loader(batches), verbose=False)
    assert math.isnan(logged[f"{stage}/loss"])


def test_train_loss_is_that_of_each_step() -> None:
    model = make_model("test_vit", optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    batches = make_batches([5, 3, 1])
    trainer = make_trainer()
    trainer.fit(model, loader(batches))

    twin = make_model("test_vit")
    total = 0.0
    for batch in batches:
        loss = F.cross_entropy(twin(batch["image"]), batch["label"])
        total += loss.item() * len(batch["label"])
        for parameter, gradient in zip(
            twin.parameters(), torch.autograd.grad(loss, list(twin.parameters())), strict=True
        ):
            parameter.data -= 0.1 * gradient
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(total / 9, rel=1e-5)
    torch.testing.assert_close(dict(model.backbone.state_dict()), dict(twin.backbone.state_dict()))


def test_prediction_is_one_row_of_probabilities_per_image() -> None:
    model = make_model()
    batches = make_batches([4, 3], padding=1)
    predicted = make_trainer().predict(model, loader(batches))
    assert predicted is not None
    images = torch.cat([batch["image"] for batch in batches])[:6]
    with torch.no_grad():
        logits = model.eval()(images).double()
    probabilities = torch.cat(predicted)  # type: ignore[arg-type]
    torch.testing.assert_close(probabilities.double(), logits.exp() / logits.exp().sum(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("backbone", "rate"), [("resnet18", 1e-3), ("test_vit", 1e-3), ("vgg13", 1e-4), ("vgg16", 1e-4), ("vgg19", 1e-4)]
)
def test_default_optimizer(backbone: str, rate: float) -> None:
    with torch.device("meta"):
        model = make_model(backbone, input_shape=(1, 32, 32))
    optimizer = model.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert {key: optimizer.defaults[key] for key in ("lr", "weight_decay")} == {"lr": rate, "weight_decay": 1e-4}
    given = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert given == sum(p.numel() for p in model.parameters())
    assert default_learning_rate(backbone) == rate


def plateau(optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, monitor="val/loss", factor=0.1, patience=0, eps=0)


def steps(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.StepLR:
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        (None, [1.0, 1.0, 1.0, 1.0]),
        (steps, [1.0, 1.0, 0.5, 0.5]),
        # The first epoch sets the best loss; no later one is better, for the weights never change.
        (plateau, [1.0, 1.0, 0.1, 0.01]),
    ],
)
def test_given_optimizer_and_schedule(
    scheduler: Callable[[torch.optim.Optimizer], Any] | None, rates: list[float]
) -> None:
    start = 1e-30  # no float32 weight moves

    class Rates(ImageClassifier):
        def on_train_epoch_start(self) -> None:
            seen.append(self.trainer.optimizers[0].param_groups[0]["lr"] / start)

    seen: list[float] = []
    model = Rates(
        "test_vit",
        input_shape=(1, 16, 16),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=start),
        lr_scheduler=scheduler,
    )
    trainer = make_trainer(max_epochs=4)
    trainer.fit(model, loader(make_batches([4])), loader(make_batches([3], seed=1)))
    assert type(trainer.optimizers[0]) is torch.optim.SGD
    assert seen == pytest.approx(rates)


def test_from_checkpoint(tmp_path: Path) -> None:
    model = make_model(num_classes=3, drop_rate=0.25, mean=0.4, std=0.3, lr_scheduler=steps)
    path = save(model, tmp_path / "some.ckpt")
    content = torch.load(path, weights_only=True)
    assert content["architecture"]["backbone"] == "test_resnet"
    torch.manual_seed(1)
    restored = ImageClassifier.from_checkpoint(path)
    images = make_batches([4])[0]["image"]
    with torch.no_grad():
        assert torch.equal(restored.eval()(images), model.eval()(images))
    assert restored.architecture == model.architecture
    assert restored.backbone.network.drop_rate == 0.25


@pytest.mark.parametrize(
    "attacked",
    [AdversarialTraining(), AdversarialTraining("fgsm"), AdversarialTraining("pgd", norm="l2", steps=2)],
    ids=str,
)
def test_continuing_restores_weights_and_optimizer(attacked: AdversarialTraining, tmp_path: Path) -> None:
    batches = loader(make_batches([4, 4]))
    whole, half, continued = (make_model(adversarial_training=attacked) for _ in range(3))
    make_trainer(max_epochs=2).fit(whole, batches)
    path = save(half, tmp_path / "half.ckpt")
    make_trainer(max_epochs=2).fit(continued, batches, ckpt_path=path, weights_only=True)
    torch.testing.assert_close(dict(continued.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backbone": "test_vit"}, ["backbone=test_resnet (here test_vit)"]),
        ({"num_classes": 5}, ["num_classes=2 (here 5)"]),
        ({"input_shape": (3, 32, 32)}, ["input_shape=[1, 16, 16] (here [3, 32, 32])"]),
        ({"mean": 0.0, "std": 1.0}, ["mean=0.5 (here 0.0)", "std=0.5 (here 1.0)"]),
        ({"drop_rate": 0.5}, ["(here 0.5)"]),
    ],
)
def test_checkpoint_of_another_model(command: str, options: dict[str, Any], named: list[str], tmp_path: Path) -> None:
    path = tmp_path / "theirs.ckpt"
    trainer = make_trainer()
    trainer.strategy.connect(make_model())
    trainer.save_checkpoint(path, weights_only=True)
    other = make_model(**options)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError, match=re.escape(", ".join(named)) + ";"):
        getattr(make_trainer(), command)(other, loader(make_batches([4])), ckpt_path=path, weights_only=True)
    torch.testing.assert_close(dict(other.state_dict()), before, rtol=0, atol=0)


def test_checkpoint_from_elsewhere(tmp_path: Path) -> None:
    trainer = make_trainer()
    trainer.strategy.connect(LightningModule())
    trainer.save_checkpoint(tmp_path / "foreign.ckpt", weights_only=True)
    with pytest.raises(InputError, match="not from this project"):
        make_trainer().test(
            make_model(), loader(make_batches([4])), ckpt_path=tmp_path / "foreign.ckpt", weights_only=True
        )
    with pytest.raises(InputError, match=r"foreign\.ckpt"):
        ImageClassifier.from_checkpoint(tmp_path / "foreign.ckpt")


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "list"])
def test_damaged_checkpoints(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.ckpt"
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "half":
            content = save(make_model("test_vit"), path).read_bytes()
            path.write_bytes(content[: len(content) // 2])
        case "list":
            torch.save([1, 2], path)
    with pytest.raises(InputError, match=r"damaged\.ckpt is no checkpoint"):
        ImageClassifier.from_checkpoint(path)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_bf16_mixed_precision_trains(backbone: str) -> None:
    batches, others = make_batches([8], side=16), make_batches([4], side=16, seed=1)
    model = make_model(backbone, input_shape=(1, 16, 16))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    dtypes: list[torch.dtype] = []
    handle = model.backbone.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    trainer = make_trainer(precision="bf16-mixed", max_steps=1)
    trainer.fit(model, loader(batches), loader(others))
    handle.remove()
    assert dtypes == [torch.bfloat16, torch.float32]  # a step, and what is measured after it
    assert all(p.dtype == torch.float32 for p in model.parameters())
    # Adam's first step moves a weight by the learning rate, unless its gradient is tiny.
    moved = torch.cat([(p.detach() - before[name]).abs().flatten() for name, p in model.named_parameters()])
    assert float(moved.max()) == pytest.approx(1e-3, rel=1e-2)
    loss, _ = expected(model, others)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_std_must_be_positive(std: float) -> None:
    with pytest.raises(InputError, match=f"std={std:g}"):
        make_model(std=std)


def test_a_compiled_model_trains_to_the_same_weights_and_measures_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compiled(function, backend=backend))
    weights = []
    for option in (False, True):
        model = make_model("test_vit", optimizer=lambda p: torch.optim.SGD(p, lr=0.05), compiled=option)
        trainer = make_trainer(max_epochs=2)
        trainer.fit(model, loader(make_batches([4, 4])), loader(make_batches([4], seed=1)))
        assert bool(graphs) is option
        made = len(graphs)
        trainer.test(model, loader(make_batches([4], seed=2)), verbose=False)
        assert len(graphs) == made
        weights.append(model.state_dict())
    assert list(weights[0]) == list(weights[1])
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-5, atol=1e-6)
