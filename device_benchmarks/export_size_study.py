"""What exported files cost beside their weights: bytes of .tflite files, and the memory that .pte files plan for.

    python -m device_benchmarks.export_size_study [--nodes 640] [--edges 4096] [--degree 12]

prints one row for each LiteRT file of GCN 3x64 and GIN 5x64 (float32, no two constants equal, as training leaves them): its bytes,
those of the weights, the difference, and how many operators are in it: each takes 44 bytes or more, 20 for itself, 4 for its
result and 20 for the numbers of two operands and a result. One row follows for each ExecuTorch file of GCN 3x64: the bytes of its
memory plan, as the file states them, for the largest graph that it takes, beside PyG's GIN 3x64 exported as it is. A delegate's
own workspace is not in the plan. Lists of neighbours have --degree places a node; the other lowerings take any degree.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table
from torch.export import Dim

from device_benchmarks.lowering_study import FEATURES, MODELS, protein_like
from device_benchmarks.subjects import as_data
from toolchain.errors import require
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.exporters.executorch import BACKENDS, LOWERINGS, planned_bytes, to_edge
from toolchain.exporters.litert import emit
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import GIN
from toolchain.passes import deployable


def trained(model: torch.nn.Module) -> torch.nn.Module:
    """The model with every parameter drawn, biases too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1)
    return model.eval()


def litert_rows(graph: Graph) -> list[tuple[str, int, int, int]]:
    """Lowering, bytes of the file, bytes of the constants and number of operators."""
    schema = require("ai_edge_litert.schema_py_generated", "litert")
    weights = sum(constant.nbytes for constant in graph.constants.values())
    files = {lowering: emit(graph, lowering=lowering).model for lowering in ("scatter", "dense")}
    return [
        (lowering, len(file), weights, schema.Model.GetRootAs(file).Subgraphs(0).OperatorsLength())
        for lowering, file in files.items()
    ]


def planned_rows(graph: Graph, bounds: Bounds) -> list[tuple[str, str, int]]:
    """Lowering, backend and planned bytes of every way to sum over neighbours in ExecuTorch."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="pocketgnn-study-") as folder:
        for lowering in LOWERINGS:
            for backend in BACKENDS:
                path = Path(folder) / f"{lowering}-{backend}"
                artifact = export(graph, "executorch", path, bounds=bounds, lowering=lowering, backend=backend)
                rows.append((lowering, backend, planned_bytes(artifact.model_path.read_bytes())))
    return rows


def planned_of_pyg(bounds: Bounds) -> int:
    """Planned bytes of PyG's GIN of three layers, exported with torch.export and ExecuTorch as its user would."""
    model = GIN(FEATURES, 2, hidden=64, layers=3).eval()
    nodes, edges = bounds.nodes or 0, bounds.edges or 0
    example = (torch.zeros(nodes, FEATURES), torch.zeros(2, edges, dtype=torch.int64))
    shapes = ({0: Dim("N", max=nodes)}, {1: Dim("E", max=edges)}, None)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings(
            "ignore", message=".*LeafSpec", category=FutureWarning
        )  # executorch 1.4 with torch 2.13
        program = torch.export.export(model, (*example, None), dynamic_shapes=shapes, strict=False)
        return planned_bytes(to_edge(program, "xnnpack").to_executorch().buffer)


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", box=None)
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place < 2 else "right", no_wrap=True)
    return made


@click.command(help=__doc__)
@click.option("--nodes", type=int, default=640, show_default=True)
@click.option("--edges", type=int, default=4096, show_default=True, help="Self-loops included.")
@click.option("--degree", type=int, default=12, show_default=True, help="Self-loops included.")
def main(nodes: int, edges: int, degree: int) -> None:
    require("executorch", "executorch")
    torch.manual_seed(0)
    console = Console(width=120)
    example = as_data(protein_like(39))
    graphs = {name: deployable(lower(trained(make()), example, name=name)) for name, make in MODELS.items()}
    files = table("LiteRT, float32", "model", "lowering", "bytes", "weights", "over", "", "operators")
    for name, graph in graphs.items():
        for lowering, size, weights, operators in litert_rows(graph):
            over = size - weights
            files.add_row(
                name, lowering, f"{size:,}", f"{weights:,}", f"{over:,}", f"{over / weights:.2%}", str(operators)
            )
    console.print(files)
    plans = table(f"ExecuTorch, {nodes} nodes, {edges} edges", "model", "lowering", "backend", "planned")
    bounds = Bounds(nodes=nodes, edges=edges, graphs=1, degree=degree)
    for lowering, backend, size in planned_rows(graphs["gcn"], bounds):
        plans.add_row("gcn", lowering, backend, f"{size:,}")
    plans.add_row("gin 3x64", "PyG as it is", "xnnpack", f"{planned_of_pyg(bounds):,}")
    console.print(plans)


if __name__ == "__main__":
    main()
