"""Every model of the zoo as C against the interpreter, on every graph: floats within the usual bound, integers exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtimes
from tests.c_kernels import compilers, default_compiler
from tests.c_zoo import MODES, is_integer_throughout, model_of, run_c, zoo_graph, zoo_library
from tests.cases import CASES, MODELS, case_inputs
from tests.every_op import every_sum, random_inputs
from tests.parity import assert_close
from toolchain import GraphInputs
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.ir import GraphBuilder, ops
from toolchain.ir.reference import interpret
from toolchain.ir.types import node
from toolchain.topology import SelfLoops, TopologySpec

INTEGER_MODES = MODES[1:]
ONE_CODE = 1e-3  # of the largest output, for a code of 16 bits that moved by one somewhere before it


@pytest.mark.parametrize(("model", "graph"), CASES)
def test_float_models_compute_what_the_interpreter_does(model: str, graph: str) -> None:
    inputs = GraphInputs.from_pyg(case_inputs(model, graph))
    made = run_c(model_of(zoo_library(default_compiler()), model, "float32"), inputs)
    assert_close(made, interpret(zoo_graph(model, "float32"), inputs))


@pytest.mark.parametrize("mode", INTEGER_MODES)
@pytest.mark.parametrize(("model", "graph"), CASES)
def test_integer_models_give_the_codes_of_the_interpreter(model: str, graph: str, mode: str) -> None:
    inputs = GraphInputs.from_pyg(case_inputs(model, graph))
    made = run_c(model_of(zoo_library(default_compiler()), model, mode), inputs)
    expected = interpret(zoo_graph(model, mode), inputs)
    if is_integer_throughout(zoo_graph(model, mode)):
        for ours, theirs in zip(made, expected, strict=True):
            assert ours.tobytes() == theirs.tobytes()
    else:  # floats between integers: what they round to may move a code by one, which is 3e-5 of a 16-bit value
        assert_close(made, expected, 1e-5 if made_of_codes(made, expected) else ONE_CODE)


def made_of_codes(made: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> bool:
    """Whether two results come from the same codes: then only the last float steps differ."""
    return all(
        np.abs(a - b).max(initial=0) <= 1e-6 * np.abs(b).max(initial=0) for a, b in zip(made, expected, strict=True)
    )


def test_floats_between_integers_move_hardly_any_code() -> None:
    library, moved, total = zoo_library(default_compiler()), 0, 0
    for model, graph in CASES:
        inputs = GraphInputs.from_pyg(case_inputs(model, graph))
        for mode in INTEGER_MODES:
            total += 1
            made = run_c(model_of(library, model, mode), inputs)
            moved += not made_of_codes(made, interpret(zoo_graph(model, mode), inputs))
    assert total == 3 * len(CASES) and moved <= total // 100


def test_rows_per_edge_are_those_of_the_topology_that_the_output_lives_on(tmp_path: Path) -> None:
    """With self-loops added, one topology has more edges than the other."""
    builder = GraphBuilder((TopologySpec(self_loops=SelfLoops.REMAINING), TopologySpec()), name="two_edge_sets")
    x = builder.add(ops.Input(ops.Role.X, node(3)))
    graph = builder.finish([builder.add(ops.Gather(topology, ops.End.SOURCE), x) for topology in (1, 0)])
    inputs = GraphInputs(np.arange(12, dtype=np.float32).reshape(4, 3), np.array([[0, 1, 2], [1, 1, 3]]))

    artifact = export(graph, "c", tmp_path / "two", bounds=Bounds(4, 8, 1))
    given, prepared = runtimes.load(artifact.path).run(inputs)

    assert (given.shape, prepared.shape) == ((3, 3), (6, 3))  # 1 -> 1 is the loop of node 1
    for ours, theirs in zip((given, prepared), interpret(graph, inputs), strict=True):
        assert np.array_equal(ours, theirs)


def test_sums_are_right_whatever_multiplies_the_messages(tmp_path: Path) -> None:
    graph = every_sum()
    runtime = runtimes.load(export(graph, "c", tmp_path / "sums", bounds=Bounds(96, 300, 1)).path)
    for nodes, edges in [(9, 24), (3, 0), (1, 0), (96, 200)]:
        inputs = random_inputs(nodes, edges)
        assert_close(runtime.run(inputs), interpret(graph, inputs), 1e-5)


def test_the_models_that_are_integer_from_end_to_end() -> None:
    exact = {model for model in MODELS if is_integer_throughout(zoo_graph(model, "int8"))}
    assert {"gcn_graph", "gin_graph", "sage_max", "pyg_gin", "sequential"} <= exact


@pytest.mark.compilers
@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3"])
@pytest.mark.parametrize("compiler", sorted(compilers()))
def test_every_compiler_and_level_gives_the_same_bits(compiler: str, level: str) -> None:
    reference, library = zoo_library(default_compiler()), zoo_library(compiler, level)
    for model, graph in CASES:
        inputs = GraphInputs.from_pyg(case_inputs(model, graph))
        for mode in MODES:
            made = run_c(model_of(library, model, mode), inputs)
            expected = run_c(model_of(reference, model, mode), inputs)
            for ours, theirs in zip(made, expected, strict=True):
                assert np.array_equal(ours.view(np.uint32), theirs.view(np.uint32)), (model, graph, mode)
