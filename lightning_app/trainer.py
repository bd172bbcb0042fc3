"""Lightning's trainer, with a precision that suits the machine."""

import sys
from typing import Any, Literal, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from metrics import computes_in_bf16

Chosen = Literal["32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true"]
Precision = Literal["auto", Chosen, "32", "bf16", "16", "64", 32, 16, 64]

_SHORT: dict[str, Chosen] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "64": "64-true"}


class SuiteTrainer(Trainer):
    """Lightning's trainer.

    Args:
        precision: auto trains in bf16-mixed where the hardware multiplies bfloat16 (GPUs since Ampere, processors with
            AMX or AVX512-BF16) and in 32-true elsewhere. What is measured is float32 in any case.
        **options: Those of Lightning's Trainer.
    """

    def __init__(self, *, precision: Precision = "auto", **options: Any) -> None:
        super().__init__(precision=suited(precision, str(options.get("accelerator", "auto"))), **options)


def suited(precision: Precision, accelerator: str) -> Chosen:
    """The precision by its full name: one run has one name, however it was asked for.

    Args:
        precision: As of :class:`SuiteTrainer`.
        accelerator: As of Lightning's Trainer.

    Example:
        >>> suited("bf16", "auto"), suited("auto", "tpu")
        ('bf16-mixed', '32-true')
    """
    if precision != "auto":
        return _SHORT.get(str(precision)) or cast(Chosen, precision)
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu" if accelerator in ("auto", "cpu") else "meta")
    return "bf16-mixed" if computes_in_bf16("auto", device) else "32-true"


class Reason(Callback):
    """Says what ``auto`` stands for, once training begins."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says it, in the first process."""
        if not trainer.is_global_zero:
            return
        if trainer.precision == "32-true":
            print("training in 32-true: the hardware does not multiply bfloat16", file=sys.stderr)
        else:
            print(f"training in {trainer.precision}, measuring in float32 (--trainer.precision)", file=sys.stderr)
