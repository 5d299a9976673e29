"""A recorded run as C: a graph, its features, what the model computed, and the function that computes it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolchain.artifact import Artifact
from toolchain.c_artifact import edge_types
from toolchain.errors import ExportError
from toolchain.exporters.c import literals
from toolchain.inputs import GraphInputs
from toolchain.sparse_features import SparseFeatures

if TYPE_CHECKING:
    from toolchain.exporters.packages.packaged_model import PackagedModel

FLOAT_TOLERANCE = 1e-5  # of the largest magnitude, as everywhere
# A float that is rounded once instead of twice may move an integer code by one; this is several codes of 8 bits.
CONTRACTED_TOLERANCE = 0.02
WRONG_OUTPUT = 100
_MAX_NODES, _MAX_EDGES_PER_NODE, _ONES_PER_NODE = 8, 2, 8


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A graph that a model takes, and its outputs: float32 arrays [rows, channels]."""

    inputs: GraphInputs
    outputs: tuple[np.ndarray, ...]


def synthetic_graph(artifact: Artifact, seed: int = 0) -> GraphInputs:
    """A small random graph within the contract of an artifact, for a self-test without the user's data.

    Of an artifact with a fixed graph only x counts, so it gets a row for each of those nodes.
    """
    contract, rng = artifact.contract, np.random.default_rng(seed)
    largest = contract.max_nodes or _MAX_NODES
    nodes = largest if contract.fixed_graph else min(_MAX_NODES, largest)
    # The topology may add a self-loop at every node.
    most = _MAX_EDGES_PER_NODE if contract.max_degree is None else min(_MAX_EDGES_PER_NODE, contract.max_degree - 1)
    edges = nodes * max(most, 0)
    if contract.max_edges is not None:
        edges = max(0, min(edges, contract.max_edges - nodes))
    # From the next node, then from the one after it, ...: in either direction no node has more edges than `most`.
    number = np.arange(edges)
    target = number % nodes
    source = (target + 1 + number // nodes) % nodes
    shape = (nodes, contract.features)
    if artifact.provenance.get("sparse_features"):
        x = (rng.random(shape) < min(0.25, _ONES_PER_NODE / contract.features)).astype(np.float32)
    else:
        x = rng.standard_normal(shape).astype(np.float32)
    weight = rng.uniform(0.5, 1.5, edges).astype(np.float32) if contract.edge_weight else None
    attr = None
    if contract.edge_features is not None:
        attr = rng.standard_normal((edges, contract.edge_features)).astype(np.float32)
    relations = 1 + max((spec.relation or 0 for spec in contract.topologies), default=0)
    kind = rng.integers(0, relations, edges) if contract.edge_type else None
    return GraphInputs(x, np.stack([source, target]), weight, attr, edge_type=kind)


def sparse_features(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rows of 0 and 1 hold ones: x_pointer [N + 1] uint32 and x_index uint16, as gnn_features takes them."""
    entries = SparseFeatures.of(x)
    return entries.pointer.astype(np.uint32), entries.ones().astype(np.uint16)


def sample_files(model: PackagedModel, folder: str, *, exact: bool) -> dict[str, str]:
    """sample.h and sample.c.

    Args:
        folder: where they go in the project.
        exact: outputs must agree bit for bit, otherwise within a tolerance.
    """
    return {f"{folder}/sample.h": _header(model), f"{folder}/sample.c": _source(model, exact)}


def _header(model: PackagedModel) -> str:
    name, library, macro = model.name, model.library, model.macro
    graph = (
        "NULL /* the edges are part of the model */"
        if model.artifact.contract.fixed_graph
        else f"(&{library}_sample_graph)"
    )
    declared = "" if model.artifact.contract.fixed_graph else f"extern const gnn_graph {library}_sample_graph;\n"
    return f"""\
/* A recorded run of the model {name}, and a test that repeats it. */
#ifndef {macro}_SAMPLE_H
#define {macro}_SAMPLE_H

#include <{library}.h>

#ifdef __cplusplus
extern "C" {{
#endif

{declared}extern const gnn_features {library}_sample_features;
#define {macro}_SAMPLE_GRAPH {graph}

/* Prepares and runs the sample: 0 where every output is as recorded, a gnn_status (1 to {WRONG_OUTPUT - 1}) where the model refuses
 * it, {WRONG_OUTPUT} + k where output k differs. */
int {library}_self_test(void);

/* What that run computed, row by row; valid after {library}_self_test() returned 0 or {WRONG_OUTPUT} + k. */
extern float *const {library}_sample_outputs[{macro}_OUTPUTS];

/* Its memory, of a type that is aligned as the model asks; yours whenever the test does not run. */
extern uint64_t {library}_sample_arena[({macro}_ARENA_BYTES + 7u) / 8u];

#ifdef __cplusplus
}}
#endif
#endif
"""


def _source(model: PackagedModel, exact: bool) -> str:
    library, macro, outputs = model.library, model.macro, model.sample.outputs
    try:
        expected = [literals.array(f"expected_{i}", array.astype(np.float32)) for i, array in enumerate(outputs)]
        graph, features = _graph_text(model), _features_text(model)
    except ValueError as error:
        raise ExportError(f"sample: {error}. Record a run with finite values.") from error
    results = [f"static float result_{i}[{max(array.size, 1)}];" for i, array in enumerate(outputs)]
    arena = f"{library}_sample_arena, sizeof {library}_sample_arena"
    counts = ", ".join(f"{array.size}u" for array in outputs)
    lines = [
        '#include "sample.h"', "", *graph, *features, *expected, *results,
        f"static const float *const expected[] = {{{', '.join(f'expected_{i}' for i in range(len(outputs)))}}};",
        f"static const size_t counts[] = {{{counts}}};",
        f"float *const {library}_sample_outputs[] = {{{', '.join(f'result_{i}' for i in range(len(outputs)))}}};",
        f"uint64_t {library}_sample_arena[({macro}_ARENA_BYTES + 7u) / 8u];", "",
        *_comparison(model, exact), "",
        f"int {library}_self_test(void)", "{",
        f"    const gnn_outputs outputs = {{{library}_sample_outputs, NULL, NULL}};",
        f"    gnn_status status = {library}_prepare({macro}_SAMPLE_GRAPH, {arena});",
        "    uint32_t i;",
        "    if (status == GNN_OK) {",
        f"        status = {library}_run(&{library}_sample_features, {arena}, &outputs);",
        "    }",
        "    if (status != GNN_OK) {",
        "        return (int)status;",
        "    }",
        f"    for (i = 0; i < {macro}_OUTPUTS; i++) {{",
        "        if (!agrees(i)) {",
        f"            return {WRONG_OUTPUT} + (int)i;",
        "        }",
        "    }",
        "    return 0;", "}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _graph_text(model: PackagedModel) -> list[str]:
    inputs, contract = model.sample.inputs, model.artifact.contract
    if contract.fixed_graph:
        return []
    arrays = {"source": inputs.edge_index[0].astype(np.uint16), "target": inputs.edge_index[1].astype(np.uint16)}
    if inputs.batch is not None:
        arrays["batch"] = inputs.batch.astype(np.uint16)
    if contract.edge_weight and inputs.edge_weight is not None:
        arrays["edge_weight"] = inputs.edge_weight
    if contract.edge_type and inputs.edge_type is not None:
        arrays["edge_type"] = edge_types(inputs.edge_type)
    names = ("source", "target", "batch", "edge_weight", "edge_type")
    given = [name if name in arrays else "NULL" for name in names]
    sizes = f"{inputs.num_nodes}u, {inputs.num_edges}u, {inputs.num_graphs}u"
    text = [literals.array(name, array) for name, array in arrays.items()]
    return [*text, f"const gnn_graph {model.library}_sample_graph = {{{sizes}, {', '.join(given)}}};", ""]


def _features_text(model: PackagedModel) -> list[str]:
    inputs, contract = model.sample.inputs, model.artifact.contract
    if model.has_sparse_features:
        pointer, index = sparse_features(inputs.x)
        arrays: dict[str, np.ndarray] = {"x_pointer": pointer, "x_index": index}
    else:
        arrays = {"x": inputs.x}
    if contract.edge_features is not None and inputs.edge_attr is not None:
        arrays["edge_attr"] = inputs.edge_attr
    given = [name if name in arrays else "NULL" for name in ("x", "x_pointer", "x_index", "edge_attr")]
    text = [literals.array(name, array) for name, array in arrays.items()]
    return [*text, f"const gnn_features {model.library}_sample_features = {{{', '.join(given)}}};", ""]


def _comparison(model: PackagedModel, exact: bool) -> list[str]:
    """`agrees(output)`: bit for bit, or within a tolerance of the largest recorded magnitude."""
    if exact:
        return [
            "/* Integers, and the floats made of them, are the same on every machine. */",
            "static int agrees(uint32_t output)", "{",
            f"    const unsigned char *const result = (const unsigned char *){model.library}_sample_outputs[output];",
            "    const unsigned char *const wanted = (const unsigned char *)expected[output];",
            "    size_t i;",
            "    for (i = 0; i < counts[output] * sizeof(float); i++) {",
            "        if (result[i] != wanted[i]) {",
            "            return 0;",
            "        }",
            "    }",
            "    return 1;", "}",
        ]  # fmt: skip
    share = FLOAT_TOLERANCE if model.is_float else CONTRACTED_TOLERANCE
    largest = [float(np.abs(array).max(initial=0.0)) for array in model.sample.outputs]
    return [
        literals.array("tolerance", np.array([share * value for value in largest], np.float32)), "",
        f"/* Within {share:g} of the largest recorded magnitude; the comparison is false for NaN. */",
        "static int agrees(uint32_t output)", "{",
        f"    const float *const result = {model.library}_sample_outputs[output];",
        "    size_t i;",
        "    for (i = 0; i < counts[output]; i++) {",
        "        const float difference = result[i] - expected[output][i];",
        "        if (!(difference <= tolerance[output] && -difference <= tolerance[output])) {",
        "            return 0;",
        "        }",
        "    }",
        "    return 1;", "}",
    ]  # fmt: skip
