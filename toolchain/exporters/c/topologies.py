"""The prepared graph in the arena, or in constants: which arrays a topology has, where they lie, how they are filled."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from toolchain.c_artifact import MAX_RELATIONS
from toolchain.errors import ExportError
from toolchain.exporters.c import literals
from toolchain.exporters.c.arena import aligned
from toolchain.exporters.c.program import Program
from toolchain.inputs import GraphInputs
from toolchain.ir.integer import rsqrt_q31
from toolchain.topology import SelfLoops, Topology, TopologySpec

STATE_BYTES = 16  # gnn_state
ARRAYS = {"row_factor": "int32_t", "scale": "float", "weight": "float", "origin": "uint32_t"}
_NO_EDGE = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets of the prepared graph at the head of the arena.

    Attributes:
        graph_pointer: offset of [G + 1] uint32.
        arrays: offset of each array of each topology, by (topology, array).
        end: first byte behind them.
    """

    graph_pointer: int
    arrays: dict[tuple[int, str], int]
    end: int


def layout(program: Program) -> Layout:
    """Lay the arrays of all used topologies side by side; a fixed graph needs none of them."""
    bounds = program.bounds
    assert bounds.nodes is not None and bounds.edges is not None and bounds.graphs is not None
    graph_pointer, end = STATE_BYTES, STATE_BYTES + 4 * (bounds.graphs + 1)
    sizes = {
        "row_pointer": 4 * (bounds.nodes + 1), "source": 2 * bounds.edges, "row_factor": 4 * bounds.nodes,
        "scale": 4 * bounds.nodes, "weight": 4 * bounds.edges, "origin": 4 * bounds.edges,
    }  # fmt: skip
    arrays: dict[tuple[int, str], int] = {}
    for index in sorted(program.topology_arrays):
        for array in ("row_pointer", "row_factor", "scale", "weight", "origin", "source"):  # uint16 last: no gaps
            if array in ("row_pointer", "source") or array in program.topology_arrays[index]:
                arrays[index, array] = end
                end += sizes[array]
        end = -(-end // 4) * 4
    return Layout(graph_pointer, arrays, aligned(end))


def spec_text(index: int, spec: TopologySpec, arrays: Set[str]) -> str:
    """The gnn_topology_spec of a topology with these optional arrays; weights that nothing reads are not prepared."""
    loops = {
        SelfLoops.KEEP: "GNN_KEEP", SelfLoops.REMAINING: "GNN_REMAINING", SelfLoops.REPLACE: "GNN_REPLACE",
        SelfLoops.REMOVE: "GNN_REMOVE",
    }[spec.self_loops]  # fmt: skip
    return (
        f"/* {literals.comment(str(spec))} */\n"
        f"static const gnn_topology_spec topology_spec_{index} = {{\n"
        f"    .self_loops = {loops}, .loop_weight = {literals.number(np.float32(spec.loop_weight))},\n"
        f"    .normalization = GNN_{spec.normalization.name}, .weighted = {int(spec.weighted and 'weight' in arrays)}, "
        f".reversed = {int(spec.reversed)},{_relation(spec)}\n}};"
    )


def _relation(spec: TopologySpec) -> str:
    if spec.relation is None:
        return ""
    if spec.relation >= MAX_RELATIONS:
        raise ExportError(f"edge_type {spec.relation}: C takes relations below {MAX_RELATIONS}. Number them from 0.")
    return f" .relation = {spec.relation + 1},"


def arena_function(index: int, where: Layout) -> str:
    """A function that points a gnn_topology at its arrays in the arena."""
    lines = [f"static gnn_topology topology_at_{index}(unsigned char *memory)", "{", "    gnn_topology t;"]
    for array, kind in (("row_pointer", "uint32_t"), ("source", "uint16_t"), *ARRAYS.items()):
        offset = where.arrays.get((index, array))
        lines.append(f"    t.{array} = " + ("NULL;" if offset is None else f"({kind} *)(void *)(memory + {offset}u);"))
    return "\n".join([*lines, "    return t;", "}"])


def fixed_constants(program: Program, index: int, graph: GraphInputs, topology: Topology) -> list[str]:
    """The arrays of a fixed graph as constants, and a function that points a gnn_topology at them."""
    arrays: dict[str, np.ndarray] = {
        "row_pointer": topology.row_pointer.astype(np.uint32), "source": topology.source.astype(np.uint16)
    }  # fmt: skip
    wanted = program.topology_arrays[index]
    if "row_factor" in wanted:
        arrays["row_factor"] = rsqrt_q31(topology.in_degree).astype(np.int32)
    if "scale" in wanted:
        assert topology.target_scale is not None
        arrays["scale"] = topology.target_scale.astype(np.float32)
    if "weight" in wanted:
        arrays["weight"] = _fixed_weight(graph, topology)
    if "origin" in wanted:
        arrays["origin"] = np.where(topology.origin < 0, _NO_EDGE, topology.origin).astype(np.uint32)
    text = [literals.array(f"fixed_{name}_{index}", array) for name, array in arrays.items()]
    lines = [f"static gnn_topology topology_at_{index}(unsigned char *memory)", "{", "    gnn_topology t;"]
    lines.append("    (void)memory; /* the graph is fixed: run() only reads these arrays */")
    for array, kind in (("row_pointer", "uint32_t"), ("source", "uint16_t"), *ARRAYS.items()):
        lines.append(
            f"    t.{array} = " + (f"({kind} *)(uintptr_t)fixed_{array}_{index};" if array in arrays else "NULL;")
        )
    return [*text, "\n".join([*lines, "    return t;", "}"])]


def _fixed_weight(graph: GraphInputs, topology: Topology) -> np.ndarray:
    if topology.weight is not None:
        return topology.weight.astype(np.float32)
    if graph.edge_weight is None:
        raise ExportError("edge_weight: the model reads it, but the fixed graph has none.")
    return graph.edge_weight[topology.origin].astype(np.float32)
