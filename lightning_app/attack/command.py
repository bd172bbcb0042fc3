"""`lightning attack`: how robust a saved network is, on its own images or on others."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal

from callbacks import AdversarialRobustness, AttackPanels
from callbacks.minimal_radius import MinimalRadius
from lightning_app.attack.evaluation import evaluate, n_attacked, probes_of
from lightning_app.attack.images import Target, read_target
from lightning_app.attack.options import changes_of, parser
from lightning_app.attack.result import Result, as_json, show_result
from lightning_app.attack.saved import Saved, read_saved
from lightning_app.output import check_place, write_output
from lightning_app.quiet import silence_libraries
from lightning_app.stages import Stages
from metrics import InputError

_JSON = "attack.json"  # in the folder


def run_attack(argv: Sequence[str]) -> None:
    """Run `lightning attack` with the command line that follows the word.

    Raises:
        InputError: The user's mistake.
    """
    silence_libraries()
    given, rest = parser().parse_known_args(argv)
    if given.json:
        check_place(given.json)
    if given.out and os.path.exists(given.out) and not os.path.isdir(given.out):
        raise InputError(f"--out {given.out} is a file: name a folder")
    saved = read_saved(given.ckpt)
    changes = changes_of(given, "attacks", "eps", "norm", "steps", "restarts", "n_images")
    probes = probes_of(saved, AdversarialRobustness, changes, {})
    radii = _radii(given, saved, probes[0]) if given.radius else []
    with Stages() as stages:
        target = read_target(given, rest, saved, stages.begin("reading"))
        drawn = next((probe for probe in probes if probe.attacks and probe.eps), None)
        figures = [_panels(drawn, target, given.out)] if given.out and drawn else []
        for probe in (*probes, *radii):
            n_attacked(probe, target)
        if not sys.stderr.isatty():
            print(_announced(probes, target), file=sys.stderr)
        readings = evaluate(saved, target, [*probes, *radii, *figures], stages.begin("attacking"))
    result = Result(saved, target, probes, radii, readings)
    text = json.dumps(as_json(result), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    files = [("JSON", given.json)] if given.json else []
    if given.out:
        files += [("figures", given.out), ("JSON", os.path.join(given.out, _JSON))]
    for what, file in files:
        if what == "JSON":
            write_output(file, text)
    show_result(result, files)


def _radii(given: argparse.Namespace, saved: Saved, like: AdversarialRobustness) -> list[MinimalRadius]:
    """What looks for the minimal radius: as in the run, or else with the settings of the attacks."""
    changes = changes_of(given, "norm", "steps", "restarts", "n_images")
    chosen = {"attack": _searchable(like)}
    if given.attacks:
        changes |= chosen
    default: dict[str, Any] = {name: getattr(like, name) for name in ("n_images", "seed", "batch_size", "precision")}
    for attack in like.attacks[:1]:
        default |= chosen | {"norm": attack.norm, "steps": attack.steps, "restarts": attack.restarts}
    return probes_of(saved, MinimalRadius, changes, default)


def _searchable(probe: AdversarialRobustness) -> Literal["fgsm", "pgd"]:
    """The strongest of its attacks that takes no minutes."""
    return "fgsm" if all(attack.name == "fgsm" for attack in probe.attacks) else "pgd"


def _announced(probes: Sequence[AdversarialRobustness], target: Target) -> str:
    """What is about to be done, in one line."""
    parts = []
    for probe in probes:
        attacks = ", ".join(attack.label for attack in probe.attacks)
        radii = ", ".join(f"{eps:g}" for eps in probe.eps)
        parts.append(f"{n_attacked(probe, target):,} images: {attacks} at ε = {radii}")
    return f"attacking {target.name}, {'; '.join(parts)}"


def _panels(probe: AdversarialRobustness, target: Target, folder: str) -> AttackPanels:
    """The figures; images are attacked at the largest ε."""
    attack = probe.attacks[0]  # they differ in their names only
    return AttackPanels(
        _searchable(probe),
        max(probe.eps),
        norm=attack.norm,
        steps=attack.steps,
        step_size=attack.step_size,
        restarts=attack.restarts,
        seed=probe.seed,
        batch_size=probe.batch_size,
        precision=probe.precision,
        folder=folder,
        part=target.part,
    )
