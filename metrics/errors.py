"""The one exception that means: the caller asked for something that cannot be done."""


class InputError(ValueError):
    """A value that the caller gave is wrong; the message names it, what is allowed, and the mend.

    The command line shows it as one line and exits with code 2. Every other exception that reaches
    the command line is a defect of this project and shows its traceback.

    Example:
        >>> raise InputError("k=1 is too small: at least 3 neighbours are needed")
        Traceback (most recent call last):
        ...
        metrics.errors.InputError: k=1 is too small: at least 3 neighbours are needed
    """


def require_at_least(least: int, **options: int | None) -> None:
    """Refuse options that are too small; None means that there is no limit.

    Raises:
        InputError: Names the option, its value, and the least that is allowed.

    Example:
        >>> require_at_least(1, batch_size=0)
        Traceback (most recent call last):
        ...
        metrics.errors.InputError: batch_size=0 is out of range: choose 1 or more
    """
    for option, value in options.items():
        if value is not None and value < least:
            raise InputError(f"{option}={value} is out of range: choose {least} or more")
