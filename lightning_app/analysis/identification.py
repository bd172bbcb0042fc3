"""Whether records can tell the coefficients of the law apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_app.analysis.design import BACKBONE, SHARPNESS, SIZE
from lightning_app.analysis.grouped_design import Array, group_means

ROUNDING = 1e-9  # relative: below it, differences are rounding errors


class NotIdentified(ValueError):  # noqa: N818  # nothing is wrong: the records are too few or too alike
    """The records cannot tell the coefficients apart: one line that says why and what would help."""


def check_identified(x: Array, y: Array, groups: NDArray[np.int64], names: Sequence[str]) -> int:
    """Refuse a design whose coefficients the runs cannot tell.

    Two data sets more than coefficients that only they can tell are the least: with one more the spread between data
    sets would be read off a single difference.

    Args:
        x: Design, ``(n, p)``.
        y: Log loss, ``(n,)``.
        groups: Data set of every run, 0 … G − 1.
        names: Columns of the design.

    Returns:
        How many coefficients only data sets can tell: those that are constant within each, and that of K_F, which
        several class pairs of one data set may differ in.

    Raises:
        NotIdentified: Too few data sets; no change in (log N)/d, K_F or the loss; columns that follow from others; or a
            coefficient that one data set alone tells: it fits that data set whatever it is.
    """
    moves = np.abs(centred(x, groups)).max(axis=0) > ROUNDING * np.abs(x).max(axis=0)
    between = [name for name, within in zip(names, moves, strict=True) if not (within and _is_of_runs(name))]
    n, n_sets, needed = len(y), int(groups.max()) + 1, len(between) + 2
    if n_sets < needed:
        fewer = ", or one less with several training sizes" if SIZE in between else ""
        raise NotIdentified(
            f"{_number(n, 'run')} of {_number(n_sets, 'data set')} cannot tell apart {len(between)} coefficients that "
            f"only data sets can tell ({', '.join(between)}): it takes {needed} data sets or more, of different d and "
            f"K_F{fewer}"
        )
    for values, found in (
        (x[:, names.index(SIZE)], "N and d are the same in all {} runs: train on other numbers of images"),
        (x[:, names.index(SHARPNESS)], "K_F is the same in all {} runs: add data sets with another K_F"),
        (y, "the loss is the same in all {} runs: there is nothing to explain; look whether anything was learned"),
    ):
        if np.ptp(values) <= ROUNDING * np.abs(values).max():
            raise NotIdentified(found.format(n))
    basis, triangle = np.linalg.qr(x / np.linalg.norm(x, axis=0))
    _, singular, directions = np.linalg.svd(triangle)
    bad = _named(directions[(singular > ROUNDING * singular[0]).sum() :], names)
    if bad:
        raise NotIdentified(
            f"{bad} cannot be told apart: in all {n} runs one follows from the others; add runs in which it does not"
        )
    for group in range(n_sets):
        own = basis[groups == group]
        squares, turned = np.linalg.eigh(own.T @ own)
        bad = _named(np.linalg.solve(triangle, turned[:, squares > 1 - ROUNDING]).T, names)
        if bad:
            raise NotIdentified(f"{bad} can be told from one data set alone: add others that differ in it")
    return len(between)


def _named(directions: Array, names: Sequence[str]) -> str:
    """The columns that directions in the space of coefficients go along."""
    along = np.abs(directions).max(axis=0, initial=0)
    return ", ".join(name for name, part in zip(names, along, strict=True) if part > 1e-6 * along.max())


def _is_of_runs(name: str) -> bool:
    return name == SIZE or name.startswith(BACKBONE)


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def centred(x: Array, groups: NDArray[np.int64]) -> Array:
    """Columns less their means over groups, ``(n, k)``."""
    centred: Array = x - group_means(x, groups)[groups]
    return centred
