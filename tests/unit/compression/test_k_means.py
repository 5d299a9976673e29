"""One-dimensional k-means: the same clusters as scikit-learn, whatever the start; few, equal and tied values."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.compression.weight_sharing.one_dimensional_k_means import INITIALIZATIONS, k_means, nearest


def weights(count: int = 3000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).laplace(0, 0.3, count).astype(np.float32)


def error(values: np.ndarray, centroids: np.ndarray) -> float:
    return float(((values - nearest(values, centroids)) ** 2).sum())


@pytest.mark.parametrize("clusters", [2, 5, 16])
def test_the_centroids_are_those_of_scikit_learn_from_the_same_start(clusters):
    cluster = pytest.importorskip("sklearn.cluster")
    values = np.random.default_rng(clusters).uniform(-1, 1, 500)
    start = np.linspace(values.min(), values.max(), clusters)
    expected = cluster.KMeans(clusters, init=start[:, None], n_init=1, tol=0).fit(values[:, None]).cluster_centers_

    np.testing.assert_allclose(k_means(values, clusters, "linear"), np.sort(expected[:, 0]), rtol=1e-12)


@pytest.mark.parametrize("init", INITIALIZATIONS)
@pytest.mark.parametrize("clusters", [2, 5, 16, 32, 300])
def test_every_centroid_is_the_mean_of_the_values_nearest_to_it(init, clusters):
    values = weights()
    centroids = k_means(values, clusters, init)
    taken = nearest(values, centroids)

    assert centroids.size == clusters
    means = [values[taken == c].astype(np.float64).mean() for c in centroids]
    np.testing.assert_allclose(means, centroids, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("init", INITIALIZATIONS)
def test_more_clusters_fit_closer(init):
    values = weights()
    errors = [error(values, k_means(values, k, init)) for k in (2, 4, 16, 64)]

    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 50


def test_an_empty_cluster_moves_to_the_value_that_is_farthest_from_its_own():
    values = np.concatenate([np.full(50, -1.0), np.linspace(0.9, 1.1, 50)])  # nothing lies between
    centroids = k_means(values, 6, "linear")

    assert np.unique(nearest(values, centroids)).size == 6


def test_the_same_seed_draws_the_same_start():
    values = weights()
    first, again, other = (k_means(values, 16, "k-means++", seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("init", INITIALIZATIONS)
def test_fewer_distinct_values_than_clusters_are_their_own_centroids(init):
    np.testing.assert_array_equal(k_means(np.array([3, 1, 3, 1.5]), 16, init), [1, 1.5, 3])
    np.testing.assert_array_equal(k_means(np.full(9, 0.25), 2, init), [0.25])


def test_a_value_halfway_between_two_centroids_goes_to_the_larger():
    np.testing.assert_array_equal(nearest(np.array([0.4, 0.5, 0.6, -9, 9]), np.array([0.0, 1.0])), [0, 1, 1, 0, 1])
