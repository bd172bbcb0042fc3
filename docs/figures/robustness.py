"""Draws the figure of docs/robustness-controlled.md and prints its table: python docs/figures/robustness.py [RUNS].

RUNS is the folder of a sweep, runs/margin; its records then take the place of those in the CSV file beside this script.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy.fft import idctn
from scipy.stats import linregress

from datamodules import Manifold
from lightning_app.figures import COLOURS, MARKERS, drawn

PLACE = Path(__file__).parent
TABLE, FIGURE = PLACE / "robustness-controlled.csv", PLACE / "robustness-controlled.png"

DIALS = {
    "margin": "margin m",
    "label_noise": "share of wrong labels",
    "weight_decay": "weight decay",
    "eps": "ε of adversarial training",
}
BASE = {"margin": 0.4, "label_noise": 0.0, "weight_decay": 1e-4, "eps": 0.0}
NUMBERS = [
    *("data/K_F", "data/d_mle", "data_ref/K_F", "train/loss", "train/acc", "test/loss", "test/acc"),
    *(f"robust/{radius}{of}" for radius in ("radius", "radius_l2") for of in ("", "_stderr", "_mean", "_mean_stderr")),
    *(f"robust/{attack}_{eps}/acc" for attack in ("fgsm", "pgd") for eps in (2, 4, 8)),
]
ROWS = [
    ("data/K_F", "K_F"),
    ("test/loss", "test loss"),
    ("robust/radius_l2", "minimal radius, L2"),
    ("robust/radius", "minimal radius, L∞"),
]


def read(folder: Path) -> pd.DataFrame:
    """One row per finished run: what was varied, and what was measured."""
    rows = []
    for file in sorted(folder.glob("*/result.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        config = yaml.safe_load(file.with_name("config.yaml").read_text(encoding="utf-8"))
        attack = config["model"]["adversarial_training"]
        dials = {
            "margin": config["data"]["init_args"]["margin"],
            "label_noise": config["data"]["init_args"]["label_noise"],
            "weight_decay": config["model"]["optimizer"]["init_args"]["weight_decay"],
            "eps": attack["eps"] if attack["attack"] else 0.0,
        }
        rows.append({"run_id": record["run_id"], "seed": record["seed"], **dials} | {n: record[n] for n in NUMBERS})
    return pd.DataFrame(rows).sort_values([*DIALS, "seed"])


def settings(runs: pd.DataFrame, dial: str) -> Iterator[tuple[float, pd.DataFrame]]:
    """The values of a dial, all others where they are in the base, and the runs of each."""
    others = [name for name in DIALS if name != dial]
    chosen = runs[(runs[others] == pd.Series(BASE)[others]).all(axis=1)]
    yield from ((float(value), group) for value, group in chosen.groupby(dial))  # type: ignore[arg-type]  # a number


def truth(margin: float) -> dict[str, float]:
    """The bound of K_F, and the largest median radii, in grey levels, that a linear rule without errors can have."""
    data = Manifold(dimension=4, margin=margin)
    first = np.zeros((32, 32))
    first[0, 1] = 1  # the lowest frequency: z_1
    middle = 0.5 + margin / 4  # median of |z_1|, which is uniform between margin / 2 and 1
    l2 = data.scale * middle
    return {"K_F": data.max_label_sharpness, "l2": l2, "linf": l2 * float(np.abs(idctn(first, norm="ortho")).max())}


def draw(runs: pd.DataFrame) -> None:
    """One column per dial, one row per quantity; a point per run, a line through their means."""
    with drawn("", "", size=(10.5, 9.5)) as (first, drawing):
        figure: Figure = drawing.figure
        first.remove()
        grid = figure.subplots(len(ROWS), len(DIALS), sharex="col", sharey="row")
        for j, (dial, title) in enumerate(DIALS.items()):
            for i, (name, label) in enumerate(ROWS):
                axes: Axes = grid[i, j]
                _panel(axes, runs, dial, name)
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if name == "test/loss" else (1.0, 2.0, 5.0)))
                axes.yaxis.set_minor_locator(NullLocator())
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                if j == 0:
                    axes.set_ylabel(label + (", grey levels" if "radius" in name else ""))
            grid[-1, j].set_xlabel(title)
        grid[0, 0].legend(fontsize=8)
        grid[2, 0].legend(fontsize=8)
        figure.savefig(FIGURE, dpi=100, metadata={"Software": None})


def _panel(axes: Axes, runs: pd.DataFrame, dial: str, name: str) -> None:
    """One quantity against one dial."""
    found = list(settings(runs, dial))
    values = [value for value, _ in found]
    # Margins by their size, other dials step by step: they begin at zero.
    places = values if dial == "margin" else list(range(len(values)))
    if dial == "margin":
        axes.set_xscale("log")
    axes.set_xticks(places, ["off" if dial == "eps" and not value else f"{value:g}" for value in values])
    axes.minorticks_off()
    colour = COLOURS[list(DIALS).index(dial)]
    axes.plot(places, [group[name].mean() for _, group in found], color=colour, linewidth=1)
    for place, (_, group) in zip(places, found, strict=True):
        for seed, run in group.set_index("seed").iterrows():
            k = int(str(seed))
            aside = place * 1.04 ** (2 * k - 1) if dial == "margin" else place + 0.06 * (2 * k - 1)
            error = run.get(f"{name}_stderr")
            axes.errorbar(aside, run[name], error, color=colour, marker=MARKERS[k], markersize=4, linewidth=0.8)
    lines: dict[str, list[float]] = {}
    true = [truth(value if dial == "margin" else BASE["margin"]) for value in values]
    if name == "data/K_F":
        lines["255 / (scale · m)"] = [of["K_F"] for of in true]
    elif name == "robust/radius_l2":
        lines["of a linear rule, at best"] = [of["l2"] for of in true]
        lines["255 / (2 K_F)"] = [float(255 / (2 * group["data/K_F"].mean())) for _, group in found]
    elif name == "robust/radius":
        lines["of a linear rule, at best"] = [of["linf"] for of in true]
    for style, (label, line) in zip(("--", ":"), lines.items(), strict=False):
        axes.plot(places, line, style, color="#444444", linewidth=1, label=label)


def table(runs: pd.DataFrame) -> str:
    """The means over the runs of each setting, in Markdown."""
    columns = ["d_data", "K_F", "train loss", "test loss", "test acc", "PGD 4 acc", "R, L2", "R, L∞", "2 K_F R / 255"]
    lines = ["| varied | value | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for dial, title in DIALS.items():
        for value, group in settings(runs, dial):
            mean = group[NUMBERS].mean()
            product = (group["robust/radius_l2"] * group["data/K_F"]).mean() / 127.5
            shown = [
                f"{mean['data/d_mle']:.1f}",
                f"{mean['data/K_F']:.2f}",
                f"{mean['train/loss']:.4f}",
                f"{mean['test/loss']:.4f}",
                f"{mean['test/acc']:.3f}",
                f"{mean['robust/pgd_4/acc']:.2f}",
                f"{mean['robust/radius_l2']:.0f} ± {_spread(group, 'robust/radius_l2'):.0f}",
                f"{mean['robust/radius']:.2f} ± {_spread(group, 'robust/radius'):.2f}",
                f"{product:.2f}",
            ]
            name = "off" if dial == "eps" and not value else f"{value:g}"
            lines.append(f"| {title} | {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _spread(group: pd.DataFrame, name: str) -> float:
    """Half the distance of two seeds."""
    return float(group[name].max() - group[name].min()) / 2


def slopes(runs: pd.DataFrame) -> str:
    """Exponents of power laws, where the data are varied and not the training."""
    lines = []
    for dial in ("margin", "label_noise"):
        varied = pd.concat([group for _, group in settings(runs, dial)])
        for name, label in ROWS[1:]:
            fit: Any = linregress(np.log(varied["data/K_F"]), np.log(varied[name]))
            exponent = f"{fit.slope:.2f} ± {fit.stderr:.2f}"
            lines.append(f"{DIALS[dial]}: {label} ~ K_F^({exponent}), r = {fit.rvalue:.2f}, {len(varied)} runs")
    return "\n".join(lines)


def main() -> None:
    """Draw the figure and print the table."""
    if len(sys.argv) > 1:
        read(Path(sys.argv[1])).to_csv(TABLE, index=False, float_format="%.6g", lineterminator="\n")
    runs = pd.read_csv(TABLE)
    draw(runs)
    print(table(runs), slopes(runs), sep="\n\n")


if __name__ == "__main__":
    main()
