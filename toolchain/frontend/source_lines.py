"""Where the user's own code is: the innermost line outside this package, torch and PyG, for messages."""

from __future__ import annotations

import contextlib
import linecache
import sys
from pathlib import Path

import torch
import torch_geometric

_LIBRARIES = (*torch.__path__, *torch_geometric.__path__, str(Path(__file__).parent))


def source_line() -> str:
    """The line of user code that is running: "model.py:31 `x = x.exp()`"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not _is_user_code(frame.f_code.co_filename):
        frame = frame.f_back
    return _describe(frame.f_code.co_filename, frame.f_lineno)


def raising_line(error: BaseException) -> str:
    """The innermost line of user code in the traceback of an error."""
    place, traceback = "unknown line", error.__traceback__
    while traceback is not None:
        if _is_user_code(traceback.tb_frame.f_code.co_filename):
            place = _describe(traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def _is_user_code(filename: str) -> bool:
    return not filename.startswith(_LIBRARIES) and filename != contextlib.__file__


def _describe(filename: str, line: int) -> str:
    code = linecache.getline(filename, line).strip()
    return f"{Path(filename).name}:{line}" + (f" `{code}`" if code else "")
