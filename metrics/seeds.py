"""One seed from several numbers."""

import numpy as np


def seed_of(*numbers: int) -> int:
    """A seed that differs, as good as surely, when any of the numbers differs, or their order.

    Unlike a sum: of epoch and seed, say, where seed 0 in epoch 1 would be seed 1 in epoch 0.

    Args:
        *numbers: Non-negative integers.

    Returns:
        32 bits.

    Example:
        >>> seed_of(0, 1) == seed_of(1, 0)
        False
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
