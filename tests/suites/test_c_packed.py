"""Models of packed weights: as C against the interpreter, and decoded in the other formats."""

from __future__ import annotations

import ctypes
import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runtimes
from runtimes.c_interface import Model
from tests.c_kernels import SOURCE, default_compiler, load
from tests.c_zoo import BOUNDS, run_c
from tests.parity import assert_close
from tests.unit.compression.hand_built import gcn_graph, gin_graph, many_inputs
from toolchain.compression import KMeans, L1Blocks, L1Unstructured, StaticInt8, prune, quantize, share
from toolchain.exporters import export
from toolchain.exporters.c.emitter import emit
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable
from toolchain.passes.codebook_removal import remove_codebooks

STEPS = {
    "shared_2": lambda graph: share(graph, KMeans(2)),
    "shared_5": lambda graph: share(graph, KMeans(5)),
    "shared_16": lambda graph: share(graph, KMeans(16)),
    "pruned_and_shared_24": lambda graph: share(prune(graph, L1Unstructured(0.5)), KMeans(24)),
    "pruned": lambda graph: deployable(prune(graph, L1Unstructured(0.6, include_head=True))),
    "blocks": lambda graph: deployable(prune(graph, L1Blocks(0.6, include_head=True))),
}
MODELS = {"gcn": gcn_graph, "gin": gin_graph}
CASES = [(model, step, precision) for model in MODELS for step in STEPS for precision in ("f32", "s8", "s16")]


@functools.cache
def graph_of(model: str, step: str, precision: str) -> Graph:
    graph = STEPS[step](MODELS[model]())
    if precision != "f32":
        mode = "int8" if precision == "s8" else "all-int16"
        graph = quantize(graph, StaticInt8(many_inputs(12), mode=mode, min_agreement=0))
    return replace(graph, name=f"{model}_{step}_{precision}")


@functools.cache
def library() -> ctypes.CDLL:
    """All models and kernels."""
    root = Path(tempfile.mkdtemp(prefix="pocketgnn-packed-"))
    sources = []
    for case in CASES:
        emission = emit(graph_of(*case), BOUNDS, packed_weights="smallest")
        assert {"codebook", "bitmap"} & {part for name in emission.extra_files for part in name.split("_")}
        folder = root / "-".join(case)
        folder.mkdir()
        (folder / "model.c").write_bytes(emission.model)
        (folder / "model.h").write_bytes(emission.extra_files["model.h"])
        sources.append(folder / "model.c")
    return load((*sources, *sorted(SOURCE.glob("*.c"))), "-O1", compiler=default_compiler())


@pytest.mark.parametrize(("model", "step", "precision"), CASES)
def test_packed_weights_compute_what_the_interpreter_does(model: str, step: str, precision: str) -> None:
    graph = graph_of(model, step, precision)
    for inputs in (many_inputs(1)[0], GraphInputs.concatenate(many_inputs(3)), many_inputs(2, seed=5)[1]):
        model_in_c = Model.in_dll(library(), f"gnn_{graph.name}_model")
        made, expected = run_c(model_in_c, inputs), interpret(graph, inputs)
        if precision == "f32":
            assert_close(made, expected)
        else:
            assert [a.tobytes() for a in made] == [b.tobytes() for b in expected]


@pytest.mark.parametrize("precision", ["f32", "s8"])
@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_other_formats_get_the_plain_weights(format: str, precision: str, tmp_path: Path) -> None:
    graph, inputs = graph_of("gin", "shared_16", precision), many_inputs(1)[0]
    shared, plain = (
        runtimes.load(export(g, format, tmp_path / name).path).run(inputs)
        for name, g in (("shared", graph), ("plain", remove_codebooks(graph)))
    )

    np.testing.assert_array_equal(shared[0], plain[0])
    if precision == "f32":
        assert_close(shared, interpret(graph, inputs))
