"""Swift, for tests that build and test Swift packages on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.c_tools import run


def swift(folder: Path, *arguments: str) -> str:
    """Run a command of Swift's package manager in a package, and return what it printed."""
    found = shutil.which("swift")
    if found is None:
        pytest.skip("swift is not installed (apt-get install swiftlang where the distribution has it)")
    return run([found, *arguments], folder)
