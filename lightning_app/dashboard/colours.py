"""Colours of runs: the hue says the domain, the shade the data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_app.figures import COLOURS

_DOMAINS = ("natural", "medical")
_PALEST = 0.65  # part of white


def run_colours(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A colour for every run whose configuration names its domain and data set.

    Args:
        configs: What the runs logged as their configuration, by W&B id.

    Returns:
        Colours as ``#rrggbb``, by W&B id.

    Example:
        >>> run_colours({"a": {"domain": "natural", "data_set": "MNIST"}, "b": {}})
        {'a': '#0072b2'}
    """
    colours: dict[str, str] = {}
    for hue, domain in zip(COLOURS, _DOMAINS, strict=False):
        data_sets = {run: str(config["data_set"]) for run, config in configs.items() if config.get("domain") == domain}
        shades = _shades(hue, sorted(set(data_sets.values())))
        colours |= {run: shades[name] for run, name in data_sets.items()}
    return colours


def _shades(hue: str, names: Sequence[str]) -> dict[str, str]:
    """From the hue itself to a pale one."""
    steps = max(len(names) - 1, 1)
    return {name: _paled(hue, _PALEST * i / steps) for i, name in enumerate(names)}


def _paled(colour: str, white: float) -> str:
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + white * (255 - part)):02x}" for part in parts)
