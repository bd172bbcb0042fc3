"""What a run computes on."""

import platform

import torch


def machine(device: torch.device) -> str:
    """The kind of machine, as records name it: runs on machines of one kind take about as long.

    Example:
        >>> machine(torch.device("cpu")) == f"{platform.machine()} CPU"
        True
    """
    return (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} {device.type.upper()}"
    )
