"""Functions of torch_scatter in a model's own code lower, whether or not PyG's own are used beside them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from tests.cases import FEATURES, GRAPHS
from tests.parity import assert_close
from toolchain.errors import UnsupportedModule
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir.reference import interpret

# torch_scatter 2.1.2 as far as the models below go: its signatures and its results, by torch's own functions. It is a
# source build, which few machines have; where it is installed, the real one is tested.
SUBSTITUTE = """
import torch

def scatter(src, index, dim=-1, out=None, dim_size=None, reduce="sum"):
    assert dim in (0, -src.dim()) and out is None
    dim_size = int(index.max()) + 1 if dim_size is None else dim_size
    index = index.view(-1, *[1] * (src.dim() - 1)).expand_as(src)
    kind = {"sum": "sum", "add": "sum", "mean": "mean", "max": "amax", "min": "amin", "mul": "prod"}[reduce]
    start = torch.full((dim_size, *src.shape[1:]), float(reduce == "mul"))
    return start.scatter_reduce(0, index, src, kind, include_self=False)

def scatter_sum(src, index, dim=-1, out=None, dim_size=None): return scatter(src, index, dim, out, dim_size, "sum")
def scatter_add(src, index, dim=-1, out=None, dim_size=None): return scatter(src, index, dim, out, dim_size, "sum")
def scatter_mul(src, index, dim=-1, out=None, dim_size=None): return scatter(src, index, dim, out, dim_size, "mul")
def scatter_mean(src, index, dim=-1, out=None, dim_size=None): return scatter(src, index, dim, out, dim_size, "mean")
def scatter_max(src, index, dim=-1, out=None, dim_size=None): return scatter(src, index, dim, out, dim_size, "max"), index
def scatter_min(src, index, dim=-1, out=None, dim_size=None): return scatter(src, index, dim, out, dim_size, "min"), index

def scatter_softmax(src, index, dim=-1, dim_size=None):
    e = (src - src.max()).exp()
    return e / scatter_sum(e, index, dim)[index]

def segment_csr(src, indptr, out=None, reduce="sum"):
    return scatter(src, gather_csr(torch.arange(len(indptr) - 1), indptr), 0, out, len(indptr) - 1, reduce)

def segment_mean_csr(src, indptr, out=None): return segment_csr(src, indptr, out, "mean")
def segment_max_csr(src, indptr, out=None): return segment_csr(src, indptr, out, "max"), indptr
def gather_csr(src, indptr, out=None): return src.repeat_interleave(indptr[1:] - indptr[:-1], dim=0)
"""


@pytest.fixture
def torch_scatter(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    if importlib.util.find_spec("torch_scatter") is not None:
        yield pytest.importorskip("torch_scatter")
        return
    module = ModuleType("torch_scatter")
    exec(SUBSTITUTE, vars(module))
    monkeypatch.setitem(sys.modules, "torch_scatter", module)
    yield module


class Model(nn.Module):
    """A forward given as a function of the torch_scatter module and the data object."""

    def __init__(self, library: ModuleType, body: Callable[[Any, Data], Any]) -> None:
        super().__init__()
        self.call = lambda data: body(library, data)

    def forward(self, data: Data) -> Any:
        return self.call(data)


def source_message(d: Data) -> Tensor:
    return d.x[d.edge_index[0]]


BODIES: dict[str, Callable[[Any, Data], Any]] = {
    "scatter to targets": lambda s, d: s.scatter(source_message(d), d.edge_index[1], dim=0, dim_size=d.x.size(0)),
    "scatter to sources": lambda s, d: s.scatter(d.x[d.edge_index[1]], d.edge_index[0], 0, None, d.num_nodes, "mean"),
    "scatter by graph": lambda s, d: s.scatter(d.x, d.batch, dim=0, reduce="max"),
    "scatter of vectors": lambda s, d: s.scatter(d.x[:, 0], d.batch, reduce="min"),
    "scatter_sum": lambda s, d: s.scatter_sum(source_message(d), d.edge_index[1], dim=0, dim_size=d.num_nodes),
    "scatter_add": lambda s, d: s.scatter_add(d.x, d.batch, dim=0),
    "scatter_mean": lambda s, d: s.scatter_mean(d.x, d.batch, dim=-2, dim_size=d.num_graphs),
    "scatter_max": lambda s, d: s.scatter_max(source_message(d), d.edge_index[1], dim=0, dim_size=d.num_nodes)[0],
    "scatter_min": lambda s, d: s.scatter_min(d.x, d.batch, dim=0)[0],
    "scatter_mul": lambda s, d: s.scatter_mul(d.x[d.edge_index[0]], d.edge_index[1], dim=0, dim_size=d.num_nodes),
    "scatter_softmax": lambda s, d: s.scatter_sum(
        s.scatter_softmax(source_message(d), d.edge_index[1], dim=0), d.edge_index[1], dim=0, dim_size=d.num_nodes
    ),
    "segment_csr": lambda s, d: s.segment_csr(d.x, d.ptr),
    "segment_csr mean": lambda s, d: s.segment_csr(d.x, d.ptr, reduce="mean"),
    "segment_mean_csr": lambda s, d: s.segment_mean_csr(d.x, d.ptr),
    "segment_max_csr": lambda s, d: s.segment_max_csr(d.x, d.ptr)[0],
    "gather_csr": lambda s, d: d.x - s.gather_csr(s.segment_csr(d.x, d.ptr), d.ptr),
}


def batch_of(*names: str) -> Data:
    return Batch.from_data_list([GRAPHS[name](FEATURES) for name in names])


@pytest.mark.parametrize("name", BODIES)
def test_torch_scatter_function_equals_itself_after_lowering(torch_scatter: ModuleType, name: str) -> None:
    model = Model(torch_scatter, BODIES[name]).eval()
    graph = lower(model, batch_of("hub", "self_loops"))
    for other in (batch_of("ring", "single_node", "repeated_edges"), batch_of("random_60")):
        assert_close(interpret(graph, GraphInputs.from_pyg(other)), run_model(model, other))


REFUSED: dict[str, tuple[Callable[[Any, Data], Any], str]] = {
    "positions of maxima": (
        lambda s, d: d.x + s.scatter_max(d.x[:, 0], d.batch, dim=0)[1].sum(), "the positions that scatter_max returns"
    ),
    "edges without size": (lambda s, d: s.scatter(source_message(d), d.edge_index[1], dim=0), "Pass dim_size=x.size(0)"),
    "pointer that is no ptr": (lambda s, d: s.segment_csr(d.x, torch.tensor([0, 17])), "indptr must be the ptr"),
    "computed index": (lambda s, d: s.scatter(d.x, d.batch + 1, dim=0), "got batch"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_use_of_torch_scatter_is_refused(torch_scatter: ModuleType, name: str) -> None:
    body, message = REFUSED[name]
    with pytest.raises(UnsupportedModule) as caught:
        lower(Model(torch_scatter, body).eval(), batch_of("hub", "self_loops"))
    assert message in str(caught.value)
