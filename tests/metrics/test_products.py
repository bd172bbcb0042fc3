"""Products of 8-bit values are exact: against NumPy's 64-bit integers, whatever the machine multiplies with."""

import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.functional import pad

from metrics import products
from metrics.products import centred_norms, centred_products, int8_products_are_exact

Pixels = NDArray[np.uint8]
Setting = AbstractContextManager[object]

# What saturates 16-bit sums, and what is near.
EXTREMES = np.array([0, 1, 127, 128, 129, 254, 255])


@pytest.fixture(params=["int8 where exact", "float32"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine takes, and what machines without exact int8 products take."""
    if request.param == "float32":
        monkeypatch.setattr(products, "int8_products_are_exact", lambda: False)


@pytest.fixture(params=["highest", "medium", "autocast", "bf16 of torch 2.9"])
def precision(request: pytest.FixtureRequest) -> Iterator[Setting]:
    """A setting that rounds ordinary products, and the block to compute in."""
    if request.param == "autocast":
        yield torch.autocast("cpu", dtype=torch.bfloat16)
    elif request.param == "bf16 of torch 2.9":
        matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
        if not hasattr(matmul, "fp32_precision"):
            pytest.skip("this torch has one interface only")
        before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
        yield nullcontext()
        after, matmul.fp32_precision = matmul.fp32_precision, before
        assert after == "bf16", "the caller's precision was changed"
    else:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(request.param)
        yield nullcontext()
        after = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(before)
        assert after == request.param, "the caller's precision was changed"


def _expected(pixels: Pixels, i: list[int], j: list[int]) -> list[list[int]]:
    centred = pixels.astype(np.float64) - 128  # sums far below 2⁵³ are exact
    return (centred[i] @ centred[j].T).astype(np.int64).tolist()


def _found(pixels: Pixels, i: list[int], j: list[int]) -> list[list[int]]:
    left = torch.tensor(i)
    # Given the same tensor twice, only one half is computed.
    return centred_products(torch.from_numpy(pixels), left, left if j is i else torch.tensor(j)).tolist()


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_every_small_shape(layout: Callable[[Pixels], Pixels], precision: Setting) -> None:
    # Operands of a single row or column have ambiguous strides, at which torch._int_mm reads beyond their ends.
    rng = np.random.default_rng(0)
    with precision:
        for n in range(1, 6):
            for dims in (1, 2, 3, 4, 5, 8, 31, 64, 65):
                pixels = layout(rng.choice(EXTREMES, (n, dims)).astype(np.uint8))
                for i in ([0], [n - 1], [*range(n)], [*range(0, n, 2)]):
                    for j in (i, [0], [*range(n)], [*range(n)][::-1]):
                        assert _found(pixels, i, j) == _expected(pixels, i, j), (n, dims, i, j)


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("dims", [1023, 1024, 1025, 2049, 8193, 65_536, 65_537, 131_073, 150_528])
@pytest.mark.parametrize("values", ["random", "extremes"])
def test_long_rows(dims: int, values: str, precision: Setting) -> None:
    rng = np.random.default_rng(dims)
    pixels = rng.integers(0, 256, (4, dims)) if values == "random" else rng.choice([0, 255], (4, dims))
    pixels = np.concatenate([pixels, np.zeros((1, dims)), np.full((1, dims), 255)]).astype(np.uint8)
    everyone = [*range(6)]
    with precision:
        for others in (everyone, [*everyone], [5, 0, 1]):
            assert _found(pixels, everyone, others) == _expected(pixels, everyone, others)


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize(
    ("dims", "dtype"), [(131_071, torch.int32), (131_072, torch.int64), (131_073, torch.int64), (400_001, torch.int64)]
)
def test_sums_of_largest_products_do_not_overflow(dims: int, dtype: torch.dtype) -> None:
    black = np.zeros((2, dims), dtype=np.uint8)
    found = centred_products(torch.from_numpy(black), torch.arange(2), torch.arange(1))
    assert found.dtype == dtype
    assert found.tolist() == [[dims * 2**14]] * 2
    assert centred_norms(torch.from_numpy(black)).tolist() == [dims * 2**14] * 2


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize(
    ("n", "dims"), [(127, 3), (129, 1), (256, 2), (257, 9), (511, 4), (513, 3), (600, 8193), (1025, 2)]
)
def test_many_rows(n: int, dims: int) -> None:
    # So many that results are computed in blocks, and that blocks of dimensions may end with a single column.
    pixels = np.random.default_rng(n).choice(EXTREMES, (n, dims)).astype(np.uint8)
    everyone = [*range(n)]
    for others in (everyone, [*everyone], [3, 1], everyone[::-2]):
        assert _found(pixels, everyone, others) == _expected(pixels, everyone, others)
    some = everyone[::-2]
    assert _found(pixels, some, some) == _expected(pixels, some, some)


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("dims", [16_384, 16_385])
def test_many_rows_of_many_dimensions(dims: int) -> None:
    rng = np.random.default_rng(dims)
    pixels = rng.choice(EXTREMES, (4, dims)).astype(np.uint8)
    i, j = (rng.integers(4, size=size) for size in (1500, 600))
    found = centred_products(torch.from_numpy(pixels), torch.from_numpy(i), torch.from_numpy(j))
    every = np.array(_expected(pixels, [0, 1, 2, 3], [0, 1, 2, 3]))
    np.testing.assert_array_equal(found, every[np.ix_(i, j)])


@pytest.mark.usefixtures("arithmetic")
@given(data=st.data(), n=st.integers(1, 40), dims=st.integers(1, 130), seed=st.integers(0, 2**32 - 1))
def test_any_rows_in_any_order(data: st.DataObject, n: int, dims: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = data.draw(st.sampled_from([EXTREMES, np.arange(256), np.array([0]), np.array([0, 255])]))
    pixels = rng.choice(values, (n, dims)).astype(np.uint8)
    rows = st.lists(st.integers(0, n - 1), min_size=1, max_size=2 * n)
    i, j = data.draw(rows), data.draw(rows)
    before = pixels.copy()
    assert _found(pixels, i, j) == _expected(pixels, i, j)
    assert _found(pixels, i, i) == _expected(pixels, i, i)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 65])
def test_norms(n: int, layout: Callable[[Pixels], Pixels]) -> None:
    for dims in (1, 2, 50, 1025):
        pixels = layout(np.random.default_rng(n).choice(EXTREMES, (n, dims)).astype(np.uint8))
        found = centred_norms(torch.from_numpy(pixels))
        assert found.dtype == torch.int64
        assert found.tolist() == ((pixels.astype(np.int64) - 128) ** 2).sum(axis=1).tolist()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="int8 products are for x86 processors")
def test_int8_products_are_trusted_only_where_they_do_not_saturate() -> None:
    # Two neighbouring products of the largest values exceed the 16 bits that they are added up in without VNNI.
    for n, m, dims in ((1, 8, 64), (5, 7, 300), (64, 64, 1024)):
        largest, lowest = torch.full((n, dims), 127, dtype=torch.int8), torch.full((m, dims), -128, dtype=torch.int8)
        exact = bool((torch._int_mm(largest, lowest.T) == -128 * 127 * dims).all())
        assert exact or not int8_products_are_exact()


def test_int8_products_are_not_trusted_where_torch_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("not implemented for this processor")

    monkeypatch.setattr(torch, "_int_mm", refuse)
    assert int8_products_are_exact.__wrapped__() is False


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="int8 products are for x86 processors")
def test_int8_products_are_not_trusted_where_they_saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturating(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        left, right = pad(left, (0, left.shape[1] % 2)).int(), pad(right, (0, 0, 0, right.shape[0] % 2)).int()
        pairs = (left[:, :, None] * right).unflatten(1, (-1, 2)).sum(dim=2)
        return pairs.clamp(-(2**15), 2**15 - 1).sum(dim=1).int()

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert int8_products_are_exact.__wrapped__() is False
