"""Every model of the zoo as C against the interpreter, on every graph: floats within the usual bound, integers exactly."""

from __future__ import annotations

import numpy as np
import pytest

from tests.c_kernels import compilers, default_compiler
from tests.c_zoo import MODES, is_integer_throughout, model_of, run_c, zoo_graph, zoo_library
from tests.cases import CASES, MODELS, case_inputs
from tests.parity import assert_close
from toolchain import GraphInputs
from toolchain.ir.reference import interpret

INTEGER_MODES = MODES[1:]


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
    else:
        assert_close(made, expected)


def test_enough_models_are_integer_from_end_to_end() -> None:
    exact = [model for model in MODELS if is_integer_throughout(zoo_graph(model, "int8"))]
    assert {"gcn_graph", "gin_graph", "sage_mean", "sage_max", "pyg_gin", "mlp_only"} <= set(exact)


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
