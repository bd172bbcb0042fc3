"""Names, numbers and lists as people are shown them."""

import math
import re
from collections.abc import Sequence


def number(value: float) -> str:
    """Four significant digits.

    Example:
        >>> number(12.3456), number(math.inf)
        ('12.35', '∞')
    """
    return "∞" if math.isinf(value) else f"{value:.4g}"


def printable(text: str) -> str:
    r"""Names as a terminal and a page can show them.

    Control characters, signs that turn the direction of what follows, and bytes that are no text, by their code.

    Example:
        >>> import os
        >>> print(printable("two\nlines"), printable(os.fsdecode(b"caf\xe9.png")), printable("a\u202eb"))
        two\x0alines caf\xe9.png a\u202eb
    """
    text = re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)
    return re.sub("[\u202a-\u202e\u2066-\u2069]", lambda found: f"\\u{ord(found[0]):04x}", text)


def listed(items: Sequence[str], most: int = 8) -> str:
    """Some items and how many more there are.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")
