"""Batches over processes: every image once, steps as on one process, whatever the number of processes."""

import math

import pytest
import torch

from datamodules.batches import EvalBatches, TrainBatches
from datamodules.images import PADDING, ImageSet
from metrics import InputError

Steps = list[list[list[int]]]
"""Indices, by step and process."""


def _set(n: int) -> ImageSet:
    return ImageSet(torch.zeros(n, 1, 2, 2, dtype=torch.uint8), *(torch.arange(n) for _ in range(3)))


def _training(n: int, step_size: int, processes: int, seed: int = 0, epoch: int = 0) -> Steps:
    shares = []
    for process in range(processes):
        batches = TrainBatches(_set(n), step_size, seed=seed, processes=processes, process=process)
        batches.set_epoch(epoch)
        shares.append(list(batches))
        assert len(shares[-1]) == len(batches)
    return [list(step) for step in zip(*shares, strict=True)]


def _whole(steps: Steps) -> list[list[int]]:
    return [[i for share in step for i in share] for step in steps]


@pytest.mark.parametrize("n", [37, 503, 750])
@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("step_size", [12, 40])
def test_the_steps_of_an_epoch_are_those_of_one_process(n: int, processes: int, step_size: int) -> None:
    steps = _training(n, step_size, processes)
    assert _whole(steps) == _whole(_training(n, step_size, 1))
    assert sorted(i for step in _whole(steps) for i in step) == list(range(n))
    sizes = [len(step) for step in _whole(steps)]
    assert max(sizes) <= step_size
    assert len(sizes) == math.ceil(n / step_size)
    assert max(sizes) - min(sizes) <= 1
    for step in steps:
        shares = [len(share) for share in step]
        assert min(shares) >= 2
        assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(("n", "step_size", "processes"), [(37, 2, 1), (3, 2, 1), (37, 4, 2), (13, 6, 3), (6, 6, 3)])
def test_no_share_has_a_single_image(n: int, step_size: int, processes: int) -> None:
    steps = _training(n, step_size, processes)
    assert min(len(share) for step in steps for share in step) >= 2
    assert sorted(i for step in _whole(steps) for i in step) == list(range(n))


def test_an_epoch_of_one_image() -> None:
    assert _training(1, 4, 1) == [[[0]]]


def test_too_few_images_for_so_many_processes() -> None:
    with pytest.raises(InputError, match=r"5 training images are too few for 3 processes.*raise n_train"):
        TrainBatches(_set(5), 40, processes=3)
    with pytest.raises(InputError, match=r"4 images per step are too few for 3 processes.*batch_size"):
        TrainBatches(_set(50), 4, processes=3)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_order_is_that_of_its_seed_and_epoch(processes: int) -> None:
    def order(seed: int, epoch: int) -> Steps:
        return _training(53, 8, processes, seed, epoch)

    assert order(0, 0) == order(0, 0)
    orders = [order(0, 0), order(0, 1), order(5, 0)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_an_iterator_made_before_its_epoch_is_set_follows_that_epoch() -> None:
    batches = TrainBatches(_set(53), 8)
    iterator = iter(batches)
    batches.set_epoch(1)
    assert list(iterator) == _whole(_training(53, 8, 1, epoch=1))


@pytest.mark.parametrize("n", [1, 37, 503, 750])
@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [40, 100])
def test_evaluation_sees_every_image_once_on_any_number_of_processes(n: int, processes: int, batch_size: int) -> None:
    samplers = [EvalBatches(_set(n), batch_size, processes=processes, process=i) for i in range(processes)]
    seen = [list(sampler) for sampler in samplers]
    counted = [i for batches in seen for batch in batches for i in batch if i != PADDING]
    assert sorted(counted) == list(range(n))
    assert {len(batches) for batches in seen} == {len(sampler) for sampler in samplers}
    assert {len(sampler) for sampler in samplers} == {math.ceil(math.ceil(n / processes) / batch_size)}
    assert {len(batch) for batches in seen for batch in batches} <= set(range(1, batch_size + 1))


def test_evaluation_keeps_the_order_of_the_images() -> None:
    assert [i for batch in EvalBatches(_set(53), 8) for i in batch] == list(range(53))
