"""Where a model's code is: the innermost line of a layer or of the user, outside this package and torch, for messages."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType

_LIBRARIES = frozenset({"torch", "torch_geometric", "torch_scatter", "contextlib", "inspect"})
_LAYERS = "torch_geometric.nn."  # layers of PyG run like the user's own; these run them:
_MACHINERY = (
    "torch_geometric.nn.conv.message_passing",
    "torch_geometric.nn.aggr.base",
    "torch_geometric.nn.sequential",
)


def source_line() -> str:
    """The line of user code that is running: "model.py:31 `x = x.exp()`"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not _is_user_code(frame):
        frame = frame.f_back
    return _describe(frame, frame.f_lineno)


def raising_line(error: BaseException) -> str:
    """The innermost line of user code in the traceback of an error."""
    place, traceback = "unknown line", error.__traceback__
    while traceback is not None:
        if _is_user_code(traceback.tb_frame):
            place = _describe(traceback.tb_frame, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def _is_user_code(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))  # code that PyG generates also bears a name of its package
    if module.startswith(_LAYERS):
        return not module.startswith(_MACHINERY)
    return module.partition(".")[0] not in _LIBRARIES and not module.startswith("toolchain.frontend")


def _describe(frame: FrameType, line: int) -> str:
    filename = frame.f_code.co_filename
    code = linecache.getline(filename, line).strip()
    return f"{Path(filename).name}:{line}" + (f" `{code}`" if code else "")
