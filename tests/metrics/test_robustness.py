"""Outcomes and robustness: against torch, NumPy and the closed form of a linear model."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metrics import ATTACKS, AttackName, InputError, Outcomes, attacked_outcomes, outcomes, robustness


def _model(classes: int) -> nn.Sequential:
    rng = np.random.default_rng(classes)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, classes))
    model[1].weight = nn.Parameter(torch.from_numpy(rng.normal(size=(classes, 12))).float())
    return model.eval()


def _images(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0.3, 0.7, (n, 3, 2, 2))).float()


@pytest.mark.parametrize("classes", [2, 5])
def test_outcomes_are_cross_entropy_and_the_largest_logit(classes: int) -> None:
    model, images, labels = _model(classes), _images(30), torch.arange(30) % classes
    result = outcomes(model, images, labels)
    logits = model(images).detach().double()
    torch.testing.assert_close(result.loss, F.cross_entropy(logits, labels, reduction="none"), rtol=1e-12, atol=0)
    own = logits.numpy()[np.arange(30), labels]
    np.testing.assert_allclose(result.loss, np.log(np.exp(logits.numpy()).sum(axis=1)) - own, rtol=1e-9)
    np.testing.assert_array_equal(result.correct, logits.numpy().argmax(axis=1) == labels.numpy())
    assert result.loss.dtype == torch.float64
    assert not result.loss.requires_grad


def test_a_sure_and_right_answer_in_mixed_precision_has_its_true_small_loss() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = outcomes(nn.Flatten(), torch.tensor([[[[20.0, -20.0]]]]).bfloat16(), torch.tensor([0]))
    assert result.loss.tolist() == pytest.approx([np.log1p(np.exp(-40.0))], rel=1e-6)


@pytest.mark.parametrize(("labels", "shown"), [([0, 3], "0 … 3"), ([-1, 2], "-1 … 2")])
def test_labels_that_the_model_has_no_logit_for_are_refused(labels: list[int], shown: str) -> None:
    with pytest.raises(InputError, match=f"{shown}, but the model has 3 classes"):
        outcomes(_model(3), _images(2), torch.tensor(labels))


@pytest.mark.parametrize("attack", ATTACKS)
def test_loss_of_an_attacked_linear_model_is_the_closed_form(attack: AttackName) -> None:
    # Two classes and interior images: the margin falls by ε times the L1 norm of the weights' difference.
    model, images, labels, eps = _model(2), _images(30), torch.arange(30) % 2, 20
    logits = model(images).detach().double().numpy()
    margin = logits[np.arange(30), labels] - logits[np.arange(30), 1 - labels.numpy()]
    weight = model[1].weight.detach().double().numpy()
    attacked = margin - eps / 255 * np.abs(weight[0] - weight[1]).sum()
    result = attacked_outcomes(model, images, labels, attack=attack, eps=eps, seeds=range(30))
    np.testing.assert_allclose(result.loss, np.log1p(np.exp(-attacked)), rtol=1e-5)
    np.testing.assert_array_equal(result.correct, attacked > 0)


def test_robustness_is_the_means_with_paired_standard_errors() -> None:
    rng = np.random.default_rng(0)
    before = rng.exponential(size=50)
    after = before + rng.uniform(0, 0.1, 50)
    correct = rng.uniform(size=50) < 0.3
    result = robustness(
        Outcomes(torch.from_numpy(before), torch.ones(50, dtype=torch.bool)),
        Outcomes(torch.from_numpy(after), torch.from_numpy(correct)),
    )
    for estimate, samples in (
        (result.acc, correct * 1.0),
        (result.loss, after),
        (result.loss_increase, after - before),
    ):
        assert estimate.value == pytest.approx(samples.mean(), rel=1e-12)
        assert estimate.stderr == pytest.approx(samples.std(ddof=1) / np.sqrt(50), rel=1e-12)
        assert estimate.n_used == 50
