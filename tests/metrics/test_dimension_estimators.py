"""Estimators of dimension: against scikit-dimension, closed forms, and a slow GeoMLE with scikit-learn's ridge."""

import inspect
import math
import warnings
from typing import Any

import numpy as np
import pytest
import skdim
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge

from metrics import InputError, check_estimator, estimators, intrinsic_dimension, nearest_neighbors
from metrics.dimension_estimators import SCIKIT_DIMENSION, first_of, geomle, logarithms, mle, twonn
from tests.metrics import brute_force

Array = NDArray[np.float64]


def _ball(n: int, seed: int = 0) -> Array:
    """A ball of three dimensions among five."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    turn = np.linalg.qr(rng.normal(size=(5, 3)))[0]
    return (direction * rng.uniform(size=(n, 1)) ** (1 / 3)) @ turn.T


def _slow_geomle(points: Array, k: int, rng: np.random.Generator, repeats: int) -> float:
    """Gomtsyan et al. (2019) by its words: a loop over repetitions, points, bootstrap samples and neighbours."""
    n, dims = points.shape
    distance = np.sqrt(brute_force.squared_distances(points, points))
    ks = range(max(3, k // 2), 2 * k + 1)
    furthest = [np.sort(np.delete(distance[i], i))[2 * k - 1] for i in range(n)]
    unit = math.exp(sum(math.log(t) for t in furthest) / n)
    estimates = []
    for _ in range(repeats):
        samples = [{*rng.integers(n, size=n).tolist()} for _ in range(20)]
        intercepts = []
        for i in range(n):
            curves, radii = [], []
            for sample in samples:
                t = sorted(distance[i, j] for j in sample - {i})
                curves.append([(m - 2) / sum(math.log(t[m - 1] / t[j]) for j in range(m - 1)) for m in ks])
                radii.append([t[m - 1] / unit for m in ks])
            y, r = np.mean(curves, axis=0), np.mean(radii, axis=0)
            weights = 1 / np.std(curves, axis=0, ddof=1)
            ridge = Ridge(alpha=5e-3).fit(np.stack([r, r**2], axis=1), y, sample_weight=weights)
            intercepts.append(ridge.intercept_)
        estimates.append(min(max(float(np.mean(intercepts)), 0.0), dims))
    return float(np.mean(estimates))


def test_names_are_those_of_scikit_dimension() -> None:
    exported = {
        name for name, kind in vars(skdim.id).items() if inspect.isclass(kind) and issubclass(kind, BaseEstimator)
    }
    assert {*SCIKIT_DIMENSION} == exported
    assert estimators == ("mle", "twonn", "geomle", *SCIKIT_DIMENSION)


def test_unknown_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"unknown estimator 'MLe': choose from mle, twonn, geomle, CorrInt, .*lPCA$"):
        check_estimator("MLe")


@given(ratios=st.lists(st.floats(1.001, 9.0), min_size=1, max_size=20), scale=st.floats(1e-9, 1e9))
def test_mle_of_three_neighbors_in_closed_form(ratios: list[float], scale: float) -> None:
    # Neighbours at 1, 1 and r: the inverse is the mean of 2 log r.
    distances = np.array([[1.0, 1.0, r] for r in ratios]) * scale
    expected = len(ratios) / (2 * sum(map(math.log, ratios)))
    assert mle(np.log(distances)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dimension", [0.5, 3, 40])
def test_twonn_of_ratios_on_the_line_is_its_slope(dimension: float) -> None:
    # μ = (1 − F)^(−1/d) lies on the fitted line.
    f = np.arange(1, 51) / 51
    logs = np.stack([np.zeros(50), -np.log(1 - f) / dimension], axis=1)
    expected = np.cumsum(np.ones(50))[:45] / 50
    x, y = logs[:45, 1], -np.log(1 - expected)
    assert twonn(np.random.default_rng(0).permutation(logs)) == pytest.approx((x @ y) / (x @ x), rel=1e-12)
    assert twonn(logs) == pytest.approx(dimension, rel=0.05)


def test_no_spread_is_no_dimension() -> None:
    assert mle(np.zeros((5, 4))) == math.inf
    assert twonn(np.zeros((5, 4))) == math.inf


@given(
    n=st.integers(1, 12),
    width=st.one_of(st.integers(1, 9), st.integers(253, 258)),
    count=st.one_of(st.integers(1, 9), st.integers(250, 260)),
    seed=st.integers(0, 2**32 - 1),
)
def test_first_of(n: int, width: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, held = np.sort(rng.normal(size=(n, width))), rng.random((n, width)) < rng.random()
    found = first_of(values, held, count)
    for row, value, mask in zip(found, values, held, strict=True):
        first = value[mask][:count].tolist()
        assert row.tolist() == first + [value[-1]] * (count - len(first))


def test_logarithms_are_logarithms() -> None:
    values = 10.0 ** np.random.default_rng(0).uniform(-300, 300, (40, 50))
    found = logarithms(values)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.log(values), rtol=1e-15)
    with np.errstate(divide="ignore"):
        assert logarithms(np.zeros(1)).tolist() == [-math.inf]


@pytest.mark.parametrize(("k", "dims"), [(5, 5), (5, 2), (8, 3), (3, 4)])
def test_geomle_is_the_slow_one(k: int, dims: int) -> None:
    points = np.random.default_rng(k).normal(size=(70, dims))
    distances, indices = (part.numpy() for part in nearest_neighbors(points, 69))
    everyone = np.arange(70)
    expected = _slow_geomle(points, k, np.random.default_rng(7), 2)
    for width in (69, 5 * k + 15):  # all neighbours, and as many as bootstrap samples need
        logs, whose, rng = np.log(distances[:, :width]), indices[:, :width], np.random.default_rng(7)
        assert geomle(logs, whose, everyone, k, dims, rng, repeats=2) == pytest.approx(expected, rel=1e-8)


def test_geomle_through_the_front_door() -> None:
    points = _ball(60)
    found = intrinsic_dimension(points, estimator="geomle", k=5, seed=3).value
    assert found == pytest.approx(_slow_geomle(points, 5, np.random.default_rng([3, 1]), 10), rel=1e-8)


@pytest.mark.parametrize("scale", [1e-9, 0.125, 1e7])
def test_geomle_does_not_depend_on_the_unit(scale: float) -> None:
    points = _ball(150)
    expected = intrinsic_dimension(points, estimator="geomle", k=10)
    found = intrinsic_dimension(points * scale, estimator="geomle", k=10)
    assert found.value == pytest.approx(expected.value, rel=1e-8)
    assert found.stderr == pytest.approx(expected.stderr, rel=1e-6)


def test_geomle_is_clipped_to_the_number_of_values() -> None:
    plane = np.random.default_rng(0).uniform(size=(200, 2))
    assert intrinsic_dimension(plane, estimator="geomle", k=10).value <= 2


def test_geomle_of_many_points_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    points = _ball(120)
    expected = intrinsic_dimension(points, estimator="geomle", k=5)
    monkeypatch.setattr("metrics.dimension_estimators._POINTS_AT_ONCE", 50)
    found = intrinsic_dimension(points, estimator="geomle", k=5)
    assert found.value == pytest.approx(expected.value, rel=1e-12)


def _direct(name: str, points: Array, k: int, seed: int) -> float:
    """The estimator of scikit-dimension itself, with its own search for neighbours."""
    kind: Any = getattr(skdim.id, name)
    options = {
        key: value for key, value in (("k", k), ("random_state", seed)) if key in inspect.signature(kind).parameters
    }
    fit = {"n_neighbors": k} if "n_neighbors" in inspect.signature(kind.fit).parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(kind(**options).fit(points, **fit).dimension_)


@pytest.mark.parametrize("name", SCIKIT_DIMENSION)
def test_every_estimator_of_scikit_dimension_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    points = _ball(150)
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002  # must not change
    estimate = intrinsic_dimension(points, estimator=name, k=20, seed=5)
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    if name not in ("DANCo", "FisherS", "PH"):  # slow, and given nothing but the points
        assert estimate.value == pytest.approx(_direct(name, points, 20, 5), rel=1e-8)
    assert (estimate.stderr, estimate.n_used, estimate.n_dropped) == (None, 150, 0)
    if name != "KNN":  # an integer, and 1 on so few points
        assert 2 < estimate.value < 4
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("lPCA", (30, 1), "lPCA of scikit-dimension failed on these points: .* minimum of 2 is required"),
        ("KNN", (6, 5), "KNN of scikit-dimension failed on these points: ps must satisfy"),
        ("FisherS", (6, 5), "FisherS of scikit-dimension found nan on these 6 points"),
    ],
)
def test_an_estimator_that_fails_says_so(name: str, shape: tuple[int, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        intrinsic_dimension(np.random.default_rng(0).normal(size=shape), estimator=name, k=5)
