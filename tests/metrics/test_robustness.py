"""Outcomes and robustness: against torch, NumPy and the closed form of a linear model."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metrics import (
    Attack,
    AttackName,
    InputError,
    Outcomes,
    attacked_outcomes,
    outcomes,
    robustness,
    torch_attacks,
)


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


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_loss_of_an_attacked_linear_model_is_the_closed_form(name: AttackName) -> None:
    # Two classes and interior images: the margin falls by ε times the dual norm of the weights' difference.
    model, images, labels = _model(2), _images(30), torch.arange(30) % 2
    logits = model(images).detach().double().numpy()
    margin = logits[np.arange(30), labels] - logits[np.arange(30), 1 - labels.numpy()]
    weight = model[1].weight.detach().double().numpy()
    clean = outcomes(model, images, labels)
    for attack, order, radii in (
        (Attack(name), 1, [20, 4, 9]),
        (Attack(name, "l2", steps=30, step_size=1), 2, [60, 20, 9]),
    ):
        after = attacked_outcomes(model, images, labels, clean, attack=attack, eps=radii)
        assert list(after) == sorted(radii)
        for eps, found in after.items():
            attacked = margin - eps / 255 * np.linalg.norm(weight[0] - weight[1], ord=order)
            np.testing.assert_allclose(found.loss, np.log1p(np.exp(-attacked)), rtol=1e-5)
            np.testing.assert_array_equal(found.correct, attacked > 0)


class _Window(nn.Module):
    """Right everywhere but at mean grey levels between 0.55 and 0.6: attacks reach beyond and are safe again."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = images.mean((1, 2, 3))
        margin = (level - 0.575).abs() - 0.025
        # Climbs towards brighter images everywhere, whatever the margin is.
        slope = level - level.detach()
        return torch.stack([margin.detach() - slope, torch.zeros_like(level)], 1)


def test_an_image_that_is_fooled_stays_fooled_at_larger_radii_and_a_wrong_one_stays_wrong() -> None:
    model = _Window()
    images = torch.full((2, 1, 2, 2), 0.5)
    images[1] = 0.57  # wrong without any attack
    labels = torch.zeros(2, dtype=torch.int64)
    clean = outcomes(model, images, labels)
    assert clean.correct.tolist() == [True, False]
    after = attacked_outcomes(model, images, labels, clean, attack=Attack("fgsm"), eps=[10, 20, 51])
    assert [found.correct.tolist() for found in after.values()] == [[True, False], [False, False], [False, False]]
    # The loss is that of the attack at its own radius: at 51 of 255 the first image lies at 0.7, where all is well.
    assert after[51].loss[0] == pytest.approx(np.log1p(np.exp(-0.1)), rel=1e-5)


def test_without_losses_only_images_that_still_stand_are_attacked() -> None:
    passed = 0

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _model(2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            nonlocal passed
            passed += len(images)
            logits: torch.Tensor = self.inner(images)
            return logits

    model, images, labels = Counts().eval(), _images(30), torch.arange(30) % 2
    clean = outcomes(model, images, labels)
    found = {}
    for with_loss in (True, False):
        passed = 0
        after = attacked_outcomes(
            model, images, labels, clean, attack=Attack("pgd", steps=3), eps=[4, 20], with_loss=with_loss
        )
        found[with_loss] = ([each.correct.tolist() for each in after.values()], passed)
    assert found[False][0] == found[True][0]
    right = int(clean.correct.sum())
    standing = sum(found[True][0][0])
    assert 0 < standing < right < 30
    assert found[True][1] == 2 * 30 * 4
    assert found[False][1] == (right + standing) * 4


def test_auto_attacks_what_still_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_attacks, "_STEPS", 5)
    monkeypatch.setattr(torch_attacks, "_QUERIES", 10)
    model, images, labels = _model(2), _images(30), torch.arange(30) % 2
    clean = outcomes(model, images, labels)
    by_attack = {
        name: attacked_outcomes(model, images, labels, clean, attack=Attack(name), eps=[4, 20])
        for name in ("pgd", "auto")
    }
    for eps in (4, 20):  # on a linear model nothing is stronger than PGD
        assert torch.equal(by_attack["auto"][eps].correct, by_attack["pgd"][eps].correct)
    wrong = ~clean.correct
    assert wrong.any()
    assert torch.equal(by_attack["auto"][20].loss[wrong], clean.loss[wrong])


def test_robustness_is_the_means_with_paired_standard_errors() -> None:
    rng = np.random.default_rng(0)
    before = rng.exponential(size=50)
    after = before + rng.uniform(0, 0.1, 50)
    right = rng.uniform(size=50) < 0.8
    correct = right & (rng.uniform(size=50) < 0.4)
    result = robustness(
        Outcomes(torch.from_numpy(before), torch.from_numpy(right)),
        Outcomes(torch.from_numpy(after), torch.from_numpy(correct)),
    )
    for estimate, samples in (
        (result.acc, correct * 1.0),
        (result.acc_of_correct, correct[right] * 1.0),
        (result.loss, after),
        (result.loss_increase, after - before),
    ):
        assert estimate is not None
        assert estimate.value == pytest.approx(samples.mean(), rel=1e-12)
        assert estimate.stderr == pytest.approx(samples.std(ddof=1) / np.sqrt(len(samples)), rel=1e-12)
        assert estimate.n_used == len(samples)


def test_where_nothing_was_right_there_is_no_accuracy_among_it() -> None:
    wrong = Outcomes(torch.ones(4), torch.zeros(4, dtype=torch.bool))
    assert robustness(wrong, wrong).acc_of_correct is None
