"""Libraries that only some data sets need."""

import importlib
from typing import Any

from metrics import InputError

_EXTRAS = {"medmnist": "demo"}  # the rest are for radiology


def need(module: str) -> Any:
    """Import a library that comes with an extra.

    Raises:
        InputError: It is not installed; says what to install.

    Example:
        >>> need("json").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        extra = _EXTRAS.get(package, "radiology")
        raise InputError(f"this needs {package}: pip install 'intrinsic-scaling[{extra}]'") from None
