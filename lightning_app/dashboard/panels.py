"""What the dashboard shows: sections named in plain words, and what each panel plots against what, with units."""

from collections.abc import Sequence

import wandb_workspaces.reports.v2.interface as wr
import wandb_workspaces.workspaces as ws

EPOCH = "epoch"
MOST = 50
"""Lines or bars in a panel: W&B draws ten lines if it is not told."""

_D = "dimensions"
_K_F = "1 / distance, pixels in [0, 1]"
_LOSS = "cross-entropy, nats"
_N = wr.Config("n_train")
_ATTACKS = {"fgsm": "FGSM", "pgd": "PGD"}


def sections(attack: str) -> list[ws.Section]:
    """Every section of the dashboard.

    Args:
        attack: The attack that is plotted against K_F, as in logged names: ``fgsm_2``.
    """
    return [
        _section("How well networks generalise", _generalisation()),
        _section("Training, epoch by epoch", _training()),
        _section("The data: intrinsic dimension and label sharpness", _data()),
        _section("What networks make of the data: dimension of the representation", _representation()),
        _section("How easily networks are fooled (ε in grey levels of 255)", _robustness(attack)),
        _section("What it costs", _cost()),
    ]


def _generalisation() -> list[wr.PanelTypes]:
    loss, over = "test/loss", f"test loss ({_LOSS}) over"
    return [
        _scatter(f"{over} N", _N, loss, log_x=True, log_y=True),
        _scatter(
            f"{over} N, coloured by d_data (MLE, reference sample)",
            _N,
            loss,
            z="data_ref/d_mle",
            log_x=True,
            log_y=True,
        ),
        _scatter(f"{over} d_data (MLE, training images)", "data/d_mle", loss, log_y=True),
        _scatter(f"{over} K_F ({_K_F}), reference sample", "data_ref/K_F", loss, log_x=True, log_y=True),
        _scatter(f"{over} d_repr (MLE)", "repr/d_mle", loss, log_y=True),
        _bars("test accuracy", ["test/acc"], "data_set", "part of the test images"),
    ]


def _training() -> list[wr.PanelTypes]:
    return [
        _curves("training loss", ["train/loss"], _LOSS, log_y=True),
        _curves("validation loss", ["val/loss"], _LOSS, log_y=True),
        _curves("accuracy: training, validation", ["train/acc", "val/acc"], "part of the images"),
    ]


def _data() -> list[wr.PanelTypes]:
    both = "training images, reference sample"
    return [
        _bars(f"d_data (MLE): {both}", ["data/d_mle", "data_ref/d_mle"], "data_set", _D),
        _bars(f"d_data (TwoNN): {both}", ["data/d_twonn", "data_ref/d_twonn"], "data_set", _D),
        _bars(f"K_F: {both}", ["data/K_F", "data_ref/K_F"], "data_set", _K_F),
        _scatter("d_data (MLE) of the training images over N", _N, "data/d_mle", log_x=True),
        _scatter(f"K_F ({_K_F}) of the training images over N", _N, "data/K_F", log_x=True, log_y=True),
        _scatter("K_F over d_data (MLE), reference sample", "data_ref/d_mle", "data_ref/K_F", log_y=True),
    ]


def _representation() -> list[wr.PanelTypes]:
    return [
        _curves("d_repr, penultimate layer: MLE, TwoNN", ["repr/d_mle", "repr/d_twonn"], _D),
        _curves("d_repr (MLE) of every layer that is measured", r"^repr/([^/]+/)?d_mle$", _D),
        _scatter("d_repr over d_data (MLE, training images)", "data/d_mle", "repr/d_mle"),
    ]


def _robustness(attack: str) -> list[wr.PanelTypes]:
    name, eps = attack.split("_")
    after = f"loss increase ({_LOSS}), {_ATTACKS[name]} at {eps}/255"
    return [
        *(
            _curves(
                f"accuracy, unattacked and under {title}", rf"^robust/(clean|{name}_[^/]+)/acc$", "part of the images"
            )
            for name, title in _ATTACKS.items()
        ),
        *(
            _curves(f"loss increase under {title}", rf"^robust/{name}_[^/]+/loss_increase$", _LOSS)
            for name, title in _ATTACKS.items()
        ),
        _scatter(f"{after}, over K_F ({_K_F})", "data/K_F", f"robust/{attack}/loss_increase", log_x=True),
    ]


def _cost() -> list[wr.PanelTypes]:
    return [
        _bars("seconds per run", ["seconds"], "backbone", "seconds"),
        _scatter("seconds per run over N", _N, "seconds"),
    ]


def _section(name: str, panels: Sequence[wr.PanelTypes]) -> ws.Section:
    return ws.Section(
        name=name,
        panels=list(panels),
        is_open=True,
        layout_settings=ws.SectionLayoutSettings(columns=3, rows=-(-len(panels) // 3)),
        panel_settings=ws.SectionPanelSettings(x_axis=EPOCH),
    )


def _curves(title: str, numbers: Sequence[str] | str, unit: str, *, log_y: bool = False) -> wr.LinePlot:
    """Over epochs: mean and range of every data set's runs. ``numbers`` are names, or a pattern of names."""
    return wr.LinePlot(
        title=title,
        x=EPOCH,
        y=[] if isinstance(numbers, str) else list(numbers),
        metric_regex=numbers if isinstance(numbers, str) else None,
        title_x=EPOCH,
        title_y=unit,
        log_y=log_y,
        groupby=wr.Config("data_set"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _scatter(
    title: str, x: str | wr.Config, y: str, *, z: str | None = None, log_x: bool = False, log_y: bool = False
) -> wr.ScatterPlot:
    """One point per run: numbers of its summary, or of its configuration."""
    return wr.ScatterPlot(
        title=title,
        x=wr.SummaryMetric(x) if isinstance(x, str) else x,
        y=wr.SummaryMetric(y),
        z=wr.SummaryMetric(z) if z else None,
        log_x=log_x,
        log_y=log_y,
    )


def _bars(title: str, numbers: Sequence[str], by: str, unit: str) -> wr.BarPlot:
    """One bar per group of runs: their mean and range."""
    return wr.BarPlot(
        title=title,
        metrics=list(numbers),
        title_x=unit,
        groupby=wr.Config(by),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_bars_to_show=MOST,
    )
