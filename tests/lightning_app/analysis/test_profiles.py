"""Curves on a common grid, their means over data sets, and their peaks: against loops."""

import numpy as np
import pandas as pd
import pytest

from lightning_app.analysis.profiles import mean_by_domain, on_grid, peaks

GRID = np.linspace(-1, 11, 49)


@pytest.mark.parametrize("seed", range(5))
def test_a_grid_holds_every_curve_inside_its_own_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    curves = {number: np.unique(rng.uniform(0, 10, rng.integers(1, 9))) for number in rng.permutation(20)[:12].tolist()}
    values = {number: rng.normal(size=len(x)) for number, x in curves.items()}
    order = rng.permutation(sum(map(len, curves.values())))
    found = on_grid(
        np.repeat(list(curves), [len(x) for x in curves.values()])[order],
        np.concatenate(list(curves.values()))[order],
        np.concatenate(list(values.values()))[order],
        GRID,
    )
    assert found.shape == (max(curves) + 1, len(GRID))
    for number in range(len(found)):
        if number in curves:
            expected = np.interp(GRID, curves[number], values[number], left=np.nan, right=np.nan)
            np.testing.assert_allclose(found[number], expected, rtol=0, atol=1e-9)
        else:
            assert np.isnan(found[number]).all()


def test_points_at_one_place_count_as_their_mean() -> None:
    assert on_grid([0, 0, 0], [2, 2, 4], [1, 3, 8], [2, 3, 4]).tolist() == [[2, 5, 8]]
    assert peaks([0] * 4, [2, 2, 4, 6], [9, 1, 7, 2]).loc[0, ["x", "y"]].tolist() == [4, 7]


def test_without_points_there_are_no_curves() -> None:
    assert on_grid([], [], [], GRID).shape == (0, len(GRID))
    assert peaks([], [], []).empty
    assert mean_by_domain(np.empty((0, 3)), pd.DataFrame({"data": [], "domain": [], "backbone": []})) == {}


def test_every_data_set_counts_alike_and_in_it_every_network() -> None:
    runs = pd.DataFrame(
        [("A", "x", "r"), ("A", "x", "r"), ("A", "x", "r"), ("A", "x", "v"), ("B", "x", "r"), ("C", "y", "v")],
        columns=["data", "domain", "backbone"],
        index=[7, 3, 9, 1, 5, 2],
    )
    nan = np.nan
    values = np.array([[1, 2, 3], [3, 2, nan], [2, 5, nan], [6, nan, 9], [10, 20, nan], [nan, nan, nan]])
    found = mean_by_domain(values, runs)
    assert list(found) == ["x"]  # nothing is known of y
    np.testing.assert_array_equal(found["x"].sets["A"], [4, nan, 6])  # (2 + 6) / 2; the other network is missing; …
    np.testing.assert_array_equal(found["x"].sets["B"], [10, 20, nan])
    np.testing.assert_array_equal(found["x"].value, [7, nan, nan])
    np.testing.assert_allclose(found["x"].stderr, [3, nan, nan])  # |10 − 4| / 2
    alone = mean_by_domain(values[4:5], runs.iloc[4:5])["x"]
    np.testing.assert_array_equal(alone.value, [10, 20, nan])
    assert np.isnan(alone.stderr).all()


def test_peaks() -> None:
    curves = {
        0: ([0.1, 0.4, 0.9], [1, 5, 2]),
        1: ([0.1, 0.5, 0.6, 0.9], [3, 3, 3, 3]),  # level: its first point
        3: ([0.2, 0.3], [1, 2]),  # too few
        5: ([0.2, 0.5, 0.8], [1, 2, 3]),
    }
    numbers = [number for number, (x, _) in curves.items() for _ in x]
    found = peaks(numbers, *(np.concatenate([curve[i] for curve in curves.values()]) for i in (0, 1)))
    assert found.index.tolist() == [0, 1, 5]
    assert found["x"].tolist() == [0.4, 0.1, 0.8]
    assert found["y"].tolist() == [5, 3, 3]
    assert found["at_end"].tolist() == [False, True, True]
    assert found["gap"].tolist() == pytest.approx([0.4, 0.8 / 3, 0.3])
