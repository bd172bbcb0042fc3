"""What is measured while a network trains: thin adapters over ``metrics``."""

from callbacks.adversarial_robustness import AdversarialRobustness
from callbacks.attack_panels import AttackPanels
from callbacks.dataset_properties import DatasetProperties
from callbacks.minimal_radius import MinimalRadius
from callbacks.probe import Probe
from callbacks.representation_dimension import RepresentationDimension
from callbacks.split_audit import SplitCheck

__all__ = [
    "AdversarialRobustness",
    "AttackPanels",
    "DatasetProperties",
    "MinimalRadius",
    "Probe",
    "RepresentationDimension",
    "SplitCheck",
]
