"""output_difference: outputs of the host and of a device in, what differs in words out."""

from __future__ import annotations

import numpy as np

Answer = tuple[np.ndarray, ...] | str  # outputs, or the words of a refusal


def output_difference(expected: Answer, found: Answer, who: str = "the board") -> str:
    """What differs, in words; empty for outputs of the same bits, and where both refuse."""
    if isinstance(expected, str) or isinstance(found, str):
        if isinstance(expected, str) and isinstance(found, str):
            return ""
        return f"the host {_words(expected)}, {who} {_words(found)}"
    shapes = [[list(array.shape) for array in outputs] for outputs in (expected, found)]
    if shapes[0] != shapes[1]:
        return f"outputs of shapes {shapes[1]}, the host gives {shapes[0]}"
    count = sum(int((a.view(np.uint32) != b.view(np.uint32)).sum()) for a, b in zip(expected, found, strict=True))
    return (
        f"{count} values differ from the host's, by {largest_difference(expected, found):.3g} at most" if count else ""
    )


def largest_difference(expected: tuple[np.ndarray, ...], found: tuple[np.ndarray, ...]) -> float:
    """The largest absolute difference of outputs of the same shapes."""
    pairs = zip(expected, found, strict=True)
    return max((float(np.abs(a.astype(np.float64) - b).max(initial=0.0)) for a, b in pairs), default=0.0)


def _words(answer: Answer) -> str:
    return f"refuses ({answer})" if isinstance(answer, str) else "answers"
