"""Where output goes, checked before the work that makes it: a training must not end in "already exists"."""

from __future__ import annotations

import os
from pathlib import Path

from toolchain.errors import ArtifactError


def check_parent(target: Path) -> None:
    """Refuse a path below something that is no folder, or below a folder that nothing may be written to.

    Raises:
        ArtifactError: names it.
    """
    parent = target.parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise ArtifactError(f"{target}: {parent} is a file, expected a folder. Choose another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ArtifactError(f"{target}: {parent} may not be written to. Choose another place.")
