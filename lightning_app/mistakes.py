"""Mistakes of a user, in commands that do without torch until there is one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metrics import InputError


def mistake(message: str) -> "InputError":
    """The error that becomes one line on stderr.

    Args:
        message: The value, what is allowed, and how to mend it.

    Example:
        >>> raise mistake("--seed one: give a number")
        Traceback (most recent call last):
        metrics.errors.InputError: --seed one: give a number
    """
    from metrics import InputError  # with it comes torch

    return InputError(message)


def first_line(error: Exception) -> str:
    r"""What an error of another library says, in one line.

    Example:
        >>> first_line(OSError("no route\nand much more")), first_line(KeyError())
        ('no route', 'KeyError')
    """
    return str(error).splitlines()[0] if str(error) else type(error).__name__
