"""Features given by their entries: every model of the zoo that can read them so means the same, in every format that can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

import runtimes
import toolchain
from tests import cases, zoo_parity
from tests.parity import assert_close
from toolchain.compression import DynamicInt8, StaticInt8, quantize
from toolchain.errors import ExportError, InvalidInput
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.models import GCN
from toolchain.passes import deployable
from toolchain.passes.propagate_ordering import with_features_transformed_first

WIDE = 40  # features, so many that aggregation comes after the first Linear as well when nothing is said
DYNAMIC = {"onnx": 1e-3, "litert": 6e-2}  # LiteRT quantizes each row that a dense Linear reads over its own range
FORMATS = ("onnx", "litert", "torchscript")
READ_ENTRIES = (
    "gat_concat", "gatv2", "gcn_graph", "gcn_weighted", "gin_graph", "mlp_only", "pyg_gcn_jk", "residual_layernorm", "sage_mean",
    "scatter_functions",
)  # fmt: skip


def sparse(inputs: GraphInputs, form: str, share: float = 0.3) -> GraphInputs:
    """The graph with most features 0, also those of its first node, and the others 1 where they are to be binary."""
    x = inputs.x * (np.random.default_rng(0).random(inputs.x.shape) < share)
    x[0] = 0
    x = x != 0 if form == "binary" else x
    return GraphInputs(x, inputs.edge_index, inputs.edge_weight, inputs.edge_attr, inputs.batch, inputs.num_graphs)


def zoo(model: str, form: str) -> dict[str, GraphInputs]:
    if model == "wide_gcn":
        graphs = {name: GraphInputs.from_pyg(make(WIDE)) for name, make in cases.GRAPHS.items()}
    else:
        graphs = zoo_parity.zoo(model)
    return {name: sparse(graph, form) for name, graph in graphs.items()} | {
        "no_entries": sparse(graphs["ring"], form, share=0.0)
    }


def lowered(model: str) -> Graph:
    if model == "wide_gcn":
        torch.manual_seed(0)
        return lower(GCN(WIDE, 3, hidden=8, layers=2).eval(), cases.GRAPHS["batch_of_three"](WIDE), name=model)
    return zoo_parity.lowered(model)


def check(graph: Graph, format: str, folder: Path, form: str, tolerance: float, **options: str) -> None:
    runtime = runtimes.load(export(graph, format, folder, sparse_features=form, **options))
    assert "x" not in [feed.name for feed in runtime.artifact.signature.inputs]
    for inputs in zoo(graph.name, form).values():
        assert_close(runtime.run(inputs), interpret(graph, inputs), tolerance)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", READ_ENTRIES)
def test_binary_features_by_their_ones_give_the_same(model: str, format: str, tmp_path: Path) -> None:
    check(lowered(model), format, tmp_path / "model", "binary", 1e-5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("model", ["gcn_graph", "gin_graph", "sage_mean", "gat_concat"])
def test_features_by_their_entries_give_the_same(model: str, format: str, tmp_path: Path) -> None:
    check(lowered(model), format, tmp_path / "model", "values", 1e-5)


@pytest.mark.parametrize("form", ["binary", "values"])
@pytest.mark.parametrize("model", ["gcn_graph", "gin_graph", "wide_gcn"])
def test_the_operator_of_onnxruntime_adds_the_same_rows(model: str, form: str, tmp_path: Path) -> None:
    check(lowered(model), "onnx", tmp_path / "model", form, 1e-5, lowering="spmm")


def test_the_operator_adds_integer_weights_as_whole_numbers(tmp_path: Path) -> None:
    graph = quantize(lowered("wide_gcn"), DynamicInt8())
    check(graph, "onnx", tmp_path / "model", "binary", DYNAMIC["onnx"], lowering="spmm")


@pytest.mark.parametrize("format", ["onnx", "litert"])
@pytest.mark.parametrize("model", ["wide_gcn", "gat_concat"])
def test_dynamic_int8_weights_are_added_for_binary_features(model: str, format: str, tmp_path: Path) -> None:
    check(quantize(lowered(model), DynamicInt8()), format, tmp_path / "model", "binary", DYNAMIC[format])


@pytest.mark.parametrize("format", ["onnx", "litert"])
@pytest.mark.parametrize("mode", ["int8", "sums-int16"])
@pytest.mark.parametrize("model", ["wide_gcn", "gat_concat"])
def test_static_int8_weights_are_added_for_binary_features(model: str, mode: str, format: str, tmp_path: Path) -> None:
    method = StaticInt8(list(zoo(model, "binary").values()), mode=mode, min_agreement=0.01)  # type: ignore[arg-type]
    check(quantize(lowered(model), method), format, tmp_path / "model", "binary", 3e-2)


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_sums_of_codes_differ_by_no_more_than_the_rounding_of_one(format: str, tmp_path: Path) -> None:
    """The integer reference rounds a fixed-point product, these formats a float one; the sums before it are the same."""
    graphs = list(zoo("mlp_only", "binary").values())
    quantized = quantize(lowered("mlp_only"), StaticInt8(graphs, "int8", min_agreement=0.01))
    rows = runtimes.load(export(quantized, format, tmp_path / "rows"))
    entries = runtimes.load(export(quantized, format, tmp_path / "entries", sparse_features=True))
    for graph in graphs:
        assert_close(entries.run(graph), rows.run(graph), 1e-2)


@pytest.mark.parametrize("format", [*FORMATS, "c"])
@pytest.mark.parametrize("model", ["sage_max", "gine_edge_attr"])
def test_models_that_read_whole_rows_are_refused_by_name(model: str, format: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"sparse features: .* reads x as rows of numbers"):
        export(lowered(model), format, tmp_path / "model", sparse_features=True)


@pytest.mark.parametrize("format", FORMATS)
def test_entries_other_than_one_are_refused_by_a_file_for_ones(format: str, tmp_path: Path) -> None:
    runtime = runtimes.load(export(lowered("gcn_graph"), format, tmp_path / "model", sparse_features=True))
    with pytest.raises(InvalidInput, match=r"x: .* at \[\d+, \d+\], but the model was exported with sparse features"):
        runtime.run(zoo("gcn_graph", "values")["ring"])


def test_integer_weights_take_no_other_entries_than_ones(tmp_path: Path) -> None:
    graph = quantize(lowered("mlp_only"), DynamicInt8())
    with pytest.raises(ExportError, match="integer weights, which are summed as integers for features of 0 and 1 only"):
        export(graph, "onnx", tmp_path / "model", sparse_features="values")


def test_packed_weights_of_torchscript_take_whole_rows_only(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="packed int8 weights read whole rows"):
        export(quantize(lowered("mlp_only"), DynamicInt8()), "torchscript", tmp_path / "model", sparse_features=True)


@pytest.mark.parametrize(("format", "option", "words"), [
    ("onnx", "some", "sparse_features 'some' is unknown"),
    ("c", "values", "C reads features of 0 and 1 only"),
    ("executorch", True, "sparse_features: no option of format executorch"),
])  # fmt: skip
def test_forms_that_a_format_lacks_are_refused(format: str, option: bool | str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=words):
        export(lowered("gcn_graph"), format, tmp_path / "model", sparse_features=option)


def test_wide_layers_are_transformed_before_they_are_aggregated(tmp_path: Path) -> None:
    """Aggregating first costs less here, but would fill the rows of x."""
    graph = lowered("gin_graph")
    assert "Propagate(%0" in str(deployable(graph))
    assert "Propagate(%0" not in str(deployable(with_features_transformed_first(graph)))
    assert toolchain.export(graph, "onnx", tmp_path / "model", sparse_features=True).model_bytes


class Categories(torch.nn.Module):
    """Node categories in two columns, each with a table of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(count, 8) for count in (5, 3))
        self.conv = GCNConv(8, 4)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.conv(self.tables[0](x[:, 0]) + self.tables[1](x[:, 1]), edge_index)


class OneHot(torch.nn.Module):
    """The same on one-hot features."""

    def __init__(self, model: Categories) -> None:
        super().__init__()
        self.table = torch.nn.Linear(8, 8, bias=False)
        self.table.weight = torch.nn.Parameter(torch.cat([table.weight for table in model.tables]).t().contiguous())
        self.conv = model.conv

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.conv(self.table(x), edge_index)


@pytest.mark.parametrize("format", ["c", *FORMATS])
def test_tables_of_categories_are_linears_on_one_hot_features(format: str, tmp_path: Path) -> None:
    """The way out that the refusal of torch.nn.Embedding names."""
    torch.manual_seed(0)
    model = Categories().eval()
    x, edge_index = torch.tensor([[0, 2], [4, 0], [1, 1], [4, 2]]), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 3]])
    hot = torch.cat([torch.nn.functional.one_hot(x[:, 0], 5), torch.nn.functional.one_hot(x[:, 1], 3)], 1).float()
    graph = lower(OneHot(model).eval(), Data(x=hot, edge_index=edge_index))

    bounds = {"bounds": Bounds(4, 8, 1)} if format == "c" else {}
    runtime = runtimes.load(export(graph, format, tmp_path / "model", sparse_features="binary", **bounds))

    assert_close(runtime.run(GraphInputs(hot.numpy(), edge_index.numpy())), (model(x, edge_index).detach().numpy(),))
