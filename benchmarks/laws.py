"""How often intervals, tests and forecasts of the joint law are right, where the truth is known.

    python benchmarks/laws.py intervals    coverage of the 95 % intervals of b and c by five methods, about five minutes
    python benchmarks/laws.py tests        how often tests reject a true c = 0, about three minutes
    python benchmarks/laws.py attenuation  what an error of K_F does to c, and what the correction does
    python benchmarks/laws.py forecasts    coverage of forecasts for a data set that the fit has not seen, with what the
                                           calibration widens them by, and after own runs; about twenty minutes

Every row is 1,000 draws of a whole grid with the paper's data sets, six backbones and six sizes, from a known law with
random data-set effects (tests/lightning_app/analysis/drawn_records.py). Prints Markdown tables, as docs/method.md shows
them. Every number follows from the seeds; nothing is timed. Uses all cores.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process per core is enough
# Python looks for modules beside the script first, where metrics.py would hide the package of its name.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for tests, which are not installed

import numpy as np
import statsmodels.api as sm
from numpy.typing import ArrayLike

from lightning_app.analysis.agreement import CONTRADICTED
from lightning_app.analysis.calibration import calibrate
from lightning_app.analysis.coefficients import FIXED_EFFECTS, KENWARD_ROGER
from lightning_app.analysis.design import SHARPNESS, SIZE
from lightning_app.analysis.forecasting import forecast
from lightning_app.analysis.law import ScalingLaw, fit_scaling_law
from lightning_app.analysis.likelihood_ratio import bootstrap_test
from lightning_app.analysis.points import design_of
from tests.lightning_app.analysis.drawn_records import PAPER, Truth, drawn_records

_PAPER, _SEVEN = dict(PAPER), {name: given for name, given in PAPER.items() if given[0] == "radiology"}
_GRIDS = {
    "11 data sets": (Truth(), _PAPER),
    "11 data sets, slopes differ": (Truth(slope=0.3), _PAPER),
    "7 data sets": (Truth(), _SEVEN),
}
_FORECAST = _GRIDS | {"11 data sets, slopes differ more": (Truth(slope=1.0), _PAPER)}
_OWN = 3  # own runs, at the smallest size
_ERRORS = (0.0, 0.1, 0.25)
_OURS = "CR2, Bell–McCaffrey"
_METHODS = ("least squares", "cluster-robust, normal", _OURS, KENWARD_ROGER, FIXED_EFFECTS)
_BOOTSTRAP = 399  # draws of each test
_NORMAL = 1.959964

Grid = tuple[Truth, dict[str, tuple[str, float, float]]]
Ends = tuple[float, float]
Draw = Callable[[Callable[[int], Any]], list[Any]]
"""Does something with the seed of every draw."""


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables: dict[str, Callable[[Draw], Iterator[str]]]
    tables = {"intervals": intervals, "tests": tests, "attenuation": attenuation, "forecasts": forecasts}
    parser.add_argument("what", choices=tables)
    parser.add_argument("--draws", type=int, default=1000, help="draws per row (default: 1000)")
    given = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        for line in tables[given.what](lambda task: list(pool.map(task, range(given.draws), chunksize=10))):
            print(line, flush=True)


def intervals(draw: Draw) -> Iterator[str]:
    """How often the true b and c lie inside their intervals, and how wide ours are."""
    yield f"| grid | coefficient | {' | '.join(_METHODS)} | median width of {_OURS} |"
    yield "|---" * (len(_METHODS) + 3) + "|"
    for name, grid in _GRIDS.items():
        found = draw(partial(_intervals, grid))
        for coefficient, truth in ((SIZE, grid[0].b), (SHARPNESS, grid[0].c)):
            cells = []
            for method in _METHODS:
                ends = [one[coefficient, method] for one in found if (coefficient, method) in one]
                cells.append(_share([low <= truth <= high for low, high in ends]) if ends else "–")
            width = np.median([np.ptp(one[coefficient, _OURS]) for one in found])
            yield f"| {name} | {coefficient} | {' | '.join(cells)} | {width:.2f} |"


def _intervals(grid: Grid, seed: int) -> dict[tuple[str, str], Ends]:
    """Ends of the intervals by coefficient and method."""
    law = _fitted(grid, seed)
    x, y = design_of(law.records, law.domains, law.backbones), np.log(law.records["loss"])
    plain = sm.OLS(y.to_numpy(), x)
    robust = plain.fit(cov_type="cluster", cov_kwds={"groups": law.records["data"].factorize()[0]})
    found: dict[tuple[str, str], Ends] = {}
    for name in (SIZE, SHARPNESS):
        i, own = law.names.index(name), law.coefficient(name)
        by_method = {
            _METHODS[0]: plain.fit().conf_int()[i],
            _METHODS[1]: robust.conf_int()[i],
            _OURS: (own.low, own.high),
        }
        found |= {(name, method): (low, high) for method, (low, high) in (by_method | own.others).items()}
    return found


def tests(draw: Draw) -> Iterator[str]:
    """How often c = 0 is rejected at 5 % although it is true."""
    yield f"| grid, c = 0 | χ² | bootstrap ({_BOOTSTRAP} draws) | {_OURS} |\n|---|---|---|---|"
    for name, (truth, data_sets) in _GRIDS.items():
        grid = Truth(c=0.0, slope=truth.slope), data_sets
        rejected = np.array(draw(partial(_tests, grid))) <= 0.05
        yield f"| {name} | {' | '.join(_share(column) for column in rejected.T)} |"


def _tests(grid: Grid, seed: int) -> tuple[float, float, float]:
    """The p-values of c = 0."""
    law = _fitted(grid, seed)
    x, y = design_of(law.records, law.domains, law.backbones), np.log(law.records["loss"].to_numpy())
    groups = law.records["data"].factorize()[0]
    found = bootstrap_test(x, y, groups, law.names, [SHARPNESS], draws=_BOOTSTRAP, seed=seed)
    return found.p_chi2, found.p, law.coefficient(SHARPNESS).p


def attenuation(draw: Draw) -> Iterator[str]:
    """What c = 1 becomes when K_F is known with an error, and when that is corrected."""
    yield (
        "| relative error of K_F | mean c | coverage | mean reliability | corrected in | median corrected c | "
        f"coverage |\n{'|---' * 7}|"
    )
    for error in _ERRORS:
        c, low, high, reliability, *corrected = np.array(
            draw(partial(_corrected, (Truth(sharpness_error=error), _PAPER)))
        ).T
        known = np.isfinite(corrected[0])
        middle, below, above = (column[known] for column in corrected)
        yield (
            f"| {100 * error:.0f} % | {c.mean():.2f} | {_share((low <= 1) & (high >= 1))} | {reliability.mean():.2f} | "
            f"{_share(known)} | {np.median(middle):.2f} | {_share((below <= 1) & (above >= 1))} |"
        )


def _corrected(grid: Grid, seed: int) -> list[float]:
    law = _fitted(grid, seed)
    c = law.coefficient(SHARPNESS)
    return [c.value, c.low, c.high, law.reliability or 0.0, *(law.corrected or (np.nan,) * 3)]


def forecasts(draw: Draw) -> Iterator[str]:
    """How often the loss of a run on a new data set lies inside its 95 % interval."""
    yield (
        "| grid | b over data sets | normal | t, data sets − coefficients | widened by calibration | widened, mean | "
        f"after {_OWN} own runs | contradicted by them |\n{'|---' * 8}|"
    )
    for name, grid in _FORECAST.items():
        normal, t, calibrated, widen, updated, contradicted = np.array(draw(partial(_forecasts, grid))).T
        yield (
            f"| {name} | {grid[0].b:g} ± {grid[0].slope:g} | {_share(normal)} | {_share(t)} | {_share(calibrated)} | "
            f"{widen.mean():.2f} | {_share(updated)} | {_share(contradicted)} |"
        )


def _forecasts(grid: Grid, seed: int) -> tuple[bool, bool, bool, float, bool, bool]:
    """Which intervals hold a run of the new data set, by what they are widened, and whether its own runs contradict."""
    law = _fitted(grid, seed)
    rng = np.random.default_rng([seed, 1])
    d, k_f = (float(np.exp(rng.uniform(*np.log(law.ranges[name])))) for name in ("d", "K_F"))
    domain = str(rng.choice(law.domains))
    new = drawn_records(
        seed + 10**6,
        grid[0],
        {"new": (domain, d, k_f / 255e-4)},
        backbones={"resnet18": 0.0},
        sizes=[1000] + [500] * _OWN,
    )
    loss = float(new["test/loss"].iloc[0])
    ask = partial(forecast, law, d_data=d, k_f=k_f, n=1000, domain=domain, backbone="resnet18")
    found, widen, updated = ask(), calibrate(law).widen, ask(runs=new[1:].drop(columns="run_id"))
    assert updated.agreement is not None
    return (
        abs(np.log(loss / found.value)) <= _NORMAL * found.stderr,
        found.low <= loss <= found.high,
        abs(np.log(loss / found.value)) <= widen * np.log(found.high / found.value),
        widen,
        updated.low <= loss <= updated.high,
        updated.agreement.p < CONTRADICTED,
    )


def _fitted(grid: Grid, seed: int) -> ScalingLaw:
    truth, data_sets = grid
    return fit_scaling_law(drawn_records(seed, truth, data_sets), compare=False)


def _share(inside: ArrayLike) -> str:
    return f"{100 * np.mean(np.asarray(inside)):.1f} %"


if __name__ == "__main__":
    main()
