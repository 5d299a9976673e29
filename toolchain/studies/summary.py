"""The table of a study: means over seeds and folds, and mean differences of paired columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolchain.studies.row_file import Row
from toolchain.studies.study import REPEATED, Study


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of several rows. `spread` is the standard deviation of a column, the standard error of a difference."""

    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Line:
    """All rows that differ in seed and fold only.

    Attributes:
        keys: what they have in common.
        columns: mean ± standard deviation of each shown column; None where a row has no value.
        differences: mean ± standard error of the difference of each pair, by "column - other".
    """

    keys: dict[str, str]
    rows: int
    columns: dict[str, Estimate | None]
    differences: dict[str, Estimate]


def summary(study: Study, rows: Sequence[Row]) -> list[Line]:
    """One line per group of rows, in the order of the first of each."""
    kept = [key for key in study.keys if key not in REPEATED]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in kept), []).append(row)
    return [
        Line(
            dict(zip(kept, names, strict=True)), len(group),
            {column: _mean(group, column) for column in study.shown},
            {f"{a} - {b}": _difference(_column(group, a) - _column(group, b)) for a, b in study.paired},
        )
        for names, group in groups.items()
    ]  # fmt: skip


def _mean(rows: Sequence[Row], column: str) -> Estimate | None:
    return None if any(row[column] == "" for row in rows) else Estimate(*_spread(_column(rows, column)))


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def _spread(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _difference(values: np.ndarray) -> Estimate:
    mean, deviation = _spread(values)
    return Estimate(mean, deviation / len(values) ** 0.5)
