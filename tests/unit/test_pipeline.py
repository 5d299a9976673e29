"""build: the steps of a recipe on a small model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import SAGEConv

import runtimes
import toolchain
from tests.small_model import write_model_file
from toolchain.compression import A2Q, QAT, DegreeQuant, Learned, Observed, Percentile
from toolchain.compression.bit_search import MixedPrecision
from toolchain.errors import ArtifactError, ExportError, MissingDependency, RecipeError
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, interpret
from toolchain.ir.ops import Propagate
from toolchain.model_source import GraphParts, ModelSource, parts_of
from toolchain.passes import deployable
from toolchain.pipeline import BuildResult, build, export_for
from toolchain.recipe import Recipe
from toolchain.step_methods import quantization

STEPS: list[Any] = [
    {"prune": {"amount": 0.5}},
    {"fine_tune": {"epochs": 1}},
    {"quantize": {"precisions": ["float32", "dynamic-int8", "static-int8"], "min_agreement": 0.5}},
    {"export": {"formats": ["onnx", "torchscript"]}},
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return ModelSource(str(write_model_file(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def parts(source: ModelSource) -> GraphParts:
    return parts_of(source.graphs())


def recipe(*steps: Any) -> Recipe:
    return Recipe.parse({"version": 1, "name": "small", "steps": list(steps)})


@pytest.fixture(scope="module")
def built(source: ModelSource, parts: GraphParts, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return build(source.model(), parts, recipe(*STEPS), tmp_path_factory.mktemp("out"))


def test_every_variant_is_exported_in_every_format(built: BuildResult) -> None:
    names = {entry.artifact.path.name for entry in built.artifacts}

    assert names == {
        f"small-{f}-{p}" for f in ("onnx", "torchscript") for p in ("float32", "dynamic-int8", "static-int8")
    }


def test_pruned_weights_stay_zero_to_the_end(built: BuildResult) -> None:
    for entry in built.artifacts:
        graph = entry.history[-1][1]
        assert any((array == 0).mean() > 0.4 for array in graph.constants.values() if array.ndim == 2)


@pytest.mark.parametrize("precision", ["float32", "static-int8"])
def test_a_recipe_says_on_which_side_aggregations_run(
    source: ModelSource, parts: GraphParts, tmp_path: Path, precision: str
) -> None:
    """Layer one has 5 channels before its Linear and 8 behind it, so the narrow side is before."""
    widths = {}
    for order in (None, "aggregate-first", "transform-first"):
        quantized = {
            "quantize": {"precisions": [precision], **({"min_agreement": 0.5} if "static" in precision else {})}
        }
        data = {"version": 1, "name": "small", "order": order, "steps": [quantized, {"export": {"formats": ["onnx"]}}]}
        made = build(source.model(), parts, Recipe.parse(data), tmp_path / str(order)).artifacts[0]
        ready = deployable(made.history[-1][1])
        widths[order] = [v.type.channels for v in ready.values if isinstance(v.op, Propagate)]
        inputs = GraphInputs.from_pyg(parts.test[0])
        expected, found = interpret(ready, inputs)[0], runtimes.load(made.artifact).run(inputs)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())

    assert widths == {None: [5, 8], "aggregate-first": [5, 8], "transform-first": [8, 8]}


def test_the_history_tells_the_steps_apart(built: BuildResult) -> None:
    steps = {entry.artifact.precision: [name for name, _ in entry.history] for entry in built.artifacts}

    assert steps["float32"] == ["lowering", "compression"]
    assert steps["static-int8"] == ["lowering", "compression", "quantization"]


def test_each_compression_step_reports_size_sparsity_and_accuracy(built: BuildResult) -> None:
    assert len(built.reports) == 4
    assert all(report.before.accuracy is not None for report in built.reports)


def test_the_artifacts_run(built: BuildResult, parts: GraphParts) -> None:
    inputs = GraphInputs.from_pyg(parts.test[0])
    for entry in built.artifacts:
        (logits,) = runtimes.load(entry.artifact.path).run(inputs)
        assert logits.shape == (1, 3)
        assert np.isfinite(logits).all()


def test_the_same_recipe_gives_the_same_bytes(
    source: ModelSource, parts: GraphParts, built: BuildResult, tmp_path: Path
) -> None:
    again = build(source.model(), parts, recipe(*STEPS), tmp_path)

    for first, second in zip(built.artifacts, again.artifacts, strict=True):
        assert first.artifact.files == second.artifact.files


def test_without_a_quantize_step_the_float_model_is_exported(
    source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    result = toolchain.build(source.model(), parts, recipe("export"), tmp_path)

    assert [entry.artifact.precision for entry in result.artifacts] == ["float32"]


def test_static_int8_may_be_trained_in_its_own_integers(source: ModelSource, parts: GraphParts, tmp_path: Path) -> None:
    quantize = {"quantize": {"precisions": ["static-int8"], "min_agreement": 0.5, "qat_epochs": 1}}

    result = build(source.model(), parts, recipe(quantize, {"export": {"formats": ["torchscript"]}}), tmp_path)

    assert [report.name for report in result.reports] == ["QAT int8, 1 epochs"]


def test_measuring_steps_need_someone_to_do_them(source: ModelSource, parts: GraphParts, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="pocketgnn run"):
        build(source.model(), parts, recipe("export", "verify"), tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_event_files_without_their_package_are_refused_before_anything_is_trained(
    source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    with pytest.raises(MissingDependency, match=r"pocketgnn\[tensorboard\]"):
        build(
            source.model(),
            parts,
            recipe({"fine_tune": {"epochs": 1}}),
            tmp_path / "out",
            tensorboard=tmp_path / "board",
        )
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_of_an_exporter_is_refused_before_anything_is_trained(
    source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    lines: list[str] = []
    steps = recipe({"fine_tune": {"epochs": 1}}, {"export": {"options": {"onnx": {"lowring": "dense"}}}})

    with pytest.raises(ExportError, match="lowring: no option of format onnx, which has lowering"):
        build(source.model(), parts, steps, tmp_path, progress=lines.append)
    assert lines == []


def test_an_existing_artifact_is_not_replaced_unasked(source: ModelSource, parts: GraphParts, tmp_path: Path) -> None:
    build(source.model(), parts, recipe("export"), tmp_path)

    with pytest.raises(ArtifactError, match="already exists"):
        build(source.model(), parts, recipe("export"), tmp_path)


@pytest.mark.parametrize(
    ("option", "value"), [("edge_arithmetic", "float"), ("edge_arithmetic", "integer"), ("weight_bits", 4)]
)
def test_options_of_the_quantize_step_reach_the_quantizer(parts: GraphParts, option: str, value: object) -> None:
    (step,) = recipe({"quantize": {option: value, "qat_epochs": 1}}).steps
    method = quantization("static-int8", step, parts, seed=0)

    assert isinstance(method, QAT) and getattr(method.static, option) == value


def test_a_search_in_the_qat_part_chooses_the_bits(parts: GraphParts) -> None:
    search = {
        "method": "optuna",
        "budget": 0.1,
        "widths": {"*": [4, 8]},
        "trials": 7,
        "storage": "trials.log",
        "workers": 2,
    }
    (step,) = recipe({"quantize": {"qat": {"epochs": 3, "search": search}}}).steps
    method = quantization("static-int8", step, parts, seed=0)

    assert isinstance(method, MixedPrecision)
    assert (method.search, method.budget, method.widths, method.trials, method.workers) == (
        "optuna", 0.1, {"*": [4, 8]}, 7, 2,
    )  # fmt: skip
    assert method.qat.epochs == 3 and list(method.validation) == list(parts.validation)


def test_the_qat_part_of_a_quantize_step_names_the_training(parts: GraphParts) -> None:
    stated = {
        "epochs": 3, "lr": 0.01, "estimator": "observed", "observer": "percentile", "bits": {"*": 8, "*.weight": 4},
        "degree_quant": {"change": 0.2, "linears": False}, "dropout": {"x": 0.5}, "distill": {"weight": 5}, "keep_best": True,
    }  # fmt: skip
    (step,) = recipe({"quantize": {"qat": stated}}).steps
    method = quantization("static-int8", step, parts, seed=0)

    assert isinstance(method, QAT)
    assert (method.epochs, method.lr, method.validation) == (3, 0.01, parts.validation)
    assert method.quantizers == {"*": Observed(8, Percentile()), "*.weight": Observed(4, Percentile())}
    assert method.degree_quant == DegreeQuant(0.0, 0.2, linears=False) and method.dropout == {"x": 0.5}
    assert method.distillation is not None and method.distillation.weight == 5


def test_groups_of_nodes_stand_for_every_value_that_no_other_pattern_names(parts: GraphParts) -> None:
    stated = {
        "estimator": "learned", "bits": {"*": 8, "*weight": 4}, "a2q": {"groups": [2, 8], "mean_bits": 2, "local": True},
    }  # fmt: skip
    (step,) = recipe({"quantize": {"qat": stated}}).steps
    method = quantization("static-int8", step, parts, seed=0)

    assert isinstance(method, QAT)
    expected = A2Q(4, "degree", (2, 8), mean_bits=2, local=True, others=Learned(8))
    assert list(method.quantizers.items()) == [("*", expected), ("*weight", Learned(4))]


def test_training_with_learned_widths_and_a_teacher_runs_in_a_recipe(
    source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    training = {"epochs": 1, "lr": 0.001, "estimator": "learned", "bits": {"*": 4}, "distill": {}}
    quantize = {"quantize": {"min_agreement": 0.5, "qat": training}}

    result = build(source.model(), parts, recipe(quantize, {"export": {"formats": ["c"]}}), tmp_path)

    values = result.variants["static-int8"][-1][1].values
    assert {v.type.qparams.bits for v in values if v.type.dtype is DType.I8 and v.type.qparams is not None} == {4}


@pytest.mark.parametrize(
    ("qat", "message"),
    [
        ({"bits": {"*": 9}}, "bits"),
        ({"observer": "minmax"}, "observer belongs to estimator observed; this step has fixed"),
        ({"estimator": "learned", "gradient": "clipped"}, "gradient belongs to estimator fixed or observed"),
        ({"degree_quant": {"p_min": 2}}, "degree_quant.p_min"),
        ({"dropout": {"x": 1}}, "dropout.x"),
        ({"epoch": 3}, "epoch"),
        ({"a2q": {}, "degree_quant": {}}, "degree_quant stands beside a2q"),
        ({"a2q": {"choice": "nearest", "groups": [2]}}, "choice nearest takes their number"),
        ({"a2q": {"groups": [3, 2]}}, "do not ascend"),
        ({"a2q": {"penalty": 2}}, "penalty belongs to mean_bits"),
        ({"lr": float("inf")}, "qat.lr: Input should be a finite number"),
        ({"search": {"widths": [0, 4]}}, r"search\.widths\.\*\.0: Input should be 1, 2, "),
        ({"search": {"widths": {"*": []}}}, r"search\.widths\.\*: List should have at least 1 item"),
        ({"search": {"method": "optuna", "workers": 2}}, "workers: 2 without a storage"),
    ],
)
def test_malformed_training_is_refused_with_its_place(qat: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe({"quantize": {"qat": qat}})


def test_training_without_the_variant_that_it_trains_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"steps\.0\.quantize: qat is of static-int8, but precisions are float32\."):
        recipe({"quantize": {"precisions": ["float32"], "qat": {"epochs": 1}}})


def test_two_ways_of_naming_the_epochs_are_refused() -> None:
    with pytest.raises(RecipeError, match="qat_epochs: 3 stands beside qat"):
        recipe({"quantize": {"qat": {"epochs": 2}, "qat_epochs": 3}})


@pytest.mark.parametrize(("scale", "form"), [(1.0, "binary"), (0.5, "values")])
def test_features_that_the_user_gives_sparse_stay_sparse(scale: float, form: str, tmp_path: Path) -> None:
    parts, graph = sparse_parts(scale), lower(SAGEConv(6, 2), DENSE)
    said: list[str] = []

    artifact = export_for(parts, graph, "onnx", tmp_path / "model", said.append)

    assert artifact.provenance["sparse_features"] == form
    assert not said


def test_sparse_features_are_made_dense_and_it_is_said_where_the_model_reads_whole_rows(tmp_path: Path) -> None:
    parts, graph = sparse_parts(1.0), lower(SAGEConv(6, 2, aggr="max"), DENSE)
    said: list[str] = []

    artifact = export_for(parts, graph, "onnx", tmp_path / "model", said.append)

    assert "sparse_features" not in artifact.provenance
    assert len(said) == 1
    assert "features stay dense (sparse features: Propagate" in said[0]


DENSE = Data(x=torch.eye(6), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]))  # SAGEConv itself gathers no sparse rows


def sparse_parts(scale: float) -> GraphParts:
    graph = Data(x=scale * torch.eye(6).to_sparse_csr(), edge_index=DENSE.edge_index)
    return GraphParts([graph], [graph], [graph])
