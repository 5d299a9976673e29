"""Traffic speeds and gestures: what files become of them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from toolchain.errors import InvalidInput
from toolchain.temporal_datasets import HORIZONS, JOINTS, PAST_STEPS, metr_la, natops, skeleton, windows

STEPS, SENSORS = 240, 4


def write_traffic(root: Path) -> np.ndarray:
    """Made-up speeds of four sensors on a line; one measurement is missing."""
    folder = root / "METR-LA-1week" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    speeds = np.round(
        50 + 10 * np.sin(np.arange(STEPS)[:, None] / 20 + np.arange(SENSORS)) + rng.normal(size=(STEPS, SENSORS)), 4
    )
    speeds[30, 2] = 0
    rows = ["7,8,9,10", *(",".join(map(str, row)) for row in speeds)]
    (folder / "los_speed.csv").write_text("\n".join(rows) + "\n")
    nearness = np.eye(SENSORS) + 0.5 * np.eye(SENSORS, k=1) + 0.25 * np.eye(SENSORS, k=-1)
    (folder / "los_adj.csv").write_text("\n".join(",".join(map(str, row)) for row in nearness) + "\n")
    return speeds.astype(np.float32)


def gesture(label: int, series: int = 24) -> str:
    rng = np.random.default_rng(label)
    return ":".join([*(",".join(f"{v:.4f}" for v in rng.normal(size=5) + label) for _ in range(series)), f"{label}.0"])


def write_gestures(root: Path, count: int = 12, **how: int) -> None:
    folder = root / "NATOPS" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("TRAIN", "TEST"):
        lines = "\n".join(gesture(1 + number % 6, **how) for number in range(count))
        (folder / f"NATOPS_{part}.ts").write_bytes(
            b"#Made up \xe9\n@problemName NATOPS\n@data\n" + lines.encode() + b"\n"
        )


def test_neighbours_are_weighted_to_one_and_a_sensor_is_none_of_its_own(tmp_path: Path) -> None:
    speeds = write_traffic(tmp_path)
    sensors = metr_la(tmp_path)

    np.testing.assert_array_equal(sensors.speeds, speeds)
    assert sensors.edge_index.tolist() == [[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]]
    sums = torch.zeros(SENSORS).index_add(0, sensors.edge_index[1], sensors.edge_weight)
    assert sums.allclose(torch.ones(SENSORS))


def test_windows_hold_the_last_hour_and_the_speeds_ahead_and_cross_no_border(tmp_path: Path) -> None:
    speeds = write_traffic(tmp_path)
    found = windows(metr_la(tmp_path))
    known = speeds[:168][speeds[:168] != 0]

    assert (found.mean, found.deviation) == (float(known.mean()), float(known.std()))
    first = found.parts.train[0]
    expected = np.where(speeds[:PAST_STEPS].T != 0, (speeds[:PAST_STEPS].T - found.mean) / found.deviation, 0)
    np.testing.assert_allclose(first.x, expected, atol=1e-6)
    ahead = [PAST_STEPS - 1 + minutes // 5 for minutes in HORIZONS]
    np.testing.assert_array_equal(first.y, speeds[ahead].T)
    assert [len(part) for part in (found.parts.train, found.parts.validation, found.parts.test)] == [145, 1, 25]
    np.testing.assert_array_equal(found.parts.test[-1].y[:, -1], speeds[-1])
    missing = found.parts.train[30]  # the step without a measurement is the last but eleven of its hour
    assert missing.x[2, 0] == 0 and found.parts.train[19].y[2].tolist().count(0) == 0
    assert found.parts.train[16].y[2, 0] == 0


def test_a_stride_leaves_windows_out(tmp_path: Path) -> None:
    write_traffic(tmp_path)
    assert len(windows(metr_la(tmp_path), stride=10).parts.train) == 15


def test_joints_keep_their_course_and_their_name(tmp_path: Path) -> None:
    write_gestures(tmp_path)
    train, test = natops(tmp_path)

    assert [int(data.y) for data in train] == [number % 6 for number in range(12)] and len(test) == 12
    values = [[float(v) for v in one.split(",")] for one in gesture(1).split(":")[:-1]]
    for joint in range(len(JOINTS)):
        course = values[3 * joint] + values[3 * joint + 1] + values[3 * joint + 2]
        np.testing.assert_allclose(train[0].x[joint, :15], course, atol=1e-6)
    np.testing.assert_array_equal(train[0].x[:, 15:], np.eye(8))
    assert torch.equal(train[0].edge_index, skeleton()) and skeleton().shape == (2, 14)


def test_files_that_are_missing_or_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"los_speed\.csv: cannot be read.*Put the data set's raw files there"):
        metr_la(tmp_path)
    write_traffic(tmp_path)
    near = tmp_path / "METR-LA-1week" / "raw" / "los_adj.csv"
    near.write_text("1,0\n0,1\n")
    with pytest.raises(InvalidInput, match=r"los_adj\.csv is 2 x 2, expected 4 x 4"):
        metr_la(tmp_path)
    near.write_text("1,x\n0,1\n")
    with pytest.raises(InvalidInput, match="is no table of numbers"):
        metr_la(tmp_path)
    write_gestures(tmp_path, series=21)
    with pytest.raises(InvalidInput, match=r"gesture 0 has 21 series and the class 1\.0, expected 24 and 1 to 6"):
        natops(tmp_path)
