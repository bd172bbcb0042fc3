"""What `lightning attack` found, as a table and as JSON."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from callbacks import AdversarialRobustness
from callbacks.attack_probe import AttackProbe
from callbacks.minimal_radius import MinimalRadius
from callbacks.probe import Readings
from lightning_app.attack.evaluation import n_attacked
from lightning_app.attack.images import Target
from lightning_app.attack.saved import Saved
from lightning_app.plain import number, printable
from metrics import Attack

_COLUMNS = {"accuracy": "acc", "of those right": "acc_of_correct", "loss": "loss", "loss increase": "loss_increase"}
_MEANINGS = {
    "robust/radius": "median, in grey levels of 255",
    "robust/radius_mean": "mean",
    "robust/radius_q25": "of a quarter of the images at most",
    "robust/radius_q75": "of three quarters",
    "robust/unfooled": "share of the images that nothing fooled",
    "robust/radius_certified": "median; within it nothing fools the network",
    "robust/radius_K_F": "255 / (2 K_F) of these images",
}
_MOST_DIGITS = 5  # after the point
_NORMS = {"linf": "L∞", "l2": "L2"}


@dataclass(frozen=True, eq=False)
class Result:
    """What was found.

    Attributes:
        saved: The network.
        target: The images.
        probes: What has attacked them.
        radii: What has looked for the smallest ε that fools the network.
        readings: Every number, by logged name.
    """

    saved: Saved
    target: Target
    probes: Sequence[AdversarialRobustness]
    radii: Sequence[MinimalRadius]
    readings: Readings


def show_result(result: Result, files: Iterable[tuple[str, str]]) -> None:
    """Print a table for every probe, and where to look next.

    Args:
        result: What was found.
        files: Pairs of what, and the path.
    """
    console = Console(highlight=False, emoji=False)
    for probe in result.probes:
        console.print()
        console.print(_table(result, probe))
    for finder in result.radii:
        console.print(_radii(result, finder))
    for note in result.target.notes:
        console.print(f"note: {_literal(note)}", soft_wrap=True)
    for what, file in [("checkpoint", str(result.saved.checkpoint)), *files]:
        console.print(f"{what:<11}{_literal(os.path.relpath(file))}", soft_wrap=True)


def as_json(result: Result) -> dict[str, Any]:
    """Everything that was found.

    Returns:
        What was attacked and how, and every number under the name that a run's record has for it. A number that is not
        finite is null, and its name is listed in ``not_finite``.
    """
    saved, target = result.saved, result.target
    channels, height, width = saved.input_shape
    numbers = sorted(result.readings.items())
    return {
        "checkpoint": str(saved.checkpoint),
        "config": None if saved.file is None else str(saved.file),
        "backbone": saved.model.backbone.name,
        "data": target.name,
        "split": target.part,
        "n_available": len(target.images),
        "classes": list(target.class_names),
        "channels": channels,
        "height": height,
        "width": width,
        "attacks": [
            _attack(attack) | {"eps": list(probe.eps), "step_size": attack.step} | _settings(probe, target)
            for probe in result.probes
            for attack in probe.attacks
        ],
        "radii": [_attack(finder.attack) | _settings(finder, target) for finder in result.radii],
        **{name: value if math.isfinite(value) else None for name, value in numbers},
        "not_finite": [name for name, value in numbers if not math.isfinite(value)],
        "notes": list(target.notes),
        "version": version("intrinsic-scaling"),
    }


def _attack(attack: Attack) -> dict[str, Any]:
    return {"attack": attack.name, "norm": attack.norm, "steps": attack.steps, "restarts": attack.restarts}


def _settings(probe: AttackProbe, target: Target) -> dict[str, Any]:
    return {"n_images": n_attacked(probe, target), "seed": probe.seed, "precision": probe.precision}


def _table(result: Result, probe: AdversarialRobustness) -> Table:
    title = f"{result.saved.model.backbone.name} on {result.target.name} · {_size(result, probe, probe.attacks)}"
    table = Table(title=_literal(title), **_LOOK)
    table.add_column("attack", no_wrap=True)
    table.add_column("ε", justify="right", no_wrap=True)
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for attack, eps, name in _rows(probe):
        cells = (_with_error(probe.readings, f"robust/{name}/{what}") for what in _COLUMNS.values())
        table.add_row(attack, eps, *cells)
    return table


def _rows(probe: AdversarialRobustness) -> Iterator[tuple[str, str, str]]:
    yield "none", "0", "clean"
    for attack in probe.attacks:
        for eps in sorted(set(probe.eps)):
            yield attack.name, f"{eps:g}", f"{attack.label}_{eps:g}"


def _radii(result: Result, probe: MinimalRadius) -> Table:
    table = Table(title=f"smallest ε that fools the network · {_size(result, probe, [probe.attack])}", **_LOOK)
    table.add_column("", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("", style="dim")
    for name in probe.readings:
        if not name.endswith("_stderr"):
            meaning = _MEANINGS.get(name.replace(f"_{probe.attack.norm}", ""), "")
            table.add_row(name.removeprefix("robust/"), _with_error(probe.readings, name), meaning)
    return table


def _size(result: Result, probe: AttackProbe, attacks: Iterable[Attack]) -> str:
    """How many images were attacked, and in which norm."""
    target, n = result.target, n_attacked(probe, result.target)
    of = "" if n == len(target.images) else f" of {len(target.images):,}"
    part = "" if target.part == "all" else f"{target.part} "
    norms = "".join(f" · {norm}" for norm in dict.fromkeys(_NORMS[attack.norm] for attack in attacks))
    return f"{n:,}{of} {part}images{norms}"


def _with_error(readings: Readings, name: str) -> str:
    """A number to the second digit of its standard error; blank where it was not measured."""
    value, error = readings.get(name), readings.get(f"{name}_stderr")
    if value is None or error is None:
        return "" if value is None else number(value)
    if not 0 < error < math.inf or not math.isfinite(value):
        return f"{number(value)} ± {number(error)}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > _MOST_DIGITS:
        return f"{value:.2g} ± {error:.2g}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _literal(text: str) -> str:
    """Names may hold what the terminal would take for markup."""
    return escape(printable(text))


_LOOK: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
