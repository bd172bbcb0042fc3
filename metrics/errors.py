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
