"""The studies on graphs that never change, on small made-up data: what their rows hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.test_temporal_datasets import write_gestures, write_traffic
from toolchain.frontend import lower, run_model
from toolchain.ir import Graph
from toolchain.studies import metr_la, natops
from toolchain.studies.study import Scope
from toolchain.studies.temporal_models import TrafficGNN, gesture_model, horizon_errors, masked_mae, traffic_model
from toolchain.temporal_datasets import Windows, windows
from toolchain.temporal_datasets import metr_la as sensors
from toolchain.temporal_datasets import natops as gestures


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Windows, Graph]:
    root = tmp_path_factory.mktemp("traffic")
    write_traffic(root)
    data = windows(sensors(root), stride=4)
    return data, lower(traffic_model(data, 8, 0), data.parts.train[0], name="traffic")


def test_missing_measurements_count_in_no_error() -> None:
    target, output = torch.tensor([[50.0, 0.0, 40.0]]), torch.tensor([[52.0, 99.0, 39.0]])
    assert masked_mae(output, target) == 1.5
    assert masked_mae(output, torch.zeros(1, 3)) == 0


def test_the_model_speaks_miles_per_hour_after_training(traffic: tuple[Windows, Graph]) -> None:
    data, _ = traffic
    torch.manual_seed(0)
    model = TrafficGNN(12).eval()
    before = run_model(model, data.parts.test[0])[0]
    model.speak_miles_per_hour(data.mean, data.deviation)

    np.testing.assert_allclose(run_model(model, data.parts.test[0])[0], before * data.deviation + data.mean, rtol=1e-5)


def test_rows_of_traffic_have_errors_at_every_horizon(traffic: tuple[Windows, Graph]) -> None:
    data, graph = traffic
    settings = metr_la.Settings(epochs=1)
    rows = {method: metr_la.row(graph, data, method, settings, 0) for method in metr_la.METHODS}

    now = np.concatenate([g.x.numpy()[:, -1:] for g in data.parts.test]) * data.deviation + data.mean
    expected = horizon_errors(np.repeat(now, 3, axis=1), data.parts.test)
    assert {name: rows["last speed"][name] for name in expected} == expected
    for method in ("static int8", "QAT int8"):
        assert rows[method]["agreement"] > 0.5
        assert rows[method]["bytes"] < 0.3 * rows["float"]["bytes"]
        assert abs(rows[method]["mae15"] - rows["float"]["mae15"]) < 1
    for row in rows.values():
        assert set(row) == {*metr_la.STUDY.values} - {"seconds"}


def test_rows_of_gestures_are_integers_that_training_knows(tmp_path: Path) -> None:
    write_gestures(tmp_path)
    train, test = gestures(tmp_path)
    parts = natops.parts_of(train, test, 0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (11, 1, 12)
    graph = lower(gesture_model(parts.train, parts.validation, 3, 0), parts.train[0], name="gestures")

    for method in natops.METHODS:
        row = natops.row(graph, parts, method, natops.Settings(epochs=1), 0)
        assert row["codes_differing"] == 0
        assert set(row) == {*natops.STUDY.values} - {"seconds"}


def test_every_seed_has_every_method() -> None:
    scope = Scope(2, 0, (), Path("data"))
    assert len(list(metr_la.wanted(scope, metr_la.Settings()))) == 8
    assert len(list(natops.wanted(scope, natops.Settings()))) == 6
