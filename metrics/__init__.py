"""The mathematics: pure functions from arrays to estimates. No Lightning, no W&B, no files."""

from metrics.attacks import ATTACKS, AttackName, adversarial_images, check_attack
from metrics.distances import nearest_neighbors, squared_distances
from metrics.errors import InputError
from metrics.estimate import Estimate, mean_estimate
from metrics.intrinsic_dimension import EstimatorName, intrinsic_dimension
from metrics.label_sharpness import LabelSharpness, label_sharpness
from metrics.robustness import Outcomes, Robustness, attacked_outcomes, outcomes, robustness

__all__ = [
    "ATTACKS",
    "AttackName",
    "Estimate",
    "EstimatorName",
    "InputError",
    "LabelSharpness",
    "Outcomes",
    "Robustness",
    "adversarial_images",
    "attacked_outcomes",
    "check_attack",
    "intrinsic_dimension",
    "label_sharpness",
    "mean_estimate",
    "nearest_neighbors",
    "outcomes",
    "robustness",
    "squared_distances",
]
