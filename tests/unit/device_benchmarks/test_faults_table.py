"""The table of faults in tests/devices/FAULTS.md names tests that exist, and every test of a fault."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "devices"
PLACES = (FOLDER, Path(__file__).parent)
NAMED = re.findall(r"`(test_\w+)\.(test_\w+)`", (FOLDER / "FAULTS.md").read_text(encoding="utf-8"))


def functions_in(module: str) -> list[str]:
    (path,) = [place / f"{module}.py" for place in PLACES if (place / f"{module}.py").exists()]
    return [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]


def test_every_test_that_is_named_exists():
    assert NAMED
    assert [f"{module}.{test}" for module, test in NAMED if test not in functions_in(module)] == []


def test_every_test_of_faults_is_named():
    tests = [test for test in functions_in("test_faults") if test.startswith("test_")]

    assert sorted(tests) == sorted(test for module, test in NAMED if module == "test_faults")
