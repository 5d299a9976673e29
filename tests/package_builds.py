"""What the tests of packages share: CMake, a record that no machine reproduces, model files of other formats."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.c_tools import run
from tests.model_zoo import EDGE_FEATURES
from tests.tiny_c_model import OUTPUTS
from toolchain.artifact import Artifact, GraphContract, Signature
from toolchain.exporters.packages import Companion, Sample
from toolchain.feeds import Feed, FeedKind
from toolchain.topology import LoopAttributes, Normalization, SelfLoops, TopologySpec

STAND_INS = Path(__file__).parent / "unit" / "exporters" / "stand_ins"


def wrong(sample: Sample) -> Sample:
    """A record that no machine reproduces, to see the self-test fail."""
    outputs = tuple(array.copy() for array in sample.outputs)
    outputs[2][-1, -1] += 0.01
    return replace(sample, outputs=outputs)


def cmake() -> str:
    """CMake of the Python package, else of the system."""
    beside = Path(sys.executable).parent / "cmake"
    found = str(beside) if beside.exists() else shutil.which("cmake")
    if found is None:
        pytest.skip("cmake is not installed (pip install cmake)")
    return found


def build(folder: Path, *options: str) -> Path:
    run([cmake(), "-S", folder, "-B", folder / "build", *options], folder)
    run([cmake(), "--build", folder / "build"], folder)
    return folder / "build"


def ctest(built: Path) -> int:
    return subprocess.run(
        [Path(cmake()).with_name("ctest"), "--test-dir", built], capture_output=True, check=False
    ).returncode


def sketch_program(folder: Path, compiler: tuple[str, ...]) -> Path:
    """The sketch linked with a stand-in for the core, as the Arduino builder does: C files as C, the sketch as C++."""
    objects = []
    include = ["-I", folder / "src"]
    sketch = folder / "examples" / "SelfTest"
    for file in (*(folder / "src").rglob("*.c"), *sketch.glob("*.c")):
        objects.append(folder / f"{file.stem}.o")
        run([*compiler, "-Wall", "-Werror", "-c", file, *include, "-o", objects[-1]], folder)
    main_file = folder / "main.cpp"
    text = (sketch / "SelfTest.ino").read_text()
    main_file.write_text(f'#include <Arduino.h>\n#line 1 "SelfTest.ino"\n{text}\nint main() {{ setup(); loop(); }}\n')
    flags = [
        "-x",
        "c++",
        "-std=gnu++11",
        "-Wall",
        "-Wextra",
        "-Werror",
        *include,
        "-I",
        STAND_INS / "arduino",
        "-I",
        sketch,
    ]
    run([*compiler, *flags, "-c", main_file, "-o", folder / "main.o"], folder)
    run([*compiler, folder / "main.o", *objects, "-o", folder / "program"], folder)
    return folder / "program"


def every_feed() -> tuple[GraphContract, tuple[Feed, ...]]:
    """A contract of many topologies, and every kind of input of each: what a model file could ask for.

    Directions and weights of loops take turns: all that a file states is one method of a class of the JVM, of 64 KiB at most.
    """
    turns = itertools.cycle(
        [(1.0, False), (2.0, True), (1.0, True), (2.0, False), (1.0, False)]
    )  # 5: no period of the others
    specs = tuple(
        TopologySpec(loops, normalization, weighted, weight if weighted else 1.0, LoopAttributes.MEAN, reversed_)
        for (loops, weighted, normalization), (weight, reversed_) in zip(
            itertools.product(SelfLoops, (False, True), Normalization), turns, strict=False
        )
    )
    feeds: list[Feed] = []
    for place, spec in enumerate(specs):
        for kind, (dtype, dims) in _FEEDS.items():
            if kind is FeedKind.EDGE_WEIGHT and not spec.weighted and spec.self_loops.adds:
                continue  # self-loops that were added have no weight there
            feeds.append(
                Feed(f"{kind.value}_{place}", kind, place, "sum", dtype, dims, min_rows=2 if dims[0] == "E" else 0)
            )
        feeds += [
            Feed(f"mean_{kind.value}_{place}", kind, place, "mean", "float32", _FEEDS[kind][1])
            for kind in (
                FeedKind.COEFFICIENT,
                FeedKind.ADJACENCY,
                FeedKind.TARGET_SCALE,
                FeedKind.NEIGHBOUR_COEFFICIENT,
            )
        ]
        feeds += [
            Feed(
                f"plain_{kind.value}_{place}",
                kind,
                place,
                "sum",
                _FEEDS[kind][0],
                _FEEDS[kind][1],
                loops=False,
                factors=False,
            )
            for kind in (FeedKind.SOURCE, FeedKind.TARGET, FeedKind.COEFFICIENT)
        ]
    feeds += [
        Feed("x", FeedKind.X, dims=("N", 7)),
        Feed("graph_index", FeedKind.GRAPH_INDEX, dtype="int64", dims=("N",)),
        Feed("pool_sum", FeedKind.POOL_MATRIX, reduce="sum", dims=("G", "N")),
        Feed("pool_mean", FeedKind.POOL_MATRIX, reduce="mean", dims=("G", "N")),
        Feed("inverse_count", FeedKind.INVERSE_COUNT, dims=("G", 1)),
        Feed("only_small", FeedKind.X, dims=("N", 7), nodes_at_most=5),
        Feed("only_large", FeedKind.X, dims=("N", 7), nodes_above=5),
    ]
    return GraphContract(specs, 7, EDGE_FEATURES, edge_weight=True), tuple(feeds)


# kinds that belong to a topology
_FEEDS: dict[FeedKind, tuple[str, tuple[str | int, ...]]] = {
    FeedKind.EDGE_ATTR: ("float32", ("E", EDGE_FEATURES)),
    FeedKind.EDGE_WEIGHT: ("float32", ("E", 1)),
    FeedKind.SOURCE: ("int64", ("E",)),
    FeedKind.TARGET: ("int32", ("E",)),
    FeedKind.ROW_POINTER: ("int64", ("N+1",)),
    FeedKind.COEFFICIENT: ("float32", ("E", 1)),
    FeedKind.ADJACENCY: ("float32", ("N", "N")),
    FeedKind.SOURCE_SCALE: ("float32", ("N", 1)),
    FeedKind.TARGET_SCALE: ("float32", ("N", 1)),
    FeedKind.NEIGHBOURS: ("int64", ("N", "K")),
    FeedKind.NEIGHBOUR_COEFFICIENT: ("float32", ("N", 1, "K")),
    FeedKind.IN_EDGES: ("int32", ("N", "K")),
    FeedKind.IN_MASK: ("float32", ("N", 1, "K")),
    FeedKind.OUT_EDGES: ("int64", ("N", "K")),
    FeedKind.OUT_MASK: ("float32", ("N", 1, "K")),
}


def beside_tiny(folder: Path, sample: Sample, formats: Sequence[str]) -> list[Companion]:
    """Files of the hand-written model in other formats, as far as packages look at them: nothing here runs them."""
    contract, feeds = every_feed()
    return [
        Companion(
            Artifact.save(
                Artifact(
                    folder / f"tiny-{name}", name, "float32", f"model.{name}", Signature(feeds, OUTPUTS), contract
                ),
                {f"model.{name}": name.encode()},
            ),
            sample.outputs,
        )
        for name in formats
    ]
