"""From nodes to graphs: the global pooling functions and PyG's aggregation modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch_geometric.nn import aggr

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.index_symbols import GraphIndex, GraphPointer
from toolchain.frontend.registry import lowers, lowers_graph_function
from toolchain.frontend.symbols import Count, Rows
from toolchain.ir.ops import Pool, Reduce
from toolchain.ir.types import Domain

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


def pool(lowering: Lowering, name: str, x: Any, batch: Any, size: Any, reduce: Reduce) -> Rows:
    """Reduce the nodes of each graph; without batch, all nodes are one graph."""
    if not isinstance(x, Rows) or x.rank != 2 or x.domain is not Domain.NODE:
        raise lowering.refuse_use(name, "x must be node values of shape [N, channels]")
    if batch is None:
        require_single_graph(lowering, name)
    elif not isinstance(batch, GraphIndex | GraphPointer):
        raise lowering.refuse_use(name, "it must reduce over the batch (or ptr) that forward was given")
    is_count = isinstance(size, Count) and size.domain is Domain.GRAPH
    is_one_graph = batch is None or (isinstance(batch, GraphIndex) and batch.is_single)
    if not (size is None or is_count or (is_one_graph and not isinstance(size, Count) and size == 1)):
        raise lowering.refuse_use(
            f"{name} with size {size!r}", "leave it out, or pass the number of graphs of the batch"
        )
    return lowering.rows(Pool(reduce), x.value)


def require_single_graph(lowering: Lowering, name: str) -> None:
    """Refuse a reduction over all nodes of several graphs: a Graph reduces each graph for itself."""
    if lowering.inputs.num_graphs > 1:
        raise lowering.refuse_use(
            f"{name} over all nodes of a batch",
            f"the example holds {lowering.inputs.num_graphs} graphs. Pool with `batch`",
        )


@lowers_graph_function("torch_geometric.global_add_pool")
def global_add_pool(lowering: Lowering, x: Any, batch: Any, size: Any = None) -> Rows:
    return pool(lowering, "global_add_pool", x, batch, size, Reduce.SUM)


@lowers_graph_function("torch_geometric.global_mean_pool")
def global_mean_pool(lowering: Lowering, x: Any, batch: Any, size: Any = None) -> Rows:
    return pool(lowering, "global_mean_pool", x, batch, size, Reduce.MEAN)


@lowers_graph_function("torch_geometric.global_max_pool")
def global_max_pool(lowering: Lowering, x: Any, batch: Any, size: Any = None) -> Rows:
    return pool(lowering, "global_max_pool", x, batch, size, Reduce.MAX)


@lowers(aggr.SumAggregation)
def sum_aggregation(call: LayerCall) -> Rows:
    return _aggregation(call, Reduce.SUM)


@lowers(aggr.MeanAggregation)
def mean_aggregation(call: LayerCall) -> Rows:
    return _aggregation(call, Reduce.MEAN)


@lowers(aggr.MaxAggregation)
def max_aggregation(call: LayerCall) -> Rows:
    return _aggregation(call, Reduce.MAX)


@lowers(aggr.MinAggregation)
def min_aggregation(call: LayerCall) -> Rows:
    return _aggregation(call, Reduce.MIN)


@lowers(aggr.MulAggregation)
def mul_aggregation(call: LayerCall) -> Rows:
    return _aggregation(call, Reduce.PRODUCT)


def _aggregation(call: LayerCall, reduce: Reduce) -> Rows:
    from toolchain.frontend.graph_functions import reduce_by_index

    dim = call.get("dim")
    index = call.get("index") if call.get("index") is not None else call.get("ptr")
    if index is None:
        return pool(call.lowering, call.cls.__name__, call.rows("x"), None, call.get("dim_size"), reduce)
    name, x = call.cls.__name__, call.get("x")
    return reduce_by_index(call.lowering, name, x, index, -2 if dim is None else dim, call.get("dim_size"), reduce)


@lowers(aggr.StdAggregation)
def std_aggregation(call: LayerCall) -> Rows:
    """Root of the variance, and 0 where that is below 1e-5: compared before the root, which runtimes round differently."""
    variance = call.layer.var_aggr(**call.given)
    is_some = variance > 1e-5
    return torch.where(is_some, variance.clamp(min=1e-5).sqrt(), 0.0)  # type: ignore[return-value]  # symbols


@lowers(aggr.MultiAggregation)
def multi_aggregation(call: LayerCall) -> Rows:
    """Each aggregation for itself, then combined; PyG's fused form computes the same."""
    return call.layer.combine([aggregation(**call.given) for aggregation in call.layer.aggrs])
