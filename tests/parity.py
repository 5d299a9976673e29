"""How float arrays are compared in the tests: relative to the largest magnitude, as a Graph's contract states it."""

from __future__ import annotations

import numpy as np


def assert_close(actual: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], tolerance: float = 1e-5) -> None:
    """Every output within `tolerance` of the largest magnitude of the expected one."""
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        theirs = theirs[:, None] if theirs.ndim == 1 else theirs
        assert ours.shape == theirs.shape
        assert np.isfinite(ours).all()
        assert np.abs(ours - theirs).max(initial=0) <= tolerance * max(np.abs(theirs).max(initial=0), 1e-6)
