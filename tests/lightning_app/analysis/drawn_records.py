"""Synthetic records drawn from a known law: what the fits are tested on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

PAPER = {  # d_data and K_F (·1e-4, pixels 0–255) as in the paper's figures
    "BraTS": ("radiology", 10.9, 2.0),
    "DBC": ("radiology", 16.8, 3.1),
    "OAI": ("radiology", 8.6, 3.4),
    "CheXpert": ("radiology", 15.3, 1.35),
    "MURA": ("radiology", 10.7, 2.8),
    "RSNA": ("radiology", 10.9, 2.1),
    "ProstateMRIUS": ("radiology", 5.6, 1.8),
    "MNIST": ("natural", 9.2, 1.6),
    "CIFAR10": ("natural", 16.3, 0.62),
    "SVHN": ("natural", 12.5, 1.0),
    "ImageNet": ("natural", 17.8, 0.59),
}


@dataclass(frozen=True)
class Truth:
    """log L = a + b · (log N)/d + c · log K_F + domain + backbone + data set (+ its own slope) + noise."""

    a: float = 2.0
    b: float = -2.0
    c: float = 1.0
    radiology: float = 0.3
    data_set: float = 0.3  # standard deviation of the random intercepts
    slope: float = 0.0  # standard deviation of b over data sets
    noise: float = 0.15  # standard deviation from run to run
    sharpness_error: float = 0.0  # relative standard error of K_F as it is recorded


BACKBONES = {"resnet18": 0.0, "resnet34": 0.05, "resnet50": 0.1, "vgg13": -0.1, "vgg16": -0.05, "vgg19": 0.0}
SIZES = (500, 750, 1000, 1250, 1500, 1750)


def drawn_records(
    seed: int,
    truth: Truth = Truth(),
    data_sets: Mapping[str, tuple[str, float, float]] = PAPER,
    backbones: Mapping[str, float] = BACKBONES,
    sizes: Sequence[int] = SIZES,
) -> pd.DataFrame:
    """Records of a whole grid, with the columns that a real one has.

    ``data/d_mle`` grows slowly with N and ``data/K_F`` as an extreme value does, M^(2/d); ``data_ref/…`` stay.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number, (data, (domain, d, k_255)) in enumerate(data_sets.items()):
        k_f = 255e-4 * k_255
        seen = k_f * np.exp(truth.sharpness_error * rng.standard_normal())
        own, own_slope = truth.data_set * rng.standard_normal(), truth.b + truth.slope * rng.standard_normal()
        for backbone, effect in backbones.items():
            for n_train in sizes:
                log_loss = (
                    truth.a
                    + own_slope * np.log(n_train) / d
                    + truth.c * np.log(k_f)
                    + truth.radiology * (domain == "radiology")
                    + effect
                    + own
                    + truth.noise * rng.standard_normal()
                )
                loss = float(np.exp(log_loss))
                d_train = d * (1 + 0.02 * np.log(n_train / 1000))
                increase = 3e2 * k_f * float(np.exp(0.2 * rng.standard_normal()))
                rows.append(
                    {
                        "run_id": f"{number:02}{len(rows):010x}",
                        "name": "drawn",
                        "status": "finished",
                        "command": "fit",
                        "data": data,
                        "domain": domain,
                        "labelling": "label",
                        "classes": None,
                        "pair": None,
                        "num_classes": 2,
                        "backbone": backbone,
                        "n_train": n_train,
                        "n_val": 0,
                        "n_test": 750,
                        "n_reference": 1000,
                        "seed": 0,
                        "channels": 3 if domain == "natural" else 1,
                        "image_size": 224,
                        "epochs": 100,
                        "data/d_mle": d_train,
                        "data/d_mle_stderr": 0.02 * d,
                        "data/d_twonn": d_train * 1.05,
                        "data/d_twonn_stderr": 0.04 * d,
                        "data/K_F": k_f * (min(n_train, 1000) / 500) ** (2 / d),
                        "data/K_F_stderr": 0.05 * k_f,
                        "data/K_F_per_pixel": k_f * 224.0,
                        "data/n_images": float(n_train),
                        "data_ref/d_mle": d,
                        "data_ref/d_mle_stderr": 0.02 * d,
                        "data_ref/d_twonn": d * 1.05,
                        "data_ref/d_twonn_stderr": 0.04 * d,
                        "data_ref/K_F": seen,
                        "data_ref/K_F_stderr": truth.sharpness_error * seen,
                        "data_ref/K_F_per_pixel": seen * 224.0,
                        "data_ref/n_images": 1000.0,
                        "repr/d_mle": d * float(np.exp(-0.6 + 0.15 * rng.standard_normal())),
                        "repr/d_mle_stderr": 0.02 * d,
                        "repr/d_twonn": d * float(np.exp(-0.55 + 0.15 * rng.standard_normal())),
                        "robust/clean/acc": 0.9,
                        "robust/clean/loss": loss,
                        **{
                            f"robust/fgsm_{eps}/{what}": value
                            for eps in (1, 2, 4, 8)
                            for what, value in (
                                ("loss_increase", increase * eps / 2),
                                ("loss_increase_stderr", 0.1 * increase * eps / 2),
                                ("loss", loss + increase * eps / 2),
                                ("acc", max(0.0, 0.9 - 0.1 * eps)),
                            )
                        },
                        "test/acc": 0.9,
                        "test/loss": loss,
                        "train/acc": 1.0,
                        "train/loss": 0.001,
                    }
                )
    return pd.DataFrame(rows)
