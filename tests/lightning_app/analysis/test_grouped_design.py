"""The profile likelihood: against dense matrices, one response or many, and what cannot be fitted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_app.analysis.grouped_design import Array, GroupedDesign
from tests.lightning_app.analysis.grouped_data import DATA, GroupedData

seeds = st.integers(0, 2**32 - 1)


def _random(seed: int) -> GroupedData:
    """Any sizes, any ratio of variances, columns that move within groups, between them, or both."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, rng.integers(4, 10))
    sizes[0] = 6
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(groups)
    x = np.stack([np.ones(n), rng.normal(size=n), rng.normal(size=len(sizes))[groups]], axis=1)
    x[:, 1] += rng.choice([0, 1, 10]) * rng.normal(size=len(sizes))[groups]
    spread = rng.choice([0, 0.3, 1, 30])
    y = x @ rng.normal(size=3) + spread * rng.normal(size=len(sizes))[groups] + rng.normal(size=n)
    return GroupedData(x, y, groups, ("1", "both", "between"))


def _dense_deviance(data: GroupedData, ratio: float, *, reml: bool) -> float:
    """−2 log-likelihood at the best β and σ²: of the response, or of its contrasts that no β changes."""
    v = np.eye(len(data.y)) + ratio * np.equal.outer(data.groups, data.groups)
    if reml:
        contrasts = np.linalg.qr(data.x, mode="complete")[0][:, data.x.shape[1] :]
        residuals, v = contrasts.T @ data.y, contrasts.T @ v @ contrasts
    else:
        weighted = np.linalg.solve(v, data.x)
        residuals = data.y - data.x @ np.linalg.solve(data.x.T @ weighted, weighted.T @ data.y)
    n = len(residuals)
    variance = residuals @ np.linalg.solve(v, residuals) / n
    return float(n * math.log(2 * math.pi * variance) + np.linalg.slogdet(v)[1] + n)


@given(seeds, st.booleans())
def test_no_ratio_of_variances_is_more_likely(seed: int, reml: bool) -> None:
    data = _random(seed)
    design = GroupedDesign(data.x, data.groups, data.names)
    best = design.best(design.responses(data.y[:, None]), reml=reml)
    ratio = float(best.ratio[0])
    at_best = _dense_deviance(data, ratio, reml=reml)
    others = [0.0, *np.geomspace(1e-4, 1e4, 40), *(ratio * np.array([0.9, 0.999, 1.001, 1.1]))]
    assert at_best <= min(_dense_deviance(data, other, reml=reml) for other in others) + 1e-8


@given(seeds, st.booleans())
def test_the_slope_is_zero_inside_and_not_below_zero_at_the_boundary(seed: int, reml: bool) -> None:
    data = _random(seed)
    design = GroupedDesign(data.x, data.groups, data.names)
    best = design.best(design.responses(data.y[:, None]), reml=reml)
    ratio = float(best.ratio[0])
    if ratio == 0:
        step = 1e-4  # the boundary has one side only: three points
        a, b, c = (_dense_deviance(data, i * step, reml=reml) for i in range(3))
        assert (4 * b - 3 * a - c) / (2 * step) >= -1e-3
    else:
        step = 1e-3 * ratio
        up, down = (_dense_deviance(data, ratio + sign * step, reml=reml) for sign in (1, -1))
        assert (up - down) / 2e-3 == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("reml", [True, False])
def test_many_responses_at_once_are_each_one_alone(name: str, reml: bool) -> None:
    data = DATA[name]
    design = GroupedDesign(data.x, data.groups, data.names)
    rng = np.random.default_rng(0)
    spread = rng.choice([0, 0.5, 5], 40)
    y = rng.normal(size=(len(data.y), 40)) + spread * rng.normal(size=(len(design.sizes), 40))[data.groups]
    together = design.best(design.responses(y), reml=reml)
    assert 0 < (together.ratio == 0).sum() < 40
    for i in range(40):
        alone = design.best(design.responses(y[:, i : i + 1]), reml=reml)
        assert together.ratio[i] == pytest.approx(alone.ratio[0], rel=1e-9, abs=1e-12)
        assert together.deviance[i] == pytest.approx(alone.deviance[0], abs=1e-9)
        assert together.coefficients[i] == pytest.approx(alone.coefficients[0], rel=1e-8, abs=1e-10)


def test_the_basis_spans_the_design() -> None:
    data = DATA["like the law"]
    design = GroupedDesign(data.x * [1, 1e6, 1e-6, 1, 1], data.groups, data.names)
    assert design.basis.T @ design.basis == pytest.approx(np.eye(5), abs=1e-12)
    assert design.basis @ design.transform / [1, 1e6, 1e-6, 1, 1] == pytest.approx(data.x, abs=1e-12)
    # 1, z and a are constant within groups.
    assert (design.scales > 0).sum() == 2
    assert design.free_within == len(data.y) - 11 - 2


def _columns(**columns: Array) -> tuple[Array, tuple[str, ...]]:
    return np.stack(list(columns.values()), axis=1), tuple(columns)


def test_columns_that_depend_on_each_other_are_named() -> None:
    i = np.arange(12.0)
    x, names = _columns(one=np.ones(12), slope=i, constant=np.full(12, math.log(3)), other=np.sin(i))
    with pytest.raises(ValueError, match=r"^the columns one, constant depend on each other: leave out one of them$"):
        GroupedDesign(x, np.arange(12) // 3, names)


def test_a_column_of_zeros_depends_on_nothing_else() -> None:
    x, names = _columns(one=np.ones(12), nothing=np.zeros(12))
    with pytest.raises(ValueError, match="the columns nothing depend"):
        GroupedDesign(x, np.arange(12) // 3, names)


def test_columns_in_very_different_units_do_not_depend_on_each_other() -> None:
    x, names = _columns(one=np.ones(12), small=1e-9 * np.sin(np.arange(12)), large=1e9 * np.cos(np.arange(12)))
    assert GroupedDesign(x, np.arange(12) // 3, names).basis.shape == (12, 3)


def test_as_many_columns_as_rows() -> None:
    with pytest.raises(ValueError, match=r"^3 rows cannot tell 3 coefficients and a variance apart"):
        GroupedDesign(np.eye(3), np.array([0, 0, 1]), ("a", "b", "c"))
