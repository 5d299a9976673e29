"""Figures of every epoch, and TensorBoard's event files of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.compression.hand_built import gcn_graph
from tests.unit.compression.labelled_graphs import labelled
from toolchain.compression import QAT, StaticInt8, TensorBoard, fine_tune, quantize
from toolchain.errors import MissingDependency


def test_fine_tuning_reports_every_epoch() -> None:
    seen: list[tuple[int, Mapping[str, float]]] = []

    fine_tune(gcn_graph(classes=2), labelled(20), epochs=3, lr=0.01, watch=lambda *figures: seen.append(figures))

    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert [figures["lr"] for _, figures in seen] == pytest.approx([0.01, 0.0075, 0.0025])
    assert all(figures["loss"] > 0 for _, figures in seen)


def test_quantization_aware_training_reports_every_epoch() -> None:
    seen: list[int] = []
    data = labelled(20)
    static = StaticInt8(data, "int8", min_agreement=0)

    quantize(gcn_graph(classes=2), QAT(data, 2, static, watch=lambda epoch, figures: seen.append(epoch)))

    assert seen == [0, 1]


def test_event_files_hold_the_figures(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="tensorboard")
    seen: list[float] = []
    board = TensorBoard(tmp_path / "board")

    def watch(epoch: int, figures: Mapping[str, float]) -> None:
        seen.append(figures["loss"])
        board(epoch, figures)

    fine_tune(gcn_graph(classes=2), labelled(20), epochs=2, watch=watch)

    events = reader.EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(seen)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match=r"pocketgnn\[tensorboard\]"):
        TensorBoard(tmp_path / "board")
    assert list(tmp_path.iterdir()) == []
