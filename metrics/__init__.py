"""The mathematics: pure functions from arrays to estimates. No Lightning, no W&B, no files."""

from metrics.attacks import ATTACKS, AttackName, adversarial_images, check_attack
from metrics.distances import squared_distances
from metrics.errors import InputError, require_at_least
from metrics.estimate import Estimate, mean_estimate
from metrics.estimators import check_estimator, estimators
from metrics.intrinsic_dimension import Neighborhoods, intrinsic_dimension, neighborhoods
from metrics.label_sharpness import (
    ImageSharpness,
    LabelSharpness,
    SharpPair,
    class_pair_sharpness,
    image_sharpness,
    label_sharpness,
    sharpest_pairs,
    sharpness_curve,
)
from metrics.neighbors import nearest_enemies, nearest_neighbors
from metrics.ranks import Progress, map_shared, n_processes
from metrics.robustness import Outcomes, Robustness, attacked_outcomes, outcomes, robustness

__all__ = [
    "ATTACKS",
    "AttackName",
    "Estimate",
    "ImageSharpness",
    "InputError",
    "LabelSharpness",
    "Neighborhoods",
    "Outcomes",
    "Progress",
    "Robustness",
    "SharpPair",
    "adversarial_images",
    "attacked_outcomes",
    "check_attack",
    "check_estimator",
    "class_pair_sharpness",
    "estimators",
    "image_sharpness",
    "intrinsic_dimension",
    "label_sharpness",
    "map_shared",
    "mean_estimate",
    "n_processes",
    "nearest_enemies",
    "nearest_neighbors",
    "neighborhoods",
    "outcomes",
    "require_at_least",
    "robustness",
    "sharpest_pairs",
    "sharpness_curve",
    "squared_distances",
]
