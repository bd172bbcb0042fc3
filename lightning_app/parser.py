"""The parser: mistakes cost one line, help fits on a screen."""

import difflib
import re
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from metrics import InputError


class SuiteParser(LightningArgumentParser):
    """Lightning's parser with messages and help for people."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the message, on one line, with near matches where an option is misspelt.

        Raises:
            InputError: Always.
        """
        raise InputError(" ".join(message.split()) + self._hint(message)) from ex

    def _hint(self, message: str) -> str:
        return ""
