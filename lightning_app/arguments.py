"""The command lines that are not Lightning's."""

import argparse
from typing import Any, NoReturn

from lightning_app.mistakes import mistake


class CommandParser(argparse.ArgumentParser):
    """argparse with mistakes that cost one line; option names must be written out."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raises the message.

        Raises:
            InputError: The message, and where to read on.
        """
        raise mistake(f"{message}; `{self.prog} --help` shows what there is")
