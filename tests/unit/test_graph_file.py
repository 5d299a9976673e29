"""Graph files: the same Graph comes back, and nothing else gets in."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toolchain
from tests.cases import MODELS, example
from toolchain.errors import ArtifactError
from toolchain.graph_file import load_graph, save_graph
from toolchain.ir import Graph


@pytest.fixture(scope="module")
def graph() -> Graph:
    return toolchain.lower(MODELS["gcn_graph"](), example("gcn_graph"))


@pytest.fixture
def saved(graph: Graph, tmp_path: Path) -> Path:
    return save_graph(graph, ("lowering",), tmp_path / "model.pgnn")


def assert_equal(left: Graph, right: Graph) -> None:
    assert (left.values, left.outputs, left.topologies, left.name) == (
        right.values,
        right.outputs,
        right.topologies,
        right.name,
    )
    assert list(left.constants) == list(right.constants)
    for name, array in left.constants.items():
        assert array.dtype == right.constants[name].dtype
        np.testing.assert_array_equal(array, right.constants[name])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_of_the_zoo_comes_back(name: str, tmp_path: Path) -> None:
    lowered = toolchain.lower(MODELS[name](), example(name))
    save_graph(lowered, ("lowering",), tmp_path / "model.pgnn")

    assert_equal(load_graph(tmp_path / "model.pgnn").graph, lowered)


def test_a_pruned_and_quantized_graph_comes_back_with_its_steps(graph: Graph, tmp_path: Path) -> None:
    quantized = toolchain.quantize(
        toolchain.prune(graph), toolchain.StaticInt8([example("gcn_graph")], min_agreement=0.0)
    )
    steps = ("lowering", "compression", "quantization")
    save_graph(quantized, steps, tmp_path / "model.pgnn")

    loaded = load_graph(tmp_path / "model.pgnn")

    assert loaded.steps == steps
    assert_equal(loaded.graph, quantized)


def test_the_same_graph_gives_the_same_bytes(graph: Graph, saved: Path, tmp_path: Path) -> None:
    again = save_graph(graph, ("lowering",), tmp_path / "again.pgnn")

    assert again.read_bytes() == saved.read_bytes()


def test_an_existing_file_is_only_replaced_on_request(graph: Graph, saved: Path) -> None:
    with pytest.raises(ArtifactError, match="already exists"):
        save_graph(graph, (), saved)
    save_graph(graph, (), saved, overwrite=True)

    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_no_flipped_bit_changes_the_graph_unnoticed(graph: Graph, saved: Path) -> None:
    """A flip in the zip's own bookkeeping (such as a time) may pass, but then the Graph is the one that was saved."""
    content = saved.read_bytes()
    for position in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        saved.write_bytes(damaged)
        try:
            loaded = load_graph(saved)
        except ArtifactError:
            continue
        assert_equal(loaded.graph, graph)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for length in range(0, len(content), 211):
        saved.write_bytes(content[:length])
        with pytest.raises(ArtifactError, match=r"model\.pgnn"):
            load_graph(saved)


def _edit(
    path: Path, change: Any, compression: int = zipfile.ZIP_STORED, extra: dict[str, bytes] | None = None
) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(members["graph.json"])
    change(document)
    members["graph.json"] = json.dumps(document).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**members, **(extra or {})}.items():
            archive.writestr(name, data)


def _set(*keys: Any) -> Any:
    """A change that sets document[keys[0]]...[keys[-2]] = keys[-1]."""

    def change(document: Any) -> None:
        for key in keys[:-2]:
            document = document[key]
        document[keys[-2]] = keys[-1]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("schema_version", 2), _set("extra", 1), _set("values", 0, "op", "Exec"), _set("values", 0, "op", "__class__"),
        _set("values", 0, "attributes", {"role": "x"}), _set("values", 0, "attributes", "role", "secret"),
        _set("values", 2, "inputs", [999]), _set("values", 0, "type", "shape", ["7"]), _set("values", 0, "extra", 1),
        _set("outputs", [10_000]), _set("outputs", []), _set("constants", []), _set("topologies", []), _set("values", []),
        _set("topologies", 0, "self_loops", "some"),
    ],
)  # fmt: skip
def test_a_graph_that_breaks_a_rule_is_refused(change: Any, saved: Path) -> None:
    _edit(saved, change)

    with pytest.raises(ArtifactError, match=r"model\.pgnn"):
        load_graph(saved)


def test_compressed_and_unlisted_members_are_refused(saved: Path) -> None:
    content = saved.read_bytes()
    _edit(saved, lambda document: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtifactError, match="compressed"):
        load_graph(saved)
    saved.write_bytes(content)
    _edit(saved, lambda document: None, extra={"../evil": b"x"})
    with pytest.raises(ArtifactError, match="members"):
        load_graph(saved)


def test_a_pickled_constant_is_refused(saved: Path, graph: Graph) -> None:
    import io

    member = io.BytesIO()
    np.lib.format.write_array(member, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    _edit(saved, lambda document: None, extra={"0.npy": member.getvalue()})

    with pytest.raises(ArtifactError, match=r"model\.pgnn"):
        load_graph(saved)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        load_graph(tmp_path / "none.pgnn")
