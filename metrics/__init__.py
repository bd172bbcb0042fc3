"""The mathematics: pure functions from arrays to estimates. No Lightning, no W&B, no files."""

from metrics.adversarial import Assault, Attacked, adversarial_images
from metrics.attacks import ATTACKS, NORMS, Attack, AttackName, Norm, check_eps
from metrics.certificates import certified_radius
from metrics.dimension_estimators import check_estimator, estimators
from metrics.distances import squared_distances
from metrics.errors import InputError, require_at_least
from metrics.estimate import Estimate, mean_estimate
from metrics.frozen import Frozen, Precision, computes_in_bf16, frozen_copy
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
from metrics.medians import median_estimate
from metrics.minimal_radius import largest_radius, minimal_radius, sharpness_bound
from metrics.modes import eval_mode
from metrics.neighbors import nearest_enemies, nearest_friends, nearest_neighbors
from metrics.outcomes import Outcomes, outcomes
from metrics.ranks import Progress, map_shared, n_processes
from metrics.robustness import Robustness, attacked_outcomes, robustness
from metrics.sampling import balanced_sample
from metrics.seeds import seed_of
from metrics.split_audit import GroupLeak, SplitAudit, TwinLeak, audit_split, check_near

__all__ = [
    "ATTACKS",
    "NORMS",
    "Assault",
    "Attack",
    "AttackName",
    "Attacked",
    "Estimate",
    "Frozen",
    "GroupLeak",
    "ImageSharpness",
    "InputError",
    "LabelSharpness",
    "Neighborhoods",
    "Norm",
    "Outcomes",
    "Precision",
    "Progress",
    "Robustness",
    "SharpPair",
    "SplitAudit",
    "TwinLeak",
    "adversarial_images",
    "attacked_outcomes",
    "audit_split",
    "balanced_sample",
    "certified_radius",
    "check_eps",
    "check_estimator",
    "check_near",
    "class_pair_sharpness",
    "computes_in_bf16",
    "estimators",
    "eval_mode",
    "frozen_copy",
    "image_sharpness",
    "intrinsic_dimension",
    "label_sharpness",
    "largest_radius",
    "map_shared",
    "mean_estimate",
    "median_estimate",
    "minimal_radius",
    "n_processes",
    "nearest_enemies",
    "nearest_friends",
    "nearest_neighbors",
    "neighborhoods",
    "neighbors_needed",
    "outcomes",
    "require_at_least",
    "robustness",
    "seed_of",
    "sharpest_pairs",
    "sharpness_bound",
    "sharpness_curve",
    "squared_distances",
]
