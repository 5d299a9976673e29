"""plans: every way to deploy a model, each once; size buckets; predictions from counts of work."""

from __future__ import annotations

import numpy as np
import pytest

from device_benchmarks.lowering_study import protein_like
from device_benchmarks.planner.cost_model import CONSTANTS, CostModel, constants_key, work
from device_benchmarks.planner.plan import (
    DENSE,
    FORMATS,
    NEIGHBOURS,
    ROWS,
    SCATTER,
    SPMM,
    Plan,
    default_plan,
    orders,
    plans,
)
from device_benchmarks.planner.size_buckets import size_buckets
from tests.cases import MODELS, example
from toolchain.errors import ExportError, InvalidInput
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir.ops import Linear, Order, Propagate
from toolchain.passes import deployable
from toolchain.passes.propagate_ordering import with_order

BOUNDS = Bounds(64, 256, 1, 16)


def lowered(name: str):  # type: ignore[no-untyped-def]  # a Graph
    return lower(MODELS[name](), example(name))


def graph_of(nodes: int, edges: int = 0) -> GraphInputs:
    return GraphInputs(np.zeros((nodes, 1)), np.zeros((2, edges), np.int64))


def test_every_plan_has_a_name_of_its_own_and_the_default_comes_first() -> None:
    graph = lowered("gcn_graph")
    found = plans(graph, FORMATS, ("float32", "dynamic-int8"), BOUNDS)

    assert len({plan.name for plan in found}) == len(found)
    assert found[0] == default_plan("onnx", deployable(graph), BOUNDS)
    assert {plan.format for plan in found} == set(FORMATS)


@pytest.mark.parametrize("model", ["gcn_graph", "sage_max", "gat_concat", "mlp_only"])
def test_the_default_plan_is_what_export_makes_unless_told(model: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Byte for byte, so that what a plan is compared with is what a user has."""
    graph = lowered(model)
    for format in ("onnx", "litert", "torchscript"):
        plan = default_plan(format, deployable(graph), BOUNDS)
        ours = export(graph, format, tmp_path / format / "plan", **plan.export_options(BOUNDS))
        theirs = export(graph, format, tmp_path / format / "default")
        assert ours.model_path.read_bytes() == theirs.model_path.read_bytes()


@pytest.mark.parametrize("model", ["gcn_graph", "sage_mean", "gat_concat", "sage_max", "mlp_only"])
def test_every_plan_of_every_kind_of_model_can_be_exported_and_predicted(model: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    graph, costs = lowered(model), CostModel.load()
    inputs = GraphInputs.from_pyg(example(model))
    for plan in plans(graph, FORMATS, ("float32",), BOUNDS):
        ready = deployable(with_order(graph, plan.order))
        assert costs.predict_us(plan, ready, inputs) > 0
        if plan.format not in ("executorch", "c"):  # as for these, whose files take long to make, in their own suites
            export(ready, plan.format, tmp_path / plan.name, **plan.export_options(BOUNDS))


def test_lowerings_that_a_model_does_not_differ_in_are_no_plans() -> None:
    assert {plan.lowering for plan in plans(lowered("mlp_only"), FORMATS, ("float32",), BOUNDS)} == {""}
    with pytest.raises(ExportError, match="dense"):
        export(lowered("sage_max"), "onnx", "nowhere", lowering="dense")
    assert "dense" not in {plan.lowering for plan in plans(lowered("sage_max"), ("onnx",), ("float32",), BOUNDS)}


def test_the_sparse_product_is_a_plan_where_a_format_has_it_and_a_model_sums_neighbours() -> None:
    def formats(model: str) -> set[str]:
        return {plan.format for plan in plans(lowered(model), FORMATS, ("float32",), BOUNDS) if plan.lowering == "spmm"}

    assert formats("gcn_graph") == formats("sage_mean") == {"onnx", "executorch"}
    assert formats("gat_concat") == formats("sage_max") == set()


def test_orders_that_come_to_the_same_are_one() -> None:
    assert orders(lowered("gat_concat")) == [None]
    assert orders(lowered("gcn_graph")) == [None, Order.TRANSFORM_FIRST]  # the narrow side is the first


def test_onnx_may_switch_lowerings_at_any_of_the_sizes_asked_for() -> None:
    found = plans(lowered("gcn_graph"), ("onnx",), ("float32",), BOUNDS, sizes=(20, 90, 300, 600))

    # 112 parts 90 from 300, as the default does; 600 would be dense for all
    assert {plan.dense_up_to_nodes for plan in found if plan.lowering == "auto"} == {None, 20, 300}


def test_a_plan_knows_how_its_aggregations_run_on_a_size() -> None:
    auto = Plan("onnx", lowering="auto", dense_up_to_nodes=50)
    assert (auto.kind(50, 200), auto.kind(51, 200)) == (DENSE, SCATTER)
    assert Plan("torchscript", lowering="auto").kind(40, 100) == DENSE
    assert Plan("torchscript", lowering="auto").kind(41, 100) == SCATTER
    assert Plan("executorch").kind(10, 20) == NEIGHBOURS
    assert Plan("executorch", lowering="spmm").kind(10, 20) == Plan("onnx", lowering="spmm").kind(10, 20) == SPMM


def test_work_counts_what_each_lowering_visits() -> None:
    graph, inputs = deployable(lowered("gcn_graph")), protein_like(20)
    inputs = GraphInputs(np.ones((20, graph.inputs[0].type.channels)), inputs.edge_index)
    topology = inputs.prepare(graph.topologies).topologies[0]
    channels = [v.type.channels for v in graph.values if isinstance(v.op, Propagate)]
    places = {
        DENSE: 400,
        SCATTER: topology.num_edges,
        SPMM: topology.num_edges,
        NEIGHBOURS: 20 * int(topology.in_degree.max()),
    }
    for kind, visited in places.items():
        counts = work(graph, inputs, kind)
        assert counts[4:].tolist() == [visited * sum(channels), visited * len(channels)]
        assert counts[2] == sum(
            (1 if v.type.domain.value == "graph" else 20) * int(np.prod(graph.values[v.inputs[1]].type.shape))
            for v in graph.values
            if isinstance(v.op, Linear)
        )


def test_the_constants_that_come_with_the_package_cover_every_kind_of_every_format() -> None:
    known = CostModel.load(CONSTANTS).constants

    kinds = {
        "onnx": (DENSE, SCATTER, SPMM), "torchscript": (DENSE, SCATTER), "litert": (DENSE, SCATTER),
        "executorch": (DENSE, SCATTER, NEIGHBOURS, SPMM), "c": (ROWS,),
    }  # fmt: skip
    assert set(known) == {constants_key(format, kind) for format, of in kinds.items() for kind in of}
    assert all((values >= 0).all() and values.any() for values in known.values())


def test_buckets_hold_as_many_graphs_each_and_equal_sizes_stay_together() -> None:
    graphs = [graph_of(nodes) for nodes in (9, 1, 2, 3, 3, 3, 3, 8, 7)]

    found = size_buckets(graphs, 3)

    assert [(bucket.up_to, bucket.graph.num_nodes) for bucket in found] == [(3, 3), (9, 8)]
    assert [bucket.share for bucket in found] == [pytest.approx(6 / 9), pytest.approx(3 / 9)]
    assert [bucket.up_to for bucket in size_buckets([graph_of(5)], 3)] == [5]
    with pytest.raises(InvalidInput, match="no sample graphs"):
        size_buckets([], 3)
