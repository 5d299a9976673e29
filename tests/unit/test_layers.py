"""What may load what, checked in fresh interpreters: the import contracts as a user's board would feel them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "torch_geometric",
    "onnx",
    "onnxruntime",
    "executorch",
    "ai_edge_litert",
    "coremltools",
    "flatbuffers",
    "scipy",
    "click",
    "rich",
    "pydantic",
    "matplotlib",
)


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import runtimes",
        "import toolchain",
        "from toolchain import GraphInputs, Artifact",
        "import toolchain.ir, toolchain.passes",
    ],
)
def test_the_core_loads_nothing_heavier_than_numpy(statement: str) -> None:
    loaded = imported_by(statement)
    assert loaded & set(HEAVY) == set()


@pytest.mark.parametrize("module", ["runtimes.onnxruntime", "runtimes.litert"])
def test_runtimes_without_torch_load_none(module: str) -> None:
    loaded = imported_by(f"import {module}")
    assert loaded & {"torch", "torch_geometric", "executorch"} == set()


def test_every_public_name_of_toolchain_resolves() -> None:
    import toolchain

    assert {name for name in toolchain.__all__ if not hasattr(toolchain, name)} == set()
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = toolchain.no_such_name  # type: ignore[attr-defined]
