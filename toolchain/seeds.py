"""What a seed may be: what the generators of numpy and torch both take."""

from __future__ import annotations

from numbers import Integral

from toolchain.errors import RecipeError

END = 2**63


def check_seed(seed: int) -> None:
    """Refuse what a generator would refuse later and in other words.

    Raises:
        RecipeError: no whole number in [0, 2^63).
    """
    if not isinstance(seed, Integral) or not 0 <= seed < END:
        raise RecipeError(f"seed: {seed!r}, expected a whole number of 0 or more, below 2^63.")
