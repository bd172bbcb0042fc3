"""The mathematics: pure functions from arrays to estimates. No Lightning, no W&B, no files."""

from metrics.attacks import ATTACKS, AttackName, adversarial_images, check_attack
from metrics.dimension_estimators import check_estimator, estimators
from metrics.distances import squared_distances
from metrics.errors import InputError, require_at_least
from metrics.estimate import Estimate, mean_estimate
from metrics.intrinsic_dimension import Neighborhoods, intrinsic_dimension, neighborhoods, neighbors_needed
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
from metrics.neighbors import nearest_enemies, nearest_friends, nearest_neighbors
from metrics.ranks import Progress, map_shared, n_processes
from metrics.robustness import Outcomes, Robustness, attacked_outcomes, outcomes, robustness
from metrics.sampling import balanced_sample
from metrics.split_audit import GroupLeak, SplitAudit, TwinLeak, audit_split, check_near

__all__ = [
    "ATTACKS",
    "AttackName",
    "Estimate",
    "GroupLeak",
    "ImageSharpness",
    "InputError",
    "LabelSharpness",
    "Neighborhoods",
    "Outcomes",
    "Progress",
    "Robustness",
    "SharpPair",
    "SplitAudit",
    "TwinLeak",
    "adversarial_images",
    "attacked_outcomes",
    "audit_split",
    "balanced_sample",
    "check_attack",
    "check_estimator",
    "check_near",
    "class_pair_sharpness",
    "estimators",
    "image_sharpness",
    "intrinsic_dimension",
    "label_sharpness",
    "map_shared",
    "mean_estimate",
    "n_processes",
    "nearest_enemies",
    "nearest_friends",
    "nearest_neighbors",
    "neighborhoods",
    "neighbors_needed",
    "outcomes",
    "require_at_least",
    "robustness",
    "sharpest_pairs",
    "sharpness_curve",
    "squared_distances",
]
