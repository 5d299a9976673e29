"""Measurements over time at fixed places as PyG graphs: traffic speeds (METR-LA, one week) and gestures (NATOPS)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from toolchain.datasets import Split
from toolchain.errors import InvalidInput

STEP_MINUTES = 5  # METR-LA: between two measurements
PAST_STEPS = 12
HORIZONS = (15, 30, 60)  # minutes ahead, as METR-LA's published tables have them

JOINTS = (
    "hand tip left", "hand tip right", "elbow left", "elbow right", "wrist left", "wrist right", "thumb left", "thumb right",
)  # fmt: skip
BONES = (
    (2, 4),
    (4, 0),
    (4, 6),
    (3, 5),
    (5, 1),
    (5, 7),
    (2, 3),
)  # of JOINTS; the elbows are joined through the shoulders
_GESTURES = 6
_AXES = 3  # x, y, z of every joint


@dataclass(frozen=True, slots=True)
class Sensors:
    """Speeds of fixed sensors, and how near these are to each other.

    Attributes:
        speeds: [T, N] miles per hour, one row every five minutes; 0 where there is no measurement.
        edge_index, edge_weight: [2, E] and [E]: neighbours without the sensor itself, the weights into a sensor adding up to 1.
    """

    speeds: np.ndarray
    edge_index: Tensor
    edge_weight: Tensor


@dataclass(frozen=True, slots=True)
class Windows:
    """Pieces of a series as graphs on the same edges: x [N, 12] is the last hour, y [N, 3] the speeds at HORIZONS.

    Attributes:
        mean, deviation: of the training part's speeds; x is (speed - mean) / deviation, with 0 for no measurement. y is in miles
            per hour, with 0 for none.
    """

    parts: Split
    mean: float
    deviation: float


def metr_la(root: str | Path) -> Sensors:
    """One week of METR-LA: 207 sensors on Los Angeles' highways, 2,016 measurements each.

    Reads root/METR-LA-1week/raw/los_speed.csv (a line of sensor numbers, then one of speeds every five minutes) and los_adj.csv
    (nearness of every pair of sensors in [0, 1]), as they come with T-GCN.

    Raises:
        InvalidInput: a file is missing, or the two are not of the same sensors.
    """
    folder = Path(root) / "METR-LA-1week" / "raw"
    speeds = _table(folder / "los_speed.csv", header=1)
    nearness = _table(folder / "los_adj.csv", header=0)
    if nearness.shape != (speeds.shape[1], speeds.shape[1]):
        raise InvalidInput(
            f"{folder}: los_adj.csv is {nearness.shape[0]} x {nearness.shape[1]}, expected {speeds.shape[1]} x "
            f"{speeds.shape[1]}, the sensors of los_speed.csv."
        )
    np.fill_diagonal(nearness, 0.0)
    source, target = np.nonzero(nearness)
    weight = nearness[source, target] / nearness.sum(axis=0)[target]
    edges = torch.from_numpy(np.stack([source, target]))
    return Sensors(speeds, edges, torch.from_numpy(weight.astype(np.float32)))


def windows(sensors: Sensors, *, stride: int = 1) -> Windows:
    """The first 70 % of a series for training, the next 10 % for validation, the last 20 % for tests; no window crosses a border.

    Args:
        stride: steps between the beginnings of two windows.
    """
    count = len(sensors.speeds)
    borders = (0, round(0.7 * count), round(0.8 * count), count)
    known = sensors.speeds[: borders[1]]
    known = known[known != 0]
    mean, deviation = float(known.mean()), float(known.std())
    parts = []
    for first, last in itertools.pairwise(borders):
        ends = range(first + PAST_STEPS, last - HORIZONS[-1] // STEP_MINUTES + 1, stride)
        parts.append(tuple(_window(sensors, end, mean, deviation) for end in ends))
    return Windows(Split(*parts), mean, deviation)


def _window(sensors: Sensors, end: int, mean: float, deviation: float) -> Data:
    """The hour before a step as features, and what follows as targets."""
    past = sensors.speeds[end - PAST_STEPS : end].T  # [N, 12]
    x = np.where(past != 0, (past - mean) / deviation, 0.0).astype(np.float32)
    ahead = [end - 1 + minutes // STEP_MINUTES for minutes in HORIZONS]
    y = np.ascontiguousarray(sensors.speeds[ahead].T, np.float32)  # [N, 3]
    return Data(torch.from_numpy(x), sensors.edge_index, edge_weight=sensors.edge_weight, y=torch.from_numpy(y))


def natops(root: str | Path) -> tuple[list[Data], list[Data]]:
    """NATOPS: 180 gestures for training and 180 for tests, of six classes, on a skeleton of eight joints.

    Features of a joint: x, y and z at 51 moments, and which joint it is (one-hot). Reads NATOPS_TRAIN.ts and NATOPS_TEST.ts in
    root/NATOPS/raw, as the UEA archive has them.

    Raises:
        InvalidInput: a file is missing, or a line is no gesture of eight joints.
    """
    folder = Path(root) / "NATOPS" / "raw"
    train, test = (_gestures(folder / f"NATOPS_{part}.ts") for part in ("TRAIN", "TEST"))
    return train, test


def skeleton() -> Tensor:
    """[2, 14]: every bone in both directions."""
    bones = torch.tensor(BONES).t()
    return torch.cat([bones, bones.flip(0)], dim=1)


def _gestures(path: Path) -> list[Data]:
    edges, names = skeleton(), torch.eye(len(JOINTS))
    lines = _text(path).partition("@data")[2].split()
    found = []
    for number, line in enumerate(lines):
        *series, label = line.split(":")
        try:
            values = torch.tensor([[float(value) for value in one.split(",")] for one in series])  # [24, 51]
            y = int(float(label)) - 1
        except ValueError as error:
            raise InvalidInput(
                f"{path}: gesture {number} is no table of numbers ({error}). Unpack the file again."
            ) from error
        if len(values) != len(JOINTS) * _AXES or not 0 <= y < _GESTURES:
            raise InvalidInput(
                f"{path}: gesture {number} has {len(values)} series and the class {label}, expected {len(JOINTS) * _AXES} and 1 to "
                f"{_GESTURES}."
            )
        x = torch.cat([values.reshape(len(JOINTS), -1), names], dim=1)
        found.append(Data(x, edges, y=torch.tensor([y])))
    return found


def _table(path: Path, *, header: int) -> np.ndarray:
    lines: Sequence[str] = _text(path).split()
    try:
        return np.array([[float(value) for value in line.split(",")] for line in lines[header:]], np.float32)
    except ValueError as error:
        raise InvalidInput(f"{path}: is no table of numbers ({error}). Unpack the file again.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}). Put the data set's raw files there.") from error
