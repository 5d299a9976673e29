"""Libraries of the sparse product for onnxruntime and ExecuTorch, built from the sources beside this file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path

from runtimes.compiler import build_library, find_compiler, load_library
from toolchain.errors import MissingDependency

SOURCES = Path(__file__).parent


@cache
def onnxruntime_operators() -> Path:
    """The library that `SessionOptions.register_custom_ops_library` takes, built once for each compiler and kept.

    Raises:
        MissingDependency: there is no compiler.
    """
    library = _built(lambda: build_library(_sources("spmm.h", "onnxruntime_spmm.c")))
    load_library(library)  # refuses what others may have written to
    return library


@cache
def register_in_executorch(bindings: Path) -> Path:
    """Build the operators against the headers of the executorch wheel and load them, which registers them for the process.

    Args:
        bindings: the extension module _portable_lib, which is loaded.

    Raises:
        MissingDependency: there is no compiler.
    """
    package = bindings.parents[2]
    library = _built(
        lambda: build_library(
            _sources("spmm.h", "executorch_spmm.cpp"),
            flags=(
                "-std=c++20",
                "-DET_LOG_ENABLED=0",  # the functions that log are not exported
                "-DC10_USING_CUSTOM_GENERATED_MACROS",
                f"-I{package / 'include'}",
                f"-I{package / 'include/executorch/runtime/core/portable_type/c10'}",
                str(bindings),
                "-lc++" if find_compiler().command[-2:] == ("ziglang", "cc") else "-lstdc++",
            ),
            of=metadata.version("executorch"),
        )
    )
    load_library(library)
    return library


def _sources(*names: str) -> dict[str, bytes]:
    return {name: (SOURCES / name).read_bytes() for name in names}


def _built(build: Callable[[], Path]) -> Path:
    try:
        return build()
    except MissingDependency as error:
        raise MissingDependency(
            f"the operator of lowering='spmm' has to be compiled: {error} Or export the model with another lowering."
        ) from error
