"""timm backbones and the LightningModule that trains them."""

from models.adversarial_training import AdversarialTraining
from models.backbones import BACKBONES, PENULTIMATE, Backbone, default_batch_size
from models.classifier import ImageClassifier, default_learning_rate

__all__ = [
    "BACKBONES",
    "PENULTIMATE",
    "AdversarialTraining",
    "Backbone",
    "ImageClassifier",
    "default_batch_size",
    "default_learning_rate",
]
