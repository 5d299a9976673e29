"""Weight sharing: one function, `share`, and the k-means clustering that it takes."""

from toolchain.compression.weight_sharing.step import KMeans, share

__all__ = ["KMeans", "share"]
