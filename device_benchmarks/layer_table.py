"""markdown: rows of the support check in, the table of the documentation out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

from device_benchmarks.layer_check import NO_WEIGHTS, Support, limit
from device_benchmarks.layer_zoo import conv_classes, homogeneous_classes, why_not_counted
from toolchain.recipe import Precision

SHORT: dict[Precision, str] = {"float32": "f32", "float16": "f16", "dynamic-int8": "d8", "static-int8": "s8"}


def shares(rows: Sequence[Support], formats: Sequence[str], precision: Precision = "float32") -> dict[str, int]:
    """Format → how many of the homogeneous classes are supported in their plain form."""
    classes = homogeneous_classes()
    good = {(r.layer, r.format) for r in rows if not r.variant and r.is_supported and r.precision == precision}
    return {format: sum((name, format) in good for name in classes) for format in formats}


def terminal_table(rows: Sequence[Support], formats: Sequence[str]) -> Table:
    """Errors, one line for each layer and precision."""
    table = Table("layer", "", *formats, "cause")
    for (layer, variant), group in by_case(rows).items():
        for precision in dict.fromkeys(row.precision for row in group):
            part = [row for row in group if row.precision == precision]
            shown = [f"{row.error:.0e}" if row.error is not None else "-" for row in part]
            causes = list(dict.fromkeys(row.cause for row in part if row.cause))
            table.add_row(f"{layer} ({variant})" if variant else layer, SHORT[precision], *shown, " | ".join(causes))
    return table


def by_case(rows: Iterable[Support]) -> dict[tuple[str, str], list[Support]]:
    """(layer, variant) → its rows."""
    grouped: dict[tuple[str, str], list[Support]] = {}
    for row in rows:
        grouped.setdefault((row.layer, row.variant), []).append(row)
    return grouped


def markdown_row(group: Sequence[Support], formats: Sequence[str]) -> str:
    """One line of the table: in each format the precisions within their limits; then the cause of what is missing."""
    first = group[0]
    name = f"`{first.layer}`" + (f", {first.variant}" if first.variant else "")
    cells = [_cell([row for row in group if row.format == format]) for format in formats]
    return f"| {name} | {' | '.join(cells)} | {_otherwise(group, formats)} |"


def _cell(rows: Sequence[Support]) -> str:
    shown = [SHORT[row.precision] + ("=" if _is_integer_equal(row) else "") for row in rows if row.is_supported]
    return " ".join(shown) or "no"


def _is_integer_equal(row: Support) -> bool:
    return row.precision == "static-int8" and row.is_equal


def _otherwise(group: Sequence[Support], formats: Sequence[str]) -> str:
    """Each cause once, before it what it concerns: nothing where it is all."""
    concerned: dict[str, list[Support]] = {}
    for row in group:
        if not row.is_supported:
            concerned.setdefault(_short(row.cause) or f"error {row.error:.0e}", []).append(row)
    told = []
    for cause, rows in concerned.items():
        precisions = list(dict.fromkeys(SHORT[row.precision] for row in rows))
        missing = [format for format in formats if format in {row.format for row in rows}]
        is_all = len(precisions) == len({row.precision for row in group})
        places = [] if is_all else [" ".join(precisions)]
        places += [] if len(missing) == len(formats) else [f"in {', '.join(missing)}"]
        told.append(f"{' '.join(places)}: {cause}" if places else cause)
    return "; ".join(told)


def _short(cause: str) -> str:
    """A cause without the places in the file that builds the layers, and without lists of what is supported."""
    text = cause.split("cannot lower ", 1)[-1].split("; supported functions:", 1)[0].split(" (called at ", 1)[0]
    return text.replace("|", "\\|").replace("\n", " ")


def markdown(rows: Sequence[Support], formats: Sequence[str]) -> str:
    """The support table as a file of the documentation."""
    precisions = [precision for precision in SHORT if any(row.precision == precision for row in rows)]
    classes = homogeneous_classes()
    weightless = sorted({r.layer for r in rows if not r.variant and r.cause == NO_WEIGHTS} & set(classes))
    others = [f"- `{name}`: {reason}." for name in conv_classes() if (reason := why_not_counted(name)) is not None]
    groups = by_case(rows)
    plain = [group for (layer, _), group in groups.items() if layer in classes]
    relational = [group for (layer, _), group in groups.items() if layer not in classes]
    heading = [f"| layer | {' | '.join(formats)} | otherwise |", f"|---|{'---|' * len(formats)}---|"]
    lines = [
        "# Convolutions of PyTorch Geometric", "",
        "Made by `python -m device_benchmarks.layer_support --write LAYERS.md`: each layer with random weights, on a graph with "
        "isolated nodes, one of a single node and edge, and one of 150 nodes, in the format's own runtime. The error is the "
        "largest difference of an output, relative to the largest output or 1; a precision is named where the error is within its "
        "limit.", "",
        "- **f32**: float32, compared with PyTorch Geometric.",
        "- **f16**: weights in float16, compared with the same rounded weights in the reference interpreter.",
        "- **d8**: dynamic int8 (int8 weights, ranges of values measured at each inference), compared with the reference "
        "interpreter, which gives all rows of a product one range; LiteRT and ExecuTorch give each row its own, so their limit is "
        "wider.",
        "- **s8**: static int8, compared with the reference interpreter, which computes in integers; **s8=**: equal bit for bit. "
        "What has no integer form (softmax, division) runs in float between, and may round differently.", "",
        f"How many of the {len(classes)} homogeneous classes are within the limit, and the largest error of those that are:", "",
        f"| format | {' | '.join(SHORT[p] for p in precisions)} |", f"|---|{'---|' * len(precisions)}",
        *(f"| {format} | {' | '.join(_count(rows, format, p) for p in precisions)} |" for format in formats), "",
        f"f16 and d8 change nothing in {len(weightless)} of them, which have no weights of a Linear: "
        f"{', '.join(f'`{name}`' for name in weightless)}.", "",
        *heading, *(markdown_row(group, formats) for group in plain), "",
        *(["Layers of relations, whose edges have types:", "", *heading] if relational else []),
        *(markdown_row(group, formats) for group in relational), *([""] if relational else []),
        "Not counted:", "", *others, "",
    ]  # fmt: skip
    return "\n".join(lines)


def _count(rows: Sequence[Support], format: str, precision: Precision) -> str:
    """Classes, the limit, the largest error within it; for static int8 also how many layers are equal bit for bit."""
    found = [row for row in rows if row.format == format and row.precision == precision and row.is_supported]
    classes = set(homogeneous_classes())
    count = shares(rows, [format], precision)[format]
    worst = max((row.error or 0.0 for row in found), default=0.0)
    equal = sum(_is_integer_equal(row) and not row.variant and row.layer in classes for row in found)
    told = f"{count} (limit {limit(format, precision):g}, largest {worst:.0e}"
    return told + (f"; {equal} bit for bit)" if precision == "static-int8" else ")")
