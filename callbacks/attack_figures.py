"""Figures of attacks as PNG: accuracy over ε, and attacked images beside what they were made from."""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from torch import Tensor

from metrics import Attack, Norm

_ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "auto": "AutoAttack"}
_NORMS: dict[Norm, str] = {"linf": "L∞", "l2": "L2"}
_LOOKS: tuple[tuple[str, str, str], ...] = (  # Okabe and Ito's colours; told apart without them too
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", ":"),
    ("#CC79A7", "D", "-."),
)
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # the font that matplotlib ships: the same figure everywhere
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_DOTS = 150  # per inch
_MOST_LETTERS = 18  # of the name of a class
_DECADES = 1.6  # that strengths span before their axis is logarithmic
_TICKS = 9


@dataclass(frozen=True)
class Curve:
    """Accuracy under one attack.

    Attributes:
        attack: The attack.
        accuracy: By ε in grey levels of 255, with its standard error; at 0, of the images as they are.
    """

    attack: Attack
    accuracy: Mapping[float, tuple[float, float]]


@dataclass(frozen=True)
class Example:
    """An image, and what an attack made of it.

    Attributes:
        label: Its class.
        clean: ``(C, H, W)`` in [0, 1].
        attacked: The same, attacked.
        before: Probability of every class, unattacked, ``(classes,)``.
        after: The same, attacked.
    """

    label: int
    clean: Tensor
    attacked: Tensor
    before: Tensor
    after: Tensor


def draw_curves(curves: Sequence[Curve], title: str) -> bytes:
    """Accuracy over ε with standard errors, as PNG; one plot for each norm.

    Args:
        curves: At least one.
        title: What was attacked.
    """
    norms = [norm for norm in _NORMS if any(curve.attack.norm == norm for curve in curves)]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(0.8 + 4.4 * len(norms), 3.6), layout="constrained")
        for axes, norm in zip(figure.subplots(1, len(norms), sharey=True, squeeze=False)[0], norms, strict=True):
            _draw_norm(axes, [curve for curve in curves if curve.attack.norm == norm])
        figure.axes[0].set_ylabel("accuracy (± standard error)")
        figure.suptitle(_plain(title), fontsize=10)
        return _png(figure)


def draw_examples(examples: Sequence[Example], attack: Attack, eps: float, names: Sequence[str], title: str) -> bytes:
    """Every example in a row as PNG: the image, what was added to it, and the sum, with what the network says.

    What was added is shown around grey, multiplied by one factor for all examples, which is named.

    Args:
        examples: At least one.
        attack: The attack.
        eps: Its radius in grey levels of 255.
        names: What each class is called.
        title: What was attacked.
    """
    largest = max(float((example.attacked - example.clean).abs().max()) for example in examples)
    factor = _round_down(0.5 / largest) if largest else 1.0
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.6, 0.8 + 2.25 * len(examples)), layout="constrained")
        grid = figure.subplots(len(examples), 3, squeeze=False)
        for heading, axes in zip(("as it is", f"what was added, × {factor:g}", "attacked"), grid[0], strict=True):
            axes.set_title(heading, fontsize=10)
        for row, example in zip(grid, examples, strict=True):
            change = example.attacked - example.clean
            for axes, image in zip(row, (example.clean, 0.5 + factor * change, example.attacked), strict=True):
                _show(axes, image)
            row[0].set_ylabel(_name(names, example.label), fontsize=9)
            _say(row[0], example.before, example.label, names)
            _say(row[2], example.after, example.label, names)
            sizes = 255 * float(change.abs().max()), 255 * float(change.norm())
            row[1].set_xlabel(f"L∞ {sizes[0]:.3g}, L2 {sizes[1]:.3g}", fontsize=9)
        strength = f"{_ATTACKS[attack.name]}, ε = {eps:g}/255 ({_NORMS[attack.norm]})"
        figure.suptitle(f"{_plain(title)}\n{strength}; sizes in grey levels of 255", fontsize=10)
        return _png(figure)


def _draw_norm(axes: Axes, curves: Sequence[Curve]) -> None:
    known = list(_ATTACKS)
    for i, curve in enumerate(curves):
        several = len({other.attack for other in curves}) > len({other.attack.name for other in curves})
        colour, marker, line = _LOOKS[(i if several else known.index(curve.attack.name)) % len(_LOOKS)]
        strengths = sorted(curve.accuracy)
        axes.errorbar(
            strengths,
            [curve.accuracy[eps][0] for eps in strengths],
            yerr=[curve.accuracy[eps][1] for eps in strengths],
            color=colour, marker=marker, ls=line, ms=6, mec="white", capsize=2.5, elinewidth=1,
            label=_label(curve.attack, several=several), clip_on=False, zorder=3,
        )  # fmt: skip
    values = sorted({eps for curve in curves for eps in curve.accuracy if eps})
    wide = math.log10(values[-1] / values[0]) > _DECADES
    if wide:
        axes.set_xscale("symlog", linthresh=values[0], linscale=0.5)
    axes.set_xlim(0, values[-1] * (1.15 if wide else 1.03))
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_locator(FixedLocator([0.0, *_some(values, logarithmic=wide)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"ε in grey levels of 255, {_NORMS[curves[0].attack.norm]}")
    axes.legend(fontsize=9)


def _some(values: Sequence[float], *, logarithmic: bool) -> list[float]:
    """Those of the strengths that can be marked without their numbers touching each other."""
    place = (lambda value: math.log(value / values[0]) + 1) if logarithmic else (lambda value: value)
    apart = place(values[-1]) / _TICKS
    kept: list[float] = []
    for value in reversed(values):
        if place(value) >= apart and (not kept or place(kept[-1]) - place(value) >= apart):
            kept.append(value)
    return kept[::-1]


def _label(attack: Attack, *, several: bool) -> str:
    name = _ATTACKS[attack.name]
    if attack.name == "fgsm" or not several:
        return name
    starts = f", {attack.restarts} starts" if attack.restarts > 1 else ""
    return f"{name}, {attack.steps} steps{starts}"


def _show(axes: Axes, image: Tensor) -> None:
    if len(image) not in (1, 3):
        image = image.mean(dim=0, keepdim=True)
    pixels = image.clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(pixels[..., 0] if len(image) == 1 else pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _say(axes: Axes, probabilities: Tensor, label: int, names: Sequence[str]) -> None:
    """What the network says, and whether that is right."""
    said = int(torch.argmax(probabilities))
    right = said == label
    axes.set_xlabel(
        f"{'✓' if right else '✗'} {_name(names, said)}, {_percent(float(probabilities[said]))}",
        fontsize=9,
        color="black" if right else "#B04000",
        fontweight="normal" if right else "bold",
    )


def _percent(part: float) -> str:
    """Never more certain than it is."""
    return "> 99.9 %" if 0.999 < part < 1 else f"{100 * part:.3g} %"


def _round_down(factor: float) -> float:
    """Two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(factor)) - 1)
    return math.floor(factor / unit * (1 + 1e-4)) * unit  # of float32


def _name(names: Sequence[str], label: int) -> str:
    name = names[label]
    return _plain(name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 1] + "…")


def _plain(text: str) -> str:
    """Text on one line, in which matplotlib looks for no formulas."""
    return re.sub(r"\s+", " ", text).replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Names in a script that the font lacks: boxes in their place, and nothing that the user could mend.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="png", dpi=_DOTS, metadata={"Software": None})
    return file.getvalue()
