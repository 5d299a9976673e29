"""The one table that a run ends with, for a terminal or for a plain log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from device_benchmarks.results import Row
from device_benchmarks.units import format_bytes, format_ratio, format_share, format_us
from toolchain.errors import require

COLUMNS = (
    "model", "format", "precision", "size", "accuracy", "agrees", "memory", "p50", "with graph", "vs eager",
    "vs ONNX", "n",
)  # fmt: skip
CAPTION = (
    "agrees: same class as the PyG model. memory: private pages that loading and running added. p50: the model on "
    "prepared arrays; with graph: from x and edge_index. vs: times faster than PyG eager and than the faster "
    "torch.onnx.export file, model alone (with graph preparation on both sides). n: samples."
)


def cells(row: Row) -> tuple[str, ...]:
    """The texts of one row, in the order of COLUMNS."""
    return (
        row.model, row.format, row.precision, format_bytes(row.size_bytes), format_share(row.accuracy),
        format_share(row.agreement), format_bytes(row.memory_bytes), format_us(row.run_us),
        format_us(row.with_graph_us),
        _both(row.against_eager, row.against_eager_with_graph), _both(row.against_onnx, row.against_onnx_with_graph),
        "–" if row.samples is None else str(row.samples),
    )  # fmt: skip


def table(rows: Sequence[Row], title: str = "") -> Any:
    """A rich table; rivals are dim, and a failure takes the place of the numbers."""
    made = require("rich.table", "cli").Table(title=title or None, caption=CAPTION, caption_justify="left", box=_box())
    for number, name in enumerate(COLUMNS):
        made.add_column(name, justify="left" if number < 3 else "right", no_wrap=True)
    previous = None
    for row in rows:
        if previous is not None and previous != row.model:
            made.add_section()
        previous = row.model
        made.add_row(*cells(row), style="dim" if row.is_rival else None)
    return made


def failures(rows: Sequence[Row]) -> list[str]:
    """One line for each row that could not be measured."""
    return [f"{row.name}: {row.failure}" for row in rows if row.failure]


def _both(alone: float | None, with_graph: float | None) -> str:
    return format_ratio(alone) + (f" ({format_ratio(with_graph)})" if with_graph is not None else "")


def _box() -> Any:
    return require("rich.box", "cli").SIMPLE_HEAD
