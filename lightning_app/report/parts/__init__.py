"""The parts of the report, one module each."""

from collections.abc import Callable

from lightning_app.report.context import Context
from lightning_app.report.part import Part
from lightning_app.report.parts import (
    data_sets,
    dimension,
    joint,
    missing,
    representation,
    robustness,
    sizes,
    training,
)

_PARTS = {
    "data sets": data_sets.make,
    "loss over dimension": dimension.make,
    "loss over N": sizes.make,
    "robustness": robustness.make,
    "representations": representation.make,
    "epochs and depth": training.make,
    "joint fit": joint.make,
}


def make_parts(context: Context, begin: Callable[[str], object] = lambda what: None) -> list[Part]:
    """Every part of the report, in order.

    Args:
        context: What they are made from.
        begin: Is told which part is being made.
    """
    parts = []
    for what, make in _PARTS.items():
        begin(what)
        parts.append(make(context))
    return [*parts, missing.make(context, parts)]
