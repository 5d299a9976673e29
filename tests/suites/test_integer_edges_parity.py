"""Models with integer attention and edges: C gives the codes of the interpreter on every graph, other formats stay close."""

from __future__ import annotations

import ctypes
import functools
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest

import runtimes
from tests.c_kernels import SOURCE, default_compiler, load
from tests.c_zoo import BOUNDS, is_integer_throughout, model_of, run_c
from tests.cases import GRAPHS, MODELS, case_inputs, example
from tests.parity import assert_close
from toolchain import GraphInputs, StaticInt8, lower, quantize
from toolchain.compression.bit_search import SearchSpace
from toolchain.compression.integer_plan import MODES, Mode
from toolchain.exporters import export
from toolchain.exporters.c.emitter import emit
from toolchain.exporters.emission import Bounds
from toolchain.ir import Domain, Graph, GraphBuilder, interpret, ops
from toolchain.ir.graph import copy_value

DRAWN = ("drawn1", "drawn2")  # widths of every value and weight, drawn with this seed
EDGE_MODELS = ("gat_concat", "gat_mean_edge", "gatv2", "pyg_gat", "gine_edge_attr", "scatter_functions")


@functools.cache
def quantized(model: str, mode: Mode | str) -> Graph:
    graphs = [case_inputs(model, name) for name in GRAPHS]
    if mode in DRAWN:
        static, draw = StaticInt8(graphs, "int8", min_agreement=0, edge_arithmetic="integer"), random.Random(mode)
        source = lower(MODELS[model](), example(model), name=f"{model}_{mode}")
        space = SearchSpace.of(source, static, (2, 4, 6, 8), graphs)
        return space.integer({name: draw.choice(widths) for name, widths in space.candidates.items()})
    assert mode in MODES
    method = StaticInt8(graphs, mode, min_agreement=0.01, edge_arithmetic="integer")
    return quantize(lower(MODELS[model](), example(model), name=f"{model}_{mode}"), method)


def codes_of(graph: Graph) -> Graph:
    """The same model, whose outputs are all dequantized rows that no float op comes before (the input's scaling aside)."""
    builder = GraphBuilder(graph.topologies, graph.name)
    number: dict[int, int] = {}
    after_floats: set[int] = set()
    outputs = []
    for value in graph.values:
        number[value.id] = copy_value(builder, graph, value, tuple(number[i] for i in value.inputs))
        is_input = isinstance(value.op, ops.Mul) and isinstance(graph.values[value.inputs[0]].op, ops.Input)
        is_float = not value.type.dtype.is_integer and not isinstance(value.op, ops.Input | ops.Const | ops.Dequantize)
        if (is_float and not is_input) or any(i in after_floats for i in value.inputs):
            after_floats.add(value.id)
        elif isinstance(value.op, ops.Dequantize) and value.type.domain is not Domain.EDGE:
            outputs.append(number[value.id])
    return builder.finish(outputs)


@functools.cache
def library() -> ctypes.CDLL:
    """All models in all modes, the whole and up to the codes."""
    root = Path(tempfile.mkdtemp(prefix="pocketgnn-edges-"))
    sources = []
    for model in EDGE_MODELS:
        for mode in (*MODES, *DRAWN):
            graph = quantized(model, mode)
            emission = emit(codes_of(graph), BOUNDS)
            folder = root / f"{model}-{mode}"
            folder.mkdir()
            (folder / "model.c").write_bytes(emission.model)
            (folder / "model.h").write_bytes(emission.extra_files["model.h"])
            sources.append(folder / "model.c")
    return load((*sources, *sorted(SOURCE.glob("*.c"))), compiler=default_compiler())


@pytest.mark.parametrize("mode", [*MODES, *DRAWN])
@pytest.mark.parametrize("model", EDGE_MODELS)
def test_c_gives_the_codes_of_the_interpreter(model: str, mode: str) -> None:
    graph = codes_of(quantized(model, mode))
    for name in GRAPHS:
        inputs = GraphInputs.from_pyg(case_inputs(model, name))
        made = run_c(model_of(library(), model, mode), inputs)
        for ours, theirs in zip(made, interpret(graph, inputs), strict=True):
            assert ours.tobytes() == theirs.tobytes(), name


def test_models_are_integer_from_end_to_end() -> None:
    exact = {model for model in EDGE_MODELS if is_integer_throughout(quantized(model, "int8"))}

    assert exact >= {"gat_mean_edge", "gatv2", "pyg_gat", "gine_edge_attr"}


def test_the_order_of_edges_moves_no_weight_by_more_than_two_codes() -> None:
    """Weights are differences of rounded sums, so they may move; everything else about the order is kept by the sums."""
    graph, inputs = quantized("gatv2", "sums-int16"), GraphInputs.from_pyg(case_inputs("gatv2", "random_60"))
    order = np.random.default_rng(0).permutation(inputs.num_edges)
    assert inputs.edge_attr is not None
    turned = GraphInputs(inputs.x, inputs.edge_index[:, order], edge_attr=inputs.edge_attr[order])
    expected, made = interpret(graph, inputs), interpret(graph, turned)

    assert_close(made, expected, 1e-2)


FORMATS = {
    "onnx": {},
    "torchscript": {},
    "executorch": {"bounds": Bounds(nodes=100, edges=400, graphs=4, degree=20), "wide_linear": "digits"},
    "litert": {},
    "c": {"bounds": BOUNDS},
}


@pytest.mark.parametrize("format", FORMATS)
def test_files_of_every_format_are_close_to_the_reference(format: str, tmp_path: Path) -> None:
    if format == "executorch":
        pytest.importorskip("executorch", reason="executorch is not installed")
    graph = quantized("gat_concat", "sums-int16")
    runtime = runtimes.load(export(graph, format, tmp_path / "model", **FORMATS[format]))  # type: ignore[arg-type]
    for name in GRAPHS:
        inputs = GraphInputs.from_pyg(case_inputs("gat_concat", name))
        assert_close(runtime.run(inputs), interpret(graph, inputs), 1e-5 if format == "c" else 3e-2)
