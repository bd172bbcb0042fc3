"""A network as a run has left it, and how the run was configured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import yaml

from lightning_app.run import CONFIG, LAST, Config
from metrics import InputError
from models import ImageClassifier

_SECTIONS = {"trainer", "model", "data"}


@dataclass(frozen=True, eq=False)
class Saved:
    """A saved network.

    Attributes:
        checkpoint: The file that holds it.
        model: The network, in the precision that it was saved in.
        file: The configuration of its run; None where there is none.
        config: What the file says; empty where there is none.
    """

    checkpoint: Path
    model: ImageClassifier
    file: Path | None
    config: Config

    @property
    def trainer(self) -> Config:
        """How the run's trainer was configured."""
        trainer: Config = self.config.get("trainer") or {}
        return trainer

    @property
    def num_classes(self) -> int:
        """Classes that it tells apart."""
        return cast(int, self.model.architecture["num_classes"])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the images that it takes."""
        channels, height, width = cast(list[int], self.model.architecture["input_shape"])
        return channels, height, width


def read_saved(path: str) -> Saved:
    """Read a checkpoint, and the configuration that lies in its folder or above.

    Args:
        path: A checkpoint, or the folder of a run.

    Raises:
        InputError: It is neither, or cannot be read.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "checkpoints" / LAST
        if not file.is_file():
            raise InputError(f"{path} is no folder of a run: there is no {file}; name a checkpoint")
    if not file.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        known = "architecture" in content
    except Exception as error:  # whatever a file that is something else makes torch raise
        raise InputError(f"{file} is no readable checkpoint: give a last.ckpt of this project") from error
    if not known:
        raise InputError(f"{file} does not say which network it holds: it is not a checkpoint of this project")
    model = ImageClassifier.from_checkpoint(file)
    weights: dict[str, Any] = content["state_dict"]
    if any(value.dtype == torch.float64 for value in weights.values() if value.is_floating_point()):
        model.double().load_state_dict(weights)
    found, config = _config_of(file, str(model.architecture["backbone"]))
    return Saved(file, model, found, config)


def _config_of(checkpoint: Path, backbone: str) -> tuple[Path | None, Config]:
    """The nearest configuration of a run with that network, and what it says."""
    for folder in checkpoint.resolve().parents:
        file = folder / CONFIG
        if not file.is_file():
            continue
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InputError(f"{file} cannot be read: mend it, or move the checkpoint away from it") from error
        if isinstance(content, dict) and content.keys() >= _SECTIONS and content["model"].get("backbone") == backbone:
            return file, content
    return None, {}
