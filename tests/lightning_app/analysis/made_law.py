"""A law whose numbers are chosen, not fitted: what forecasts of it are can be worked out by hand."""

from typing import Any

import numpy as np
import pandas as pd

from lightning_app.analysis.law import ScalingLaw

COVARIANCE = np.array([[0.04, -0.006, 0.01], [-0.006, 0.01, 0.001], [0.01, 0.001, 0.02]])


def made_law(**changes: Any) -> ScalingLaw:
    """2 − 2 (log N)/d + log K_F, known as ``COVARIANCE`` says, with τ² = 0.3², σ² = 0.15² and eight data sets."""
    law: dict[str, Any] = {
        "response": "test/loss",
        "dimension": "data_ref/d_mle",
        "sharpness": "data_ref/K_F",
        "names": ("intercept", "log N / d", "log K_F"),
        "beta": np.array([2.0, -2.0, 1.0]),
        "covariance": COVARIANCE,
        "between": 2,
        "var_data_set": 0.09,
        "var_residual": 0.0225,
        "coefficients": (),
        "comparisons": (),
        "reliability": None,
        "domains": ("medical",),
        "backbones": ("resnet18",),
        "data_sets": {f"set{i}": 12 for i in range(8)},
        "ranges": {"n_train": (500.0, 2000.0), "d": (5.0, 20.0), "K_F": (0.01, 0.1), "loss": (0.1, 1.0)},
        "left_out": {},
        "notes": (),
        "records": pd.DataFrame({"run_id": ["fitted"], "data": ["set0"]}),
    }
    return ScalingLaw(**law | changes)
