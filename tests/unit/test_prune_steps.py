"""The prune steps of recipes: a schema per method, and contradictions refused before anything is trained."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from tests.small_model import MODEL_FILE, write_model_file
from toolchain.compression import ECS, SNIP, BoGP, Iterative, L1Blocks, L1Unstructured, StructuredChannels
from toolchain.compression.pruning import PruningMethod
from toolchain.errors import RecipeError
from toolchain.model_source import GraphParts, ModelSource, parts_of
from toolchain.pipeline import build
from toolchain.prune_steps import METHODS, Prune, PruneBogp, PruneChannels, PruneSnip
from toolchain.pruning_methods import pruning
from toolchain.recipe import Recipe


def parsed(*steps: Any) -> Recipe:
    return Recipe.parse({"version": 1, "steps": list(steps)})


# --- what a step may say ---


def test_the_method_chooses_the_schema():
    recipe = parsed(
        "prune", {"prune": {"method": "snip", "density": 0.25, "at_initialization": True}},
        {"prune": {"method": "bogp", "amounts": [0.5, 0.9], "alpha": 0.2}},
        {"prune": {"method": "channels", "channels": 4, "heads": "heads"}},
    )  # fmt: skip

    assert recipe.steps == [
        Prune(), PruneSnip(method="snip", amount=0.75, at_initialization=True),
        PruneBogp(method="bogp", amounts=[0.5, 0.9], alpha=0.2),
        PruneChannels(method="channels", channels=4, heads="heads"),
    ]  # fmt: skip
    assert Recipe.parse(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "l3"}, r"steps\.0\.prune\.method: 'l3' is no method, expected one of l1, blocks, snip"),
        ({"method": "snip", "amnt": 0.5}, r"steps\.0\.prune\.amnt: unknown key"),
        ({"heads": "heads"}, r"steps\.0\.prune\.heads: belongs to method channels, not to l1"),
        (
            {"method": "channels", "amount": 0.5, "scope": "layer"},
            r"scope: belongs to method l1 and blocks and snip and ecs",
        ),
        ({"amount": 0.5, "density": 0.5}, "amount 0.5 and density 0.5 contradict each other"),
        ({"density": 0}, r"density: 0, expected a share in \(0, 1\)"),
        ({"density": 1.0}, r"density: 1\.0, expected a share in \(0, 1\)"),
        ({"density": "10%"}, "density: '10%'"),
        ({"method": "snip", "amount": 0.0}, r"steps\.0\.prune\.amount: .*greater than 0"),
        ({"method": "ecs", "amount": 1.0}, r"steps\.0\.prune\.amount: .*less than 1"),
        ({"method": "blocks", "amount": 1.5}, r"steps\.0\.prune\.amount: .*less than 1"),
        ({"rounds": 5}, "rounds 5 and epochs 0 contradict each other"),
        ({"epochs": 5}, "rounds 1 and epochs 5 contradict each other"),
        ({"amount": 0.0}, r"steps\.0\.prune\.amount: .*greater than 0"),
        ({"method": "ecs", "epochs": 0}, r"steps\.0\.prune\.epochs"),
        ({"method": "bogp", "amount": 0.5, "amounts": [0.5, 0.9]}, "contradict each other"),
        ({"method": "bogp", "alpha": 0.5}, "one amount fixes the sparsity"),
        ({"method": "bogp", "nodes": 1}, r"steps\.0\.prune\.nodes"),
        ({"method": "channels"}, "give one of them"),
        ({"method": "channels", "amount": 0.5, "channels": 3}, "give one of them"),
        ({"method": "channels", "channels": 0}, r"steps\.0\.prune\.channels"),
        ({"method": "channels", "amount": 0.5, "importance": "size"}, r"steps\.0\.prune\.importance"),
    ],
)
def test_everything_else_is_refused_with_its_place(options: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=message):
        parsed({"prune": options})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"amount": 0.5}, {"amount": 0.5}),
        ({"amount": 0.5}, {"amount": 0.3}),
        ({"method": "snip", "density": 0.1}, {"method": "snip", "density": 0.2}),
    ],
)
def test_a_mask_that_adds_nothing_to_an_earlier_one_is_refused(first: dict[str, Any], second: dict[str, Any]):
    with pytest.raises(RecipeError, match=r"steps\.2\.prune\.amount: .* prunes nothing more after the .* of steps\.0"):
        parsed({"prune": first}, "fine_tune", {"prune": second})


def test_masks_may_grow_and_channels_may_go_twice():
    assert parsed({"prune": {"amount": 0.3}}, {"prune": {"amount": 0.3, "scope": "global"}}, {"prune": {"amount": 0.6}})
    channels = {"prune": {"method": "channels", "amount": 0.5}}
    assert parsed(channels, "fine_tune", channels)


def test_channels_cannot_leave_a_quantized_graph():
    with pytest.raises(RecipeError, match="quantize comes before prune"):
        parsed("quantize", {"prune": {"method": "channels", "amount": 0.5}})


# --- from a step to its method ---


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    text = MODEL_FILE.replace("y=torch.tensor([i % 3])", "y=torch.tensor([i // 2 % 3])")
    return ModelSource(str(write_model_file(tmp_path_factory.mktemp("model"), text, "pruned_model.py")))


@pytest.fixture(scope="module")
def parts(source: ModelSource) -> GraphParts:
    return parts_of(source.graphs())


STEPS: dict[str, tuple[dict[str, Any], type[PruningMethod]]] = {
    "l1": ({"amount": 0.5, "targets": ["conv1"]}, L1Unstructured),
    "rounds": ({"amount": 0.5, "rounds": 2, "epochs": 1}, Iterative),
    "blocks": ({"method": "blocks", "block": 2}, L1Blocks),
    "snip": ({"method": "snip", "amount": 0.5, "batches": 2}, SNIP),
    "ecs": ({"method": "ecs", "amount": 0.5, "include_head": True}, ECS),
    "bogp": ({"method": "bogp", "database": 4, "trials": 2, "epochs": 1}, BoGP),
    "channels": ({"method": "channels", "channels": 2, "importance": "l2"}, StructuredChannels),
}


def test_every_method_of_a_recipe_is_covered_here():
    assert {options.get("method", "l1") for options, _ in STEPS.values()} == set(METHODS)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_becomes_its_method_with_all_that_it_says(name: str, parts: GraphParts):
    options, expected = STEPS[name]
    step = parsed({"prune": options}).steps[0]
    method = pruning(step, lambda: parts, seed=5)

    assert type(method) is expected
    names = {f.name for f in fields(method)}  # type: ignore[arg-type]  # every method is a dataclass
    for key, value in options.items():
        if key in names:
            assert getattr(method, key) == (tuple(value) if isinstance(value, list) else value)
    if "seed" in names:
        assert getattr(method, "seed") == 5  # noqa: B009  # not every method has one


def test_masks_are_chosen_on_the_validation_graphs_and_trained_on_the_training_graphs(parts: GraphParts):
    (step,) = parsed({"prune": STEPS["bogp"][0]}).steps
    method = pruning(step, lambda: parts, seed=0)

    assert isinstance(method, BoGP)
    assert list(method.validation) == list(parts.validation)
    assert list(method.loader.dataset) == list(parts.train)  # type: ignore[union-attr]  # it is a DataLoader


def test_graphs_are_asked_for_only_where_a_method_needs_them():
    def refuse() -> GraphParts:
        raise AssertionError("no graphs are needed")

    for options in ({"amount": 0.5}, {"method": "blocks"}, {"method": "channels", "amount": 0.5}):
        pruning(parsed({"prune": options}).steps[0], refuse, seed=0)
    with pytest.raises(AssertionError, match="no graphs are needed"):
        pruning(parsed({"prune": {"method": "snip"}}).steps[0], refuse, seed=0)


@pytest.mark.parametrize("name", ["rounds", "ecs", "bogp", "channels"])
def test_a_recipe_prunes_by_the_method_and_logs_the_step(
    name: str, source: ModelSource, parts: GraphParts, tmp_path: Any
):
    pytest.importorskip("optuna")
    recipe = parsed({"prune": STEPS[name][0]}, {"fine_tune": {"epochs": 1}}, {"export": {"formats": ["torchscript"]}})
    result = build(source.model(), parts, recipe, tmp_path)

    first, second = result.reports
    assert first.after.accuracy is not None
    if name == "channels":
        assert first.after.bytes < first.before.bytes
    else:
        assert first.after.sparsity > 0.4
        assert second.after.sparsity == pytest.approx(first.after.sparsity)
    assert result.artifacts[0].artifact.model_bytes > 0
