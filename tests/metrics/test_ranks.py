"""Processes share the work, and each of them has what one alone would find, to the last digit."""

import json
from pathlib import Path

import pytest

from metrics import map_shared, n_processes
from tests.metrics import fixed_set
from tests.processes import in_two_processes


def test_one_process_does_everything() -> None:
    told: list[tuple[int, int]] = []
    assert map_shared(str, [3, 1, 2], lambda done, of: told.append((done, of))) == ["3", "1", "2"]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert map_shared(str, []) == []
    with pytest.raises(ZeroDivisionError):
        map_shared(lambda task: 1 // task, [1, 0, 1])
    assert n_processes() == 1


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path: Path) -> None:
    in_two_processes("tests.metrics.fixed_set", tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["done"] == [0, 2, 4, 6]
    assert second["done"] == [1, 3, 5]
    assert first["squares"] == second["squares"] == [0, 1, 4, 9, 16, 25, 36]
    assert first["failure"] == second["failure"]
    assert first["failure"].startswith("ZeroDivisionError")
    assert min(*first["tiles"], *second["tiles"]) >= 1
    assert first["found"] == second["found"] == fixed_set.measure()
