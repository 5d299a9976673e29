"""keep_freed_memory: a process that trains does not give its memory back between two steps."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h of the GNU C library
_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Have malloc keep large blocks that are freed, for the rest of the process; a no-op without the GNU C library.

    Every step of a training frees the tensors of the one before and takes as many. As delivered, malloc returns each to the
    system, whose fresh pages cost a third of the step of a model with tens of thousands of nodes.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _MOST)
        mallopt(_TRIM_THRESHOLD, _MOST)
