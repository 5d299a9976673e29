"""inspect: does every layer of a model lower, what does the Graph look like, and what does it cost?"""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from toolchain.cli import options
from toolchain.cli.console import Console
from toolchain.cli.subjects import subject
from toolchain.errors import PocketGnnError, UnsupportedModule


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the user's model. status: "supported", "unsupported", or "code" for modules that only call others."""

    path: str
    type: str
    status: str
    parameters: int


@click.command()
@click.argument("model")
@click.option("--ir/--no-ir", "with_ir", default=True, show_default=True, help="Print the Graph.")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.common
def inspect(
    console: Console, model: str, with_ir: bool, graphs: str | None, checkpoint: Path | None, name: str, seed: int
) -> None:
    """Show which layers and formats are supported, the size, the multiplications, and the Graph.

    Status 1 where something is not supported; the layers are listed all the same.

    \b
    pocketgnn inspect model.py
    """
    opened = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed)
    layers = [] if opened.saved is not None else layers_of(opened.model)
    data: dict[str, Any] = {"layers": [asdict(layer) for layer in layers]}
    refusal: PocketGnnError | None = None
    with console.progress() as progress:
        try:
            graph = opened.graph(name, progress).graph
        except UnsupportedModule as error:
            refusal, graph = error, None
        if graph is not None:
            progress("trying the formats")
            data["formats"] = formats_of(graph)
            example = opened.parts.train[0] if opened.source is not None else None
            data |= {"cost": cost_of(graph, example), "ir": str(graph)}
    shown = [_layer_table(layers)] if layers else []
    if graph is not None:
        shown += [_formats_text(data["formats"]), _cost_text(data["cost"])] + ([str(graph)] if with_ir else [])
    console.result(data, *shown)
    if refusal is not None:
        raise refusal


def layers_of(model: Any) -> list[Layer]:
    """The layers in the order of the model; a supported layer is not opened, its parts are its own business."""
    from torch import nn

    from toolchain.frontend.lowering import supported_layers  # noqa: F401  # importing it fills the table of layers
    from toolchain.frontend.registry import REFUSED, layer_lowering
    from toolchain.frontend.tracing import TRANSPARENT

    found: list[Layer] = []

    def walk(path: str, module: Any) -> None:
        cls = type(module)
        status = "code"  # also of PyG's layers without a lowering: their own forward is followed
        if issubclass(cls, tuple(REFUSED)):
            status = "unsupported"
        elif layer_lowering(cls) is not None:
            status = "supported"
        elif cls.__module__.partition(".")[0] == "torch" and cls not in TRANSPARENT:
            status = "unsupported"
        if not isinstance(module, nn.ModuleList | nn.ModuleDict):
            own = module.parameters(recurse=status != "code")
            found.append(Layer(path or "(model)", cls.__name__, status, sum(p.numel() for p in own)))
        if status == "code" or isinstance(module, nn.ModuleList | nn.ModuleDict):
            for name, child in module.named_children():
                walk(f"{path}.{name}".lstrip("."), child)

    walk("", model)
    return found


def formats_of(graph: Any) -> dict[str, str]:
    """For every format "supported", or why not: each is written once, in memory."""
    from toolchain.exporters import EXPORTERS
    from toolchain.passes import deployable

    ready, answers = deployable(graph), {}
    for format, (module, function) in EXPORTERS.items():
        try:
            getattr(importlib.import_module(module), function)(ready)
        except PocketGnnError as error:
            answers[format] = str(error)
        else:
            answers[format] = "supported"
    return answers


def cost_of(graph: Any, example: Any | None) -> dict[str, Any]:
    """Bytes and widths of the weights, and the operations of one inference on the example graph."""
    from toolchain.inputs import GraphInputs
    from toolchain.ir.operation_counts import GraphSizes, operation_counts, value_bits, value_counts, weight_bits
    from toolchain.ir.ops import Const, Linear
    from toolchain.passes import deployable

    ready = deployable(graph)
    linears = [v for v in ready.values if isinstance(v.op, Linear)]
    weights = {op.name for v in linears if isinstance(op := ready.values[v.inputs[1]].op, Const)}
    int8 = sum(array.size * (1 if name in weights else array.itemsize) for name, array in ready.constants.items())
    cost: dict[str, Any] = {
        "weight_bytes": ready.weight_bytes, "weight_bytes_int8": int8, "weight_bits": weight_bits(ready),
        "value_bits": value_bits(ready),
    }  # fmt: skip
    if example is None:
        return cost
    inputs = GraphInputs.from_pyg(example)
    sizes = GraphSizes.mean_of(ready.topologies, [inputs])
    counts = operation_counts(ready, sizes)
    dense = sum(value_counts(ready, v, sizes).macs for v in linears)
    return {
        **cost, "nodes": inputs.num_nodes, "edges": inputs.num_edges, "linear_macs": dense,
        "edge_macs": counts.macs - dense, **asdict(counts),
    }  # fmt: skip


def _layer_table(layers: list[Layer]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in ("layer", "type", "status", "parameters"):
        table.add_column(column, justify="right" if column == "parameters" else "left", no_wrap=True)
    styles = {"supported": "green", "unsupported": "bold red", "code": "dim"}
    for layer in layers:
        status = f"[{styles[layer.status]}]{layer.status}[/]"
        table.add_row(layer.path, layer.type, status, f"{layer.parameters:,}" if layer.parameters else "")
    return table


def _formats_text(formats: dict[str, str]) -> str:
    return "\n".join(f"{format:12} {answer}" for format, answer in formats.items()) + "\n"


def _cost_text(cost: dict[str, Any]) -> str:
    from toolchain.ir.operation_counts import short

    text = f"weights      {cost['weight_bytes']:,} B, {cost['weight_bytes_int8']:,} B with int8 weights; "
    text += f"{cost['weight_bits']:.3g} bits per weight, {cost['value_bits']:.3g} per value\n"
    if "nodes" in cost:
        text += (
            f"one graph    {cost['nodes']} nodes, {cost['edges']} edges: {cost['linear_macs']:,} multiply-adds in linears, "
            f"{cost['edge_macs']:,} along edges\n"
            f"operations   {short(cost['operations'])}; {short(cost['bit_operations'])} bit operations (x mean bits); "
            f"{short(cost['bops'])} by the product of bits, {short(cost['bops_sparse'])} without products of zeros\n"
        )
    return text
