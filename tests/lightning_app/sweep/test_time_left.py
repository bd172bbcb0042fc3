"""Sums of estimates."""

from typing import Any

import pytest

from lightning_app.sweep.time_left import TimeLeft
from tests.lightning_app.sweep.toy_cells import RECORD, Told, toy_cells


def test_what_is_left_is_shared_by_those_who_work() -> None:
    cells = toy_cells(4)
    left = TimeLeft(Told({cell.title: 10.0 for cell in cells}))
    assert left.seconds(cells, [], 1) == 40
    assert left.seconds(cells, [], 2) == 20
    assert left.seconds(cells[2:], [(cells[0], {"epoch": 3, "epochs": 4, "step": 9}), (cells[1], {})], 2) == 16.25
    assert left.seconds([], [], 2) == 0


def test_no_sweep_is_over_before_its_longest_cell() -> None:
    cells = toy_cells(3)
    left = TimeLeft(Told({"cell 0": 10.0, "cell 1": 10.0, "cell 2": 100.0}))
    assert left.seconds(cells, [], 3) == 100


def test_estimates_are_corrected_by_what_cells_took() -> None:
    cells = toy_cells(4)
    left = TimeLeft(Told({cell.title: 10.0 for cell in cells}))
    left.learn(cells[0], RECORD, 15.0)
    left.learn(cells[1], RECORD, 25.0)
    assert left.seconds(cells[2:], [], 1) == 40


@pytest.mark.parametrize(("record", "factor"), [({"epochs": 4, "first_epoch": 3}, 4.0), ({}, 1.0)])
def test_a_cell_that_was_continued_counts_for_what_it_did(record: dict[str, Any], factor: float) -> None:
    cells = toy_cells(2)
    left = TimeLeft(Told({cell.title: 10.0 for cell in cells}))
    left.learn(cells[0], record, 10.0)
    assert left.seconds(cells[1:], [], 1) == 10 * factor


def test_what_nobody_knows_counts_like_the_mean_of_what_was_seen() -> None:
    cells = toy_cells(4)
    estimates = Told({"cell 3": 10.0})
    left = TimeLeft(estimates)
    assert left.seconds(cells, [], 1) is None
    left.learn(cells[0], RECORD, 10.0)
    left.learn(cells[1], RECORD, 30.0)
    assert left.seconds(cells[2:], [], 1) == 20 + 10
    assert estimates.learnt == ["cell 0", "cell 1"]
