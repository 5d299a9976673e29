"""Where models and graphs come from: files, modules, and what they may return."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.small_model import MODEL_FILE, write_model_file
from toolchain.errors import RecipeError
from toolchain.model_source import ModelSource, parts_of


def test_a_file_gives_its_model_in_eval_mode_and_its_graphs(tmp_path: Path) -> None:
    source = ModelSource(str(write_model_file(tmp_path)))

    assert not source.model().training
    assert len(source.graphs()) == 40


def test_a_module_and_a_function_may_be_named(tmp_path: Path) -> None:
    assert ModelSource("toolchain.models:GCN", {"features": 3, "classes": 2}).model().head.out_features == 2
    path = write_model_file(tmp_path, MODEL_FILE.replace("get_model", "make_it"))
    assert ModelSource(f"{path}:make_it").model().head.out_features == 3


def test_a_file_can_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_the_model.py").write_text("HIDDEN = 8\n")
    path = write_model_file(tmp_path, "from beside_the_model import HIDDEN\n" + MODEL_FILE)

    assert ModelSource(str(path)).model().conv1.out_channels == 8


def test_a_source_survives_the_way_through_json(tmp_path: Path) -> None:
    source = ModelSource("toolchain.models:GCN", {"features": 3, "classes": 2}, tmp_path / "weights.pt")

    assert ModelSource.from_json(source.to_json()) == source


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        ("none.py", None, "no such file"),
        ("no_such_module_at_all", None, "importing it failed with ModuleNotFoundError"),
        ("model.py", "x = 1", r"has no function get_model\(\)"),
        ("model.py", "def get_model(): return 3", "returned int, expected a torch.nn.Module"),
        ("model.py", "1 / 0", "importing it failed with ZeroDivisionError"),
        ("model.py", "def get_model(:", "importing it failed with SyntaxError"),
    ],
)
def test_what_is_no_model_is_refused(target: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        write_model_file(tmp_path, text, target)
        target = str(tmp_path / target)

    with pytest.raises(RecipeError, match=message):
        ModelSource(target).model()


def graphs(count: int) -> list[Any]:
    return [SimpleNamespace(edge_index=i) for i in range(count)]


def test_a_list_is_cut_into_disjoint_parts_by_seed() -> None:
    data = graphs(40)

    parts = parts_of(data, seed=1)

    assert [len(parts.train), len(parts.validation), len(parts.test)] == [32, 4, 4]
    assert sorted(g.edge_index for g in (*parts.train, *parts.validation, *parts.test)) == list(range(40))
    assert parts_of(data, seed=1) == parts
    assert parts_of(data, seed=2) != parts


def test_parts_may_be_given_as_a_mapping_or_as_attributes() -> None:
    a, b, c = graphs(3)

    for given in ({"train": [a], "validation": [b], "test": [c]}, SimpleNamespace(train=[a], validation=[b], test=[c])):
        parts = parts_of(given)
        assert (parts.train, parts.validation, parts.test) == ([a], [b], [c])


def test_one_graph_serves_as_every_part() -> None:
    (data,) = graphs(1)

    assert parts_of(data).test == [data]


@pytest.mark.parametrize(
    "given", [3, [], [1, 2], {"train": []}, {"train": [], "validation": [], "test": []}, torch.zeros(2)]
)
def test_what_is_no_data_set_is_refused(given: Any) -> None:
    with pytest.raises(RecipeError, match="get_graphs"):
        parts_of(given)


def test_arguments_that_the_function_does_not_take_are_refused(tmp_path: Path) -> None:
    source = ModelSource(str(write_model_file(tmp_path)), {"width": 3})

    with pytest.raises(
        RecipeError, match=r"get_model\(\) cannot be called with the arguments given \(width\): got an unexpected"
    ):
        source.model()
