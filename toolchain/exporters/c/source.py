"""The text of model.c: constants, prepare(), and run() as stages of kernel calls."""

from __future__ import annotations

import re
import zlib

from toolchain.exporters.c import literals, topologies
from toolchain.exporters.c.arena import Buffer, plan
from toolchain.exporters.c.program import BLOCK_ROWS, GIVEN_EDGES, Program, StageText
from toolchain.exporters.c.steps_float import weights_enter_sums
from toolchain.exporters.c.topologies import Layout
from toolchain.exporters.c.uses import USES
from toolchain.inputs import GraphInputs
from toolchain.ir import Domain, Value
from toolchain.ir.ops import Input, Role

_LOOP_COUNTS = {Domain.NODE: "num_nodes", Domain.GRAPH: "num_graphs"}


def source(program: Program, where: Layout, offsets: dict[str, int], fixed: GraphInputs | None, note: str) -> str:
    """model.c as text."""
    name, upper = program.name, program.name.upper()
    run = _run_body(program, where, offsets)
    body = [*program.constants, *_topology_text(program, where, fixed), _prepare(program, where, fixed), run]
    identity = zlib.crc32("\n".join(body).encode()) | 1
    text = [
        f"/* {literals.comment(note)}", " *", *_walk_back(program), " */", '#include "model.h"', "",
        *_kernels(program), "",
        f"#define MODEL_ID {identity}u /* marks an arena that this model prepared */",
        f"typedef char gnn_{name}_floats_have_4_bytes[sizeof(float) == 4 ? 1 : -1];",
        f"typedef char gnn_{name}_node_numbers_fit_16_bits[GNN_{upper}_MAX_NODES <= 65535u ? 1 : -1];",
        f"typedef char gnn_{name}_state_has_its_place[sizeof(gnn_state) == {topologies.STATE_BYTES} ? 1 : -1];", "",
        "\n\n".join(body), "", _descriptor(program, offsets, fixed is not None), "",
    ]  # fmt: skip
    return "\n".join(text)


def _kernels(program: Program) -> list[str]:
    """The kernels: as functions of other files, or in this one, which can then leave out what the model does not use."""
    return [
        "#if defined(GNN_ONE_FILE) /* with -DGNN_ONE_FILE this is the only file to compile */",
        *(f"#define GNN_USES_{name} 0" for name in USES if name not in program.uses),
        *(f'#include "{name}.c"' for name in sorted(program.kernels)),
        "#else",
        '#include "gnn_kernels.h"',
        "#endif",
    ]


def arena_offsets(program: Program, where: Layout, is_fixed: bool) -> tuple[dict[str, int], int]:
    """Byte offset of every buffer of run(), behind the prepared graph, and the size of the arena.

    GIVEN_EDGES is where a caller may put the edges before any of the others is used; a fixed graph needs no such place.
    """
    edges = 0 if is_fixed else program.bounds.edges
    assert edges is not None
    return plan([Buffer(GIVEN_EDGES, 4 * edges, 0, 0), *program.buffers()], where.end)


def _walk_back(program: Program) -> list[str]:
    """Which module each value came from, so that a call can be traced to the PyG model."""
    lines = [" * Values, by the number in their names, and the modules of the PyG model that they come from:"]
    for value in program.graph.values:
        if value.id in program.places or f"linear_{value.id}" in program.constants:
            lines.append(f" *   value_{value.id}: {literals.comment(_describe(value))}")
    return lines


def _describe(value: Value) -> str:
    return f"{type(value.op).__name__} {value.type}" + (f", {value.scope}" if value.scope else "")


# --- prepare ----------------------------------------------------------------------------------------------------------


def _topology_text(program: Program, where: Layout, fixed: GraphInputs | None) -> list[str]:
    text: list[str] = []
    specs = program.graph.topologies
    if any(specs[index].relation is not None for index in program.topology_arrays):
        program.uses.add("RELATIONS")
    prepared = None if fixed is None else fixed.prepare(specs)
    for index in sorted(program.topology_arrays):
        if fixed is not None and prepared is not None:
            text += topologies.fixed_constants(program, index, fixed, prepared.topologies[index])
        else:
            spec = topologies.spec_text(index, specs[index], program.topology_arrays[index])
            text += [spec, topologies.arena_function(index, where)]
    if fixed is not None:
        counts = f".num_nodes = {fixed.num_nodes}u, .num_edges = {fixed.num_edges}u, .num_graphs = {fixed.num_graphs}u"
        batch = "NULL"
        if fixed.num_graphs > 1:
            text.append(literals.array("fixed_batch", fixed.graph_index.astype("uint16")))
            batch = "fixed_batch"
        text.append(f"static const gnn_graph fixed_graph = {{{counts}, .batch = {batch}}};")
    return text


def _prepare(program: Program, where: Layout, fixed: GraphInputs | None) -> str:
    name, upper = program.name, program.name.upper()
    lines = [
        f"gnn_status gnn_{name}_prepare(const gnn_graph *graph, void *arena, size_t arena_bytes)", "{",
        "    unsigned char *const memory = (unsigned char *)arena;",
    ]  # fmt: skip
    if fixed is not None:
        lines += ["    (void)graph;", "    graph = &fixed_graph;"]
    lines += [
        f"    gnn_status status = gnn_prepare_start(&gnn_{name}_model, graph, arena, arena_bytes);",
        "    if (status == GNN_OK) {",
        f"        status = gnn_prepare_graphs(graph, (uint32_t *)(void *)(memory + {where.graph_pointer}u));",
        "    }",
    ]
    program.kernels |= {"gnn_prepare_start", "gnn_prepare_graphs", "gnn_prepare_end", "gnn_run_start"}
    for index in sorted(program.topology_arrays) if fixed is None else ():
        program.kernels.add("gnn_prepare_topology")
        lines += [
            "    if (status == GNN_OK) {",
            f"        const gnn_topology topology = topology_at_{index}(memory);",
            f"        status = gnn_prepare_topology(&topology_spec_{index}, graph, GNN_{upper}_MAX_EDGES, "
            f"GNN_{upper}_MAX_DEGREE, &topology);",
            *_scale(program, index),
            "    }",
        ]
    return "\n".join(
        [*lines, "    if (status == GNN_OK) {", "        gnn_prepare_end(MODEL_ID, arena);", "    }",
         "    return status;", "}"]
    )  # fmt: skip


def _scale(program: Program, index: int) -> list[str]:
    """The float factors of a normalization, which integer models do not need."""
    if "scale" not in program.topology_arrays[index]:
        return []
    program.kernels.add("gnn_prepare_scale")
    return [
        "        if (status == GNN_OK) {",
        f"            status = gnn_prepare_scale(&topology_spec_{index}, graph->num_nodes, &topology);",
        "        }",
    ]


# --- run --------------------------------------------------------------------------------------------------------------


def _run_body(program: Program, where: Layout, offsets: dict[str, int]) -> str:
    name = program.name
    stages = [
        _stage(program, index, text, offsets) for index, text in enumerate(program.stages) if text.before or text.loop
    ]
    body = "\n".join(stages)
    checks = _feature_checks(program)
    used = body + checks
    lines = [
        f"gnn_status gnn_{name}_run(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs)",
        "{",
        "    unsigned char *const memory = (unsigned char *)arena;",
        "    const gnn_state *const state = (const gnn_state *)arena;",
        f"    gnn_status status = gnn_run_start(&gnn_{name}_model, MODEL_ID, features, arena, arena_bytes, outputs);",
        "    if (status != GNN_OK) {",
        "        return status;",
        "    }",
        "    const uint32_t num_nodes = state->num_nodes;",
    ]
    if re.search(r"\bnum_graphs\b", used):
        one = program.bounds.graphs == 1
        lines.append(f"    const uint32_t num_graphs = {'1' if one else 'state->num_graphs'};")
    if re.search(r"\bgraph_pointer\b", used):
        lines.append(
            f"    const uint32_t *const graph_pointer = (const uint32_t *)(void *)(memory + {where.graph_pointer}u);"
        )
    for index in sorted(program.topology_arrays):
        if re.search(rf"\b(topology_{index}|num_edges_{index}|topology_{index}_weight)\b", used):
            unweighted = "weight" in program.topology_arrays[index] and not weights_enter_sums(
                program.graph.topologies[index]
            )
            lines.append(
                f"    {'' if unweighted else 'const '}gnn_topology topology_{index} = topology_at_{index}(memory);"
            )
            if f"topology_{index}_weight" in used:
                lines.append(f"    const float *const topology_{index}_weight = topology_{index}.weight;")
            if unweighted:  # the model reads the weights as values; its sums over these edges are not weighted
                lines.append(f"    topology_{index}.weight = NULL;")
            if re.search(rf"\bnum_edges_{index}\b", used):
                lines.append(f"    const uint32_t num_edges_{index} = topology_{index}.row_pointer[num_nodes];")
    if "num_nodes" not in used:
        lines.append("    (void)num_nodes;")
    return "\n".join([*lines, checks, body, "    return GNN_OK;", "}"])


def _feature_checks(program: Program) -> str:
    width = {v.op.role: v.type.channels for v in program.graph.inputs if isinstance(v.op, Input)}
    calls = []
    if program.sparse:
        calls.append(f"gnn_check_sparse(features->x_pointer, features->x_index, num_nodes, {width[Role.X]}u)")
        program.kernels.add("gnn_check_sparse")
    else:
        calls.append(f"gnn_check_finite_f32(features->x, (size_t)num_nodes * {width[Role.X]}u)")
    if Role.EDGE_ATTR in width:
        calls.append(f"gnn_check_finite_f32(features->edge_attr, (size_t)state->num_edges * {width[Role.EDGE_ATTR]}u)")
    if len(calls) > program.sparse:
        program.kernels.add("gnn_check_finite_f32")
    return "\n".join(
        f"    status = {call};\n    if (status != GNN_OK) {{\n        return status;\n    }}" for call in calls
    )


def _stage(program: Program, index: int, text: StageText, offsets: dict[str, int]) -> str:
    stage = text.stage
    what = f"{stage.domain.value}s" + (f" of topology {stage.topology}" if stage.topology is not None else "")
    lines = [f"    {{ /* stage {index}: {what} */"]
    for name, (ctype, written) in sorted(text.memory.items(), key=lambda item: offsets[item[0]]):
        const = "" if written else "const "
        lines.append(f"        {const}{ctype} *const {name} = ({const}{ctype} *)(void *)(memory + {offsets[name]}u);")
    scope = ""
    for step in text.before:
        lines, scope = _scoped(lines, step.scope, scope, "        ")
        lines += literals.wrapped_call(step.text, "        ")
    if text.loop:
        count = _LOOP_COUNTS.get(stage.domain, f"num_edges_{stage.topology}")
        if text.reads_targets:
            lines.append("        uint32_t row = 0;")
        most = "GNN_ROWS" if text.rows == BLOCK_ROWS else f"{text.rows}u"
        lines.append(f"        for (uint32_t first = 0; first < {count}; first += {most}) {{")
        lines.append(f"            const uint32_t rows = {count} - first < {most} ? {count} - first : {most};")
        if text.reads_targets:
            program.kernels.add("gnn_targets")
            lines.append("            uint16_t target[GNN_ROWS];")
            lines.append(
                f"            row = gnn_targets(topology_{stage.topology}.row_pointer, row, first, rows, target);"
            )
        for step in text.loop:
            lines, scope = _scoped(lines, step.scope, scope, "            ")
            lines += literals.wrapped_call(step.text, "            ")
        lines.append("        }")
    return "\n".join([*lines, "    }"])


def _scoped(lines: list[str], scope: str, last: str, indent: str) -> tuple[list[str], str]:
    """A comment with the module path wherever it changes."""
    if scope and scope != last:
        return [*lines, f"{indent}/* {literals.comment(scope)} */"], scope
    return lines, last


def _descriptor(program: Program, offsets: dict[str, int], is_fixed: bool) -> str:
    name, upper = program.name, program.name.upper()
    graph = program.graph
    widths = {v.op.role: v.type.channels for v in graph.inputs if isinstance(v.op, Input)}
    has_relations = any(graph.topologies[t].relation is not None for t in program.topology_arrays) and not is_fixed
    weighted = Role.EDGE_WEIGHT in widths or any(graph.topologies[t].weighted for t in program.topology_arrays)
    rows = ", ".join(
        f"{{GNN_{graph.values[o].type.domain.name}, {graph.values[o].type.channels}}}" for o in graph.outputs
    )
    return "\n".join([
        f"size_t gnn_{name}_required_bytes(void)", "{", f"    return GNN_{upper}_ARENA_BYTES;", "}", "",
        f"static const gnn_output_info output_info[] = {{{rows}}};", "",
        f"const gnn_model gnn_{name}_model = {{",
        f'    .name = "{name}", .max_nodes = GNN_{upper}_MAX_NODES, .max_edges = GNN_{upper}_MAX_EDGES,',
        f"    .max_graphs = GNN_{upper}_MAX_GRAPHS, .max_degree = GNN_{upper}_MAX_DEGREE,",
        f"    .features = GNN_{upper}_FEATURES, .edge_features = GNN_{upper}_EDGE_FEATURES,",
        f"    .reads_edge_weight = {int(weighted and not is_fixed)}, .reads_sparse_features = {int(program.sparse)},",
        f"    .has_fixed_graph = {int(is_fixed)}, .num_outputs = {len(graph.outputs)}, .outputs = output_info,",
        *(["    .reads_edge_type = 1,"] if has_relations else []),
        f"    .edges_offset = {offsets[GIVEN_EDGES]}u,",
        f"    .required_bytes = gnn_{name}_required_bytes, .prepare = gnn_{name}_prepare, .run = gnn_{name}_run,",
        "};",
    ])  # fmt: skip
