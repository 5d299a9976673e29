"""Graph → text: one line per value, for reading, golden tests and `pocketgnn inspect`."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum

import numpy as np

from toolchain.ir.graph import Graph, Value
from toolchain.ir.ops import Const, Input, Op, RowFactor
from toolchain.ir.types import QParams, TensorType


def to_text(graph: Graph) -> str:
    """Readable, deterministic text. Weights appear as shapes and types, never as numbers.

    Example line: `%7 = Linear(%5, weight=%2, bias=%3) activation=relu : node[64]:f32    # convs.0.lin`
    """
    lines = [f"graph {graph.name}"]
    lines += [f"  topology {i}: {spec}" for i, spec in enumerate(graph.topologies)]
    lines += [f"  {_line(graph, value)}" for value in graph.values]
    lines.append("  return " + ", ".join(f"%{o}" for o in graph.outputs))
    return "\n".join(lines) + "\n"


def _line(graph: Graph, value: Value) -> str:
    op = value.op
    if isinstance(op, Const):
        body = f"Const {op.name}" + (f" codebook={op.codebook}" if op.codebook is not None else "")
        body += " half" if op.is_half else ""
    elif isinstance(op, Input):
        body = f"Input {op.role.value}"
    else:
        names = op.operand_names(len(value.inputs))
        operands = [
            f"%{i}" if n in ("x", "a", "b") or n[1:].isdigit() else f"{n}=%{i}"
            for n, i in zip(names, value.inputs, strict=True)
        ]
        body = f"{type(op).__name__}({', '.join(operands)})" + "".join(f" {a}" for a in _attributes(op))
    text = f"%{value.id} = {body} : {value.type}"
    return text + (f"    # {value.scope}" if value.scope else "")


def _attributes(op: Op) -> list[str]:
    shown = []
    for f in fields(op):  # type: ignore[arg-type]  # every concrete op is a dataclass
        item = getattr(op, f.name)
        if f.name == "operands" or item is None or (item == f.default and not isinstance(item, Enum)):
            continue
        if isinstance(item, Enum):
            item = item.value
        elif isinstance(item, RowFactor):
            item = f"{item.end.value}@{item.topology}"
        elif isinstance(item, QParams | TensorType):
            item = f"({item})"
        elif isinstance(item, float):
            item = f"{np.float32(item):.6g}"
        shown.append(f"{f.name}={item}")
    return shown
