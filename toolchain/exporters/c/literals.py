"""Python values as C text: identifiers, comments, numbers, arrays. Nothing a user wrote reaches C except through here."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

import numpy as np

WIDTH = 118
_C_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t",
    "uint32": "uint32_t", "int64": "int64_t", "float32": "float",
}  # fmt: skip
_MAX_NAME = 40


def identifier(name: str) -> str:
    """A C identifier made of the letters and digits of a name: "my model!" becomes "my_model". Never empty."""
    cleaned = re.sub(r"[^0-9a-z]+", "_", name.lower(), flags=re.ASCII).strip("_")[:_MAX_NAME].strip("_")
    if not cleaned or cleaned[0].isdigit() or keyword.iskeyword(cleaned):
        cleaned = f"model_{cleaned}".strip("_")
    return cleaned


def comment(text: str) -> str:
    """Text that cannot end a comment, continue a line or start a trigraph: printable ASCII of one line, shortened."""
    safe = "".join(c if c.isascii() and c.isprintable() and c not in "?\\" else "." for c in text)
    safe = safe.replace("*/", "* /").replace("/*", "/ *")
    return safe if len(safe) <= 200 else safe[:197] + "..."


def number(value: int | float | np.generic) -> str:
    """An integer in decimal, a float as an exact hexadecimal float32 literal."""
    if isinstance(value, int | np.integer):
        text = str(int(value))
        if int(value) == -(2**31):
            return "(-2147483647 - 1)"
        return f"INT64_C({text})" if abs(int(value)) >= 2**31 else text
    single = float(np.float32(value))
    if single != single or single in (float("inf"), float("-inf")):
        raise ValueError(f"{value!r} is not a finite float32")
    return single.hex().replace("0000000p", "p") + "f"


def array(name: str, values: np.ndarray) -> str:
    """`static const TYPE name[] = {...};` of a flattened array. An empty array gets one zero, which C needs.

    Weights are aligned to words (GNN_ALIGNED).
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    kind = _C_TYPES[flat.dtype.name]
    items = [number(v) for v in (flat if flat.size else np.zeros(1, flat.dtype))]
    attribute = "GNN_ALIGNED " if name.startswith("weight_") else ""
    return "\n".join([f"static const {kind} {name}[] {attribute}= {{", *_wrapped(items), "};"])


def _wrapped(items: Iterable[str]) -> list[str]:
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return [*lines, line]


def wrapped_call(call: str, indent: str) -> list[str]:
    """A call as one line, or as several with the arguments below one another's start."""
    if len(indent) + len(call) <= WIDTH:
        return [indent + call]
    function, arguments = call.split("(", 1)
    continued = indent + " " * (len(function) + 1)
    lines, line = [], indent + function + "("
    for argument in arguments.split(", "):
        if len(line) + len(argument) + 1 > WIDTH and not line.endswith("("):
            lines.append(line.rstrip())
            line = continued
        line += argument + ", "
    return [*lines, line[:-2]]
