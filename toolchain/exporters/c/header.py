"""The text of model.h: bounds and functions of one model."""

from __future__ import annotations

from toolchain.exporters.c import literals
from toolchain.exporters.c.program import Program
from toolchain.ir.ops import Input, Role


def header(program: Program, arena_bytes: int, note: str) -> str:
    """model.h as text."""
    name, upper = program.name, program.name.upper()
    bounds = program.bounds
    widths = {v.op.role: v.type.channels for v in program.graph.inputs if isinstance(v.op, Input)}
    values = (
        ("MAX_NODES", bounds.nodes, "nodes of a graph, or of all graphs of a batch"),
        ("MAX_EDGES", bounds.edges, "edges, added self-loops included"),
        ("MAX_GRAPHS", bounds.graphs, "graphs of a batch"),
        ("MAX_DEGREE", program.max_degree, "in-edges of a node, added self-loops included"),
        ("FEATURES", widths[Role.X], "columns of x"),
        ("EDGE_FEATURES", widths.get(Role.EDGE_ATTR, 0), "columns of edge_attr, 0: not read"),
        ("OUTPUTS", len(program.graph.outputs), "results"),
        ("ARENA_BYTES", arena_bytes, "memory for prepare() and run()"),
    )
    lines = [
        f"/* {literals.comment(note)} */",
        f"#ifndef GNN_{upper}_MODEL_H",
        f"#define GNN_{upper}_MODEL_H",
        "",
        '#include "gnn.h"',
        "",
    ]
    lines += [f"#define GNN_{upper}_{key} {value}u /* {text} */" for key, value, text in values]
    for place, output in enumerate(program.graph.outputs):
        type_ = program.graph.values[output].type
        lines.append(f"#define GNN_{upper}_OUTPUT_{place}_CHANNELS {type_.channels}u /* per {type_.domain.value} */")
    lines += [
        "", "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
        "/* Bytes of the arena, which the caller owns, aligned to GNN_ALIGNMENT. */",
        f"size_t gnn_{name}_required_bytes(void);", "",
        "/* Checks a graph and sorts its edges into the arena, once per graph. */",
        f"gnn_status gnn_{name}_prepare(const gnn_graph *graph, void *arena, size_t arena_bytes);", "",
        "/* Computes the outputs for the prepared graph and these features. */",
        f"gnn_status gnn_{name}_run(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs);",
        "", f"extern const gnn_model gnn_{name}_model;", "", "#ifdef __cplusplus", "}", "#endif", "#endif", "",
    ]  # fmt: skip
    return "\n".join(lines)
