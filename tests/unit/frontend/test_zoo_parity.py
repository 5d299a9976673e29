"""Every model of the zoo, lowered once, equals PyG on every graph of the zoo."""

from __future__ import annotations

from functools import cache

import pytest

from tests.cases import CASES, MODELS, case_inputs, example, expected_outputs
from tests.parity import assert_close
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir.graph import Graph
from toolchain.ir.reference import interpret


@cache
def lowered(model_name: str) -> Graph:
    return lower(MODELS[model_name](), example(model_name))


@pytest.mark.parametrize(("model_name", "graph_name"), CASES)
def test_lowered_graph_equals_the_pyg_model(model_name: str, graph_name: str) -> None:
    data = case_inputs(model_name, graph_name)
    actual = interpret(lowered(model_name), GraphInputs.from_pyg(data))
    assert_close(actual, expected_outputs(MODELS[model_name](), data))


@pytest.mark.parametrize("model_name", MODELS)
def test_run_model_calls_a_model_as_its_users_do(model_name: str) -> None:
    model, data = MODELS[model_name](), case_inputs(model_name, "random_60")
    assert_close(run_model(model, data), expected_outputs(model, data), tolerance=0)
