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
    "size: the model file; of C its constants. agrees: same class as the PyG model. memory: private pages that loading "
    "and running added. p50: the model on prepared arrays, n samples; with graph: from x and edge_index on. vs: times "
    "faster by p50 than PyG eager and than the faster of torch.onnx.export's two files (the page also has the ratios "
    "with graph preparation)."
)


def cells(row: Row) -> tuple[str, ...]:
    """The texts of one row, in the order of COLUMNS."""
    return (
        row.model, row.format, row.precision.replace("-", " "), format_bytes(row.size_bytes), format_share(row.accuracy),
        format_share(row.agreement), format_bytes(row.memory_bytes), format_us(row.run_us),
        format_us(row.with_graph_us),
        format_ratio(row.against_eager), format_ratio(row.against_onnx),
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


def _box() -> Any:
    return require("rich.box", "cli").SIMPLE_HEAD
