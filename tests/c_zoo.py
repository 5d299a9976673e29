"""The whole model zoo as one C library: every model in float and in each integer mode, linked together.

`zoo_graph(model, mode)` is the Graph, `zoo_library(compiler, level)` the compiled program, `run_c` one inference in it.
"""

from __future__ import annotations

import ctypes
import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from runtimes.c_interface import Features, Graph, Model, Outputs
from tests.c_kernels import SOURCE, compilers, default_compiler, load
from tests.cases import CASES, GRAPHS, MODELS, case_inputs, example
from toolchain import GraphInputs, StaticInt8, ir, lower, quantize
from toolchain.c_artifact import edge_types
from toolchain.exporters.c.emitter import emit
from toolchain.exporters.emission import Bounds
from toolchain.ir.ops import Const, Dequantize, Input, Mul
from toolchain.passes import deployable

MODES = ("float32", "int8", "sums-int16", "all-int16")
BOUNDS = Bounds(nodes=64, edges=512, graphs=4, degree=None)


@functools.cache
def zoo_graph(model: str, mode: str) -> ir.Graph:
    """A model of the zoo, deployable, in float or quantized with the graphs of its cases."""
    lowered = lower(MODELS[model](), example(model), name=f"{model}_{mode}")
    if mode == "float32":
        return deployable(lowered)
    graphs = [case_inputs(model, name) for name in GRAPHS if (model, name) in CASES]
    return quantize(lowered, StaticInt8(graphs, mode=mode, min_agreement=0.01))  # type: ignore[arg-type]  # a name of a mode


def is_integer_throughout(graph: ir.Graph) -> bool:
    """Whether floats occur only before the first Quantize (equalization of x) and after the last Dequantize."""
    floats = [v for v in graph.values if not v.type.dtype.is_integer and not isinstance(v.op, Const | Input)]
    for value in floats:
        operands = [graph.values[i] for i in value.inputs]
        is_start = isinstance(value.op, Mul) and all(isinstance(o.op, Input | Const) for o in operands)
        if not is_start and not isinstance(value.op, Dequantize):
            return False
    ends = {v.id for v in floats if isinstance(v.op, Dequantize)}
    return not any(set(v.inputs) & ends for v in graph.values)


@functools.cache
def zoo_sources() -> tuple[Path, ...]:
    """model.c of every model and mode, each in a folder with its header."""
    return sources_of(zoo_graph(model, mode) for model in MODELS for mode in MODES)


@functools.cache
def zoo_library(compiler: str, level: str = "-O2") -> ctypes.CDLL:
    """All models and all kernels in one shared library."""
    assert compiler in compilers()
    return load((*zoo_sources(), *sorted(SOURCE.glob("*.c"))), level, compiler=compiler)


def model_of(library: ctypes.CDLL, model: str, mode: str) -> Model:
    """The descriptor of one model."""
    return Model.in_dll(library, f"gnn_{model}_{mode}_model".replace("-", "_"))


def run_c(model: Model, inputs: GraphInputs, edge_rows: int = 0) -> tuple[np.ndarray, ...]:
    """prepare() and run(); outputs as float32 [rows, channels]. Raises AssertionError with the status of a refusal."""
    arena = np.full(-(-model.required_bytes() // 8), 0x5A5A5A5A5A5A5A5A, np.uint64)
    edges = inputs.edge_index.astype(np.uint16)
    batch = inputs.graph_index.astype(np.uint16)
    weight, attributes = inputs.edge_weight, inputs.edge_attr
    types = None if inputs.edge_type is None else edge_types(inputs.edge_type)
    graph = Graph(
        inputs.num_nodes, inputs.num_edges, inputs.num_graphs, edges[0].ctypes.data, edges[1].ctypes.data,
        batch.ctypes.data, None if weight is None else weight.ctypes.data, None if types is None else types.ctypes.data,
    )  # fmt: skip
    status = model.prepare(ctypes.addressof(graph), arena.ctypes.data, arena.nbytes)
    assert status == 0, f"prepare: status {status}"
    rows = (inputs.num_nodes, edge_rows, inputs.num_graphs)
    results = [
        np.zeros((rows[model.outputs[i].domain], model.outputs[i].channels), np.float32)
        for i in range(model.num_outputs)
    ]
    values = (ctypes.c_void_p * len(results))(*[r.ctypes.data for r in results])
    outputs = Outputs(ctypes.addressof(values), None, None)
    features = Features(inputs.x.ctypes.data, None, None, None if attributes is None else attributes.ctypes.data)
    status = model.run(ctypes.addressof(features), arena.ctypes.data, arena.nbytes, ctypes.addressof(outputs))
    assert status == 0, f"run: status {status}"
    return tuple(results)


def library_of(graphs: Iterable[ir.Graph]) -> ctypes.CDLL:
    """The C of some graphs with different names, linked together."""
    return load((*sources_of(graphs), *sorted(SOURCE.glob("*.c"))), "-O2", compiler=default_compiler())


def sources_of(graphs: Iterable[ir.Graph]) -> tuple[Path, ...]:
    """model.c of graphs with different names, each in a folder with its header."""
    root, sources = Path(tempfile.mkdtemp(prefix="pocketgnn-models-")), []
    for graph in graphs:
        emission, folder = emit(graph, BOUNDS), root / graph.name
        folder.mkdir()
        (folder / "model.c").write_bytes(emission.model)
        (folder / "model.h").write_bytes(emission.extra_files["model.h"])
        sources.append(folder / "model.c")
    return tuple(sources)
