"""Scaling laws with error bars: records in, coefficients and forecasts out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_app.analysis.forecasting import Forecast, forecast
    from lightning_app.analysis.frames import load_records
    from lightning_app.analysis.law import NotIdentified, ScalingLaw, fit_scaling_law
    from lightning_app.analysis.law_json import law_from_json, law_to_json

__all__ = [
    "Forecast",
    "NotIdentified",
    "ScalingLaw",
    "fit_scaling_law",
    "forecast",
    "law_from_json",
    "law_to_json",
    "load_records",
]

_MODULES = ("frames", "law", "law_json", "forecasting")


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: who needs one module does not wait for scipy."""
    if name in __all__:
        for module in _MODULES:
            found = import_module(f"{__name__}.{module}")
            if hasattr(found, name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
