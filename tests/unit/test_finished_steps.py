"""Interrupted runs: what is finished is taken up again, and nothing that belongs to another run ever is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.small_model import write_model_file
from toolchain.errors import ArtifactError
from toolchain.finished_steps import RECORD, results_of
from toolchain.graph_file import load_graph
from toolchain.model_source import GraphParts, ModelSource, parts_of
from toolchain.pipeline import BuildResult, build
from toolchain.recipe import Recipe

STEPS: list[Any] = [
    {"prune": {"amount": 0.5}},
    {"fine_tune": {"epochs": 2}},
    {"quantize": {"precisions": ["float32", "dynamic-int8", "static-int8"], "min_agreement": 0}},
    {"export": {"formats": ["torchscript"]}},
]
ORIGIN = {"weights": "a", "training graphs": "b", "validation graphs": "c", "seed": "0", "versions": "1"}


def recipe(*steps: Any, **others: Any) -> Recipe:
    return Recipe.parse({"version": 1, "name": "small", "steps": list(steps), **others})


def changed(number: int, **options: Any) -> Recipe:
    """The recipe with other options in one step."""
    (name, old), *_ = STEPS[number].items()
    return recipe(*STEPS[:number], {name: {**old, **options}}, *STEPS[number + 1 :])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return ModelSource(str(write_model_file(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def parts(source: ModelSource) -> GraphParts:
    return parts_of(source.graphs())


Run = Callable[..., tuple[BuildResult, list[str]]]


@pytest.fixture
def run(source: ModelSource, parts: GraphParts, tmp_path: Path) -> Run:
    """Builds into one folder; the result and the progress. `stop`: a line of progress at which the user interrupts."""

    def built(
        recipe_: Recipe, *, stop: str = "", data: GraphParts = parts, model: Any = None, folder: str = "out", **options: Any
    ) -> tuple[BuildResult, list[str]]:  # fmt: skip
        lines: list[str] = []

        def progress(line: str) -> None:
            lines.append(line)
            if line == stop:
                raise KeyboardInterrupt

        return build(model or source.model(), data, recipe_, tmp_path / folder, progress=progress, **options), lines

    return built


@pytest.fixture
def interrupted(run: Run, tmp_path: Path) -> Path:
    """The folder of a run that was interrupted in its last quantization."""
    with pytest.raises(KeyboardInterrupt):
        run(recipe(*STEPS), stop="quantize static-int8")
    return tmp_path / "out" / "small-steps"


def bytes_of(result: BuildResult) -> list[Any]:
    return [built.artifact.files for built in result.artifacts]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_resumed_run_ends_as_an_uninterrupted_one_and_repeats_nothing(run: Run, interrupted: Path) -> None:
    assert names(interrupted) == ["1-prune.pgnn", "2-fine_tune.pgnn", "3-quantize-dynamic-int8.pgnn", RECORD]

    resumed, lines = run(recipe(*STEPS), resume=True)
    whole, _ = run(recipe(*STEPS), folder="whole")

    assert lines == [
        "lowering the model", "prune (finished before)", "fine-tune (finished before)",
        "quantize dynamic-int8 (finished before)", "quantize static-int8", "export",
    ]  # fmt: skip
    assert bytes_of(resumed) == bytes_of(whole)
    assert [replace(r, seconds=0) for r in resumed.reports] == [replace(r, seconds=0) for r in whole.reports]


def test_a_finished_run_may_be_resumed_and_only_exports_again(run: Run) -> None:
    first, _ = run(recipe(*STEPS))
    second, lines = run(recipe(*STEPS), resume=True)

    assert [line for line in lines if "finished before" not in line] == ["lowering the model", "export"]
    assert bytes_of(first) == bytes_of(second)


def test_a_saved_step_is_a_graph_file_that_states_its_stages(interrupted: Path) -> None:
    assert load_graph(interrupted / "2-fine_tune.pgnn").steps == ("lowering", "compression")
    assert load_graph(interrupted / "3-quantize-dynamic-int8.pgnn").steps == ("lowering", "compression", "quantization")


def test_a_changed_step_and_all_after_it_are_done_anew(run: Run, interrupted: Path) -> None:
    resumed, lines = run(changed(1, epochs=1), resume=True)
    whole, _ = run(changed(1, epochs=1), folder="whole")

    assert [line for line in lines if "finished before" in line] == ["prune (finished before)"]
    assert bytes_of(resumed) == bytes_of(whole)


def test_another_gate_of_a_later_step_keeps_what_comes_before_it(run: Run, interrupted: Path) -> None:
    _, lines = run(changed(2, min_agreement=0.1), resume=True)

    assert [line for line in lines if "finished before" in line] == [
        "prune (finished before)", "fine-tune (finished before)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "options", "same"),
    [(0, {"amount": 0.6}, 0), (1, {"lr": 0.1}, 1), (2, {"qat_epochs": 1}, 2), (3, {"formats": ["onnx"]}, 5)],
)
def test_a_key_follows_from_all_steps_up_to_its_own(number: int, options: dict[str, Any], same: int) -> None:
    before = list(results_of(recipe(*STEPS), ORIGIN).values())
    after = list(results_of(changed(number, **options), ORIGIN).values())

    assert [a.key == b.key for a, b in zip(before, after, strict=True)] == [i < same for i in range(5)]


@pytest.mark.parametrize("name", list(ORIGIN))
def test_a_key_follows_from_the_origin(name: str) -> None:
    before = results_of(recipe(*STEPS), ORIGIN).values()
    after = results_of(recipe(*STEPS), {**ORIGIN, name: "other"}).values()

    assert not {r.key for r in before} & {r.key for r in after}


def test_a_precision_that_was_added_leaves_the_others_as_they_are() -> None:
    fewer = results_of(changed(2, precisions=["static-int8"]), ORIGIN)

    assert fewer[2, "static-int8"] == results_of(recipe(*STEPS), ORIGIN)[2, "static-int8"]


# --- refusals ---


def test_finished_steps_are_neither_used_nor_replaced_unasked(run: Run, interrupted: Path) -> None:
    before = (interrupted / RECORD).read_bytes()

    with pytest.raises(ArtifactError, match=r"already exists.*--resume to go on after them, or --overwrite"):
        run(recipe(*STEPS))
    assert (interrupted / RECORD).read_bytes() == before

    _, lines = run(recipe(*STEPS), overwrite=True)
    assert not any("finished before" in line for line in lines)


def test_steps_of_other_weights_are_refused(run: Run, source: ModelSource, interrupted: Path) -> None:
    model = source.model()
    with torch.no_grad():
        model.head.bias += 1

    with pytest.raises(ArtifactError, match="were made with other weights, so"):
        run(recipe(*STEPS), model=model, resume=True)


def test_steps_of_other_graphs_are_refused(run: Run, parts: GraphParts, interrupted: Path) -> None:
    fewer = GraphParts(parts.train[1:], parts.validation, parts.test)

    with pytest.raises(ArtifactError, match="were made with other training graphs, so"):
        run(recipe(*STEPS), data=fewer, resume=True)


def test_the_same_graphs_cut_elsewhere_are_other_graphs(run: Run, parts: GraphParts, interrupted: Path) -> None:
    moved = GraphParts(parts.train[:-1], [parts.train[-1], *parts.validation], parts.test)

    with pytest.raises(ArtifactError, match="were made with other training graphs and validation graphs, so"):
        run(recipe(*STEPS), data=moved, resume=True)


def test_steps_of_another_seed_are_refused(run: Run, interrupted: Path) -> None:
    with pytest.raises(ArtifactError, match="were made with other seed, so"):
        run(recipe(*STEPS, seed=1), resume=True)


def test_a_recipe_that_begins_otherwise_is_refused(run: Run, interrupted: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has 1-prune, 2-fine_tune, .* differs in its first step"):
        run(changed(0, amount=0.4), resume=True)


def test_a_damaged_file_is_refused(run: Run, interrupted: Path) -> None:
    path = interrupted / "2-fine_tune.pgnn"
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(ArtifactError, match=r"2-fine_tune\.pgnn: is missing or not the file that was saved"):
        run(recipe(*STEPS), resume=True)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema_version": 2}', '{"schema_version": 1, "origin": {}, "entries": {"a": {}}}']
)
def test_a_damaged_record_is_refused(text: str, run: Run, interrupted: Path) -> None:
    (interrupted / RECORD).write_text(text)

    with pytest.raises(ArtifactError, match="not a readable record"):
        run(recipe(*STEPS), resume=True)


def test_a_name_in_a_record_cannot_leave_the_folder(run: Run, interrupted: Path, tmp_path: Path) -> None:
    """Entries that the recipe no longer makes are removed by their name."""
    outside = tmp_path / "mine.pgnn"
    outside.write_text("mine")
    record = json.loads((interrupted / RECORD).read_text())
    record["entries"]["0" * 64] = {"name": "../../mine", "sha256": "", "reports": []}
    (interrupted / RECORD).write_text(json.dumps(record))

    run(recipe(*STEPS), resume=True)

    assert outside.read_text() == "mine"


def test_resuming_where_nothing_is_finished_starts_at_the_first_step(run: Run) -> None:
    result, lines = run(recipe(*STEPS), resume=True)

    assert not any("finished before" in line for line in lines)
    assert len(result.artifacts) == 3
