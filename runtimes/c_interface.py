"""gnn.h as ctypes: the structs of a generated model, their layout as a check for the C compiler, and its status codes."""

from __future__ import annotations

import ctypes

DOMAINS = ("node", "edge", "graph")  # gnn_domain
MODEL_FUNCTION = "pocketgnn_model"  # the one symbol of a built library


class Graph(ctypes.Structure):
    """gnn_graph: a graph as it comes."""

    _fields_ = (
        ("num_nodes", ctypes.c_uint32), ("num_edges", ctypes.c_uint32), ("num_graphs", ctypes.c_uint32),
        ("source", ctypes.c_void_p), ("target", ctypes.c_void_p), ("batch", ctypes.c_void_p),
        ("edge_weight", ctypes.c_void_p), ("edge_type", ctypes.c_void_p),
    )  # fmt: skip


class Features(ctypes.Structure):
    """gnn_features: what one run reads."""

    _fields_ = (
        ("x", ctypes.c_void_p), ("x_pointer", ctypes.c_void_p), ("x_index", ctypes.c_void_p),
        ("edge_attr", ctypes.c_void_p),
    )  # fmt: skip


class Outputs(ctypes.Structure):
    """gnn_outputs: where results go."""

    _fields_ = (("values", ctypes.c_void_p), ("sink", ctypes.c_void_p), ("context", ctypes.c_void_p))


class OutputInfo(ctypes.Structure):
    """gnn_output_info."""

    _fields_ = (("domain", ctypes.c_int), ("channels", ctypes.c_uint16))


class Model(ctypes.Structure):
    """gnn_model: a model as data."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("max_nodes", ctypes.c_uint32), ("max_edges", ctypes.c_uint32), ("max_graphs", ctypes.c_uint32),
        ("max_degree", ctypes.c_uint32), ("features", ctypes.c_uint16), ("edge_features", ctypes.c_uint16),
        ("reads_edge_weight", ctypes.c_uint8), ("reads_sparse_features", ctypes.c_uint8),
        ("has_fixed_graph", ctypes.c_uint8), ("num_outputs", ctypes.c_uint8),
        ("reads_edge_type", ctypes.c_uint8),
        ("outputs", ctypes.POINTER(OutputInfo)), ("edges_offset", ctypes.c_size_t),
        ("required_bytes", ctypes.CFUNCTYPE(ctypes.c_size_t)),
        ("prepare", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)),
        ("run", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)),
    )  # fmt: skip


_STRUCTS: tuple[tuple[str, type[ctypes.Structure]], ...] = (
    ("gnn_graph", Graph), ("gnn_features", Features), ("gnn_outputs", Outputs), ("gnn_output_info", OutputInfo),
    ("gnn_model", Model),
)  # fmt: skip

# gnn_status → what is wrong, for the refusals that the host's own checks do not word better
OK, ERROR_NULL, ERROR_VALUE = 0, 1, 9
STATUS = {
    1: "a pointer that the model needs is missing",
    2: "the arena is too small or not aligned",
    3: "no node, or more than the file was built for",
    4: "more edges than the file was built for, self-loops included",
    5: "no graph, or more than the file was built for",
    6: "a node has more in-edges than the file was built for",
    7: "an edge names a node that does not exist",
    8: "batch is not sorted, or names a graph that does not exist",
    9: "a feature, edge weight or edge attribute is not finite",
    10: "the edge weights into a node sum to less than 0",
    11: "the arena holds no prepared graph of this model; make it with prepare()",
}


def export_source(name: str) -> str:
    """C that exports the descriptor of model `name` and fails to compile where gnn.h differs from the structs above."""
    lines = [
        '#include "gnn.h"',
        "#if defined(_WIN32)",
        "#define POCKETGNN_EXPORT __declspec(dllexport)",
        "#else",
        '#define POCKETGNN_EXPORT __attribute__((visibility("default")))',
        "#endif",
        f"extern const gnn_model gnn_{name}_model;",
        f"POCKETGNN_EXPORT const gnn_model *{MODEL_FUNCTION}(void);",
        f"const gnn_model *{MODEL_FUNCTION}(void) {{ return &gnn_{name}_model; }}",
    ]
    for c_name, struct in _STRUCTS:
        facts = [f"sizeof({c_name}) == {ctypes.sizeof(struct)}u"]
        facts += [f"offsetof({c_name}, {field}) == {getattr(struct, field).offset}u" for field, *_ in struct._fields_]
        lines.append(f"typedef char {c_name}_layout_differs[({' && '.join(facts)}) ? 1 : -1];")
    return "\n".join(lines) + "\n"
