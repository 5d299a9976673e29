"""k-means of numbers: Lloyd's iteration on sorted values, where a cluster is an interval between two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

Initialization = Literal["linear", "k-means++", "density"]
MOST_ITERATIONS = 300


def k_means(values: np.ndarray, clusters: int, init: Initialization = "linear", seed: int = 0) -> np.ndarray:
    """Centroids of numbers, ascending float64: `clusters` of them, or as many as there are distinct values.

    The same arguments give the same centroids on every machine: sums run over sorted values.

    Args:
        init: where the centroids start: evenly from the smallest to the largest value; drawn by the squared distance to
            those drawn before (k-means++, by `seed`); or at even steps through the sorted values ("density").

    Source: Lloyd 1982; Arthur & Vassilvitskii 2007 (k-means++); Han et al. 2016, 3.2 (arXiv:1510.00149) for the three starts.
    """
    points = np.sort(values.astype(np.float64), axis=None)
    distinct = np.unique(points)
    if distinct.size <= clusters:
        return distinct
    centroids = np.sort(_STARTS[init](points, clusters, np.random.default_rng(seed)))
    borders = np.zeros(0, np.int64)
    for _ in range(MOST_ITERATIONS):
        before, borders = borders, _borders(points, centroids)
        if np.array_equal(before, borders):
            break
        centroids = _means(points, centroids, borders)
    return centroids


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """For each value its nearest centroid (ascending); halfway between two it is the larger."""
    middles = (centroids[1:].astype(np.float64) + centroids[:-1]) / 2
    return centroids[np.searchsorted(middles, values.astype(np.float64), side="right")]


def _borders(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index of the first point of each cluster, and the number of points: [clusters + 1]."""
    inner = np.searchsorted(points, (centroids[1:] + centroids[:-1]) / 2, side="left")
    return np.concatenate([[0], inner, [points.size]])


def _means(points: np.ndarray, centroids: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """The mean of each cluster; empty ones move to the points that are farthest from their centroids."""
    counts = np.diff(borders)
    is_used = counts > 0
    means = np.add.reduceat(points, borders[:-1][is_used]) / counts[is_used]
    missing = int((~is_used).sum())
    if missing:
        errors = np.abs(points - np.repeat(centroids[is_used], counts[is_used]))
        values, first = np.unique(points, return_index=True)
        farthest = np.argsort(-errors[first], kind="stable")[:missing]
        means = np.concatenate([means, values[farthest]])
    return np.sort(means)


def _linear(points: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    return np.linspace(points[0], points[-1], clusters)


def _density(points: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    return np.quantile(points, (np.arange(clusters) + 0.5) / clusters)


def _plus_plus(points: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    chosen = [points[rng.integers(points.size)]]
    distance = (points - chosen[0]) ** 2
    while len(chosen) < clusters:
        total = np.cumsum(distance)
        at = min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), points.size - 1)
        chosen.append(points[at])
        distance = np.minimum(distance, (points - points[at]) ** 2)
    return np.array(chosen)


_STARTS: dict[Initialization, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "linear": _linear, "k-means++": _plus_plus, "density": _density,
}  # fmt: skip
INITIALIZATIONS = tuple(_STARTS)
