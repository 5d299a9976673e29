"""A digest of graphs, so that what was computed from them is never taken for what follows from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from toolchain.compression.evaluation import several
from toolchain.inputs import is_sparse

READ = (
    "x",
    "edge_index",
    "edge_weight",
    "edge_attr",
    "edge_type",
    "batch",
    "y",
    "train_mask",
    "val_mask",
)  # what calibration, training and validation read of a graph


def data_sha256(graphs: Iterable[Any]) -> str:
    """Digest of what is read of PyG graphs or GraphInputs, in order, without using up what gives them.

    A loader counts by its dataset and its batches; what has neither places nor a dataset by its type alone.

    Raises:
        InvalidInput: one graph, not in a list.
    """
    digest = hashlib.sha256()
    # Transforms of a dataset may draw random numbers: the same ones each time, and none of those of the caller.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sources: list[Any] = [graphs]
        if not _has_places(several(graphs)):
            sampler = getattr(graphs, "sampler", None)
            batches = [getattr(graphs, name, None) for name in ("batch_size", "drop_last")]
            _update(digest, [type(graphs).__name__, *map(repr, batches), type(sampler).__name__])
            _update(digest, getattr(sampler, "indices", None))
            sources = [getattr(graphs, name, None) for name in ("dataset", "data")]  # loaders of neighbours have data
        for source in sources:
            _update(digest, source)
    return f"sha256:{digest.hexdigest()}"


def _has_places(graphs: Any) -> bool:
    return hasattr(graphs, "__len__") and hasattr(graphs, "__getitem__") and not isinstance(graphs, Mapping | str)


def _update(digest: Any, item: Any) -> None:
    """Add a graph, an array, a name, or several of them."""
    present = {name: value for name in READ if (value := getattr(item, name, None)) is not None}
    if "edge_index" in present or "x" in present:
        for name, value in present.items():
            _update(digest, name)
            _update(digest, value)
        if "batch" in present:  # whose last graphs may be empty
            _update(digest, str(getattr(item, "num_graphs", None)))
    elif isinstance(item, np.ndarray | np.generic | torch.Tensor | bool | int | float) or is_sparse(item):
        dense = item
        if is_sparse(item):
            dense = item.toarray() if hasattr(item, "toarray") else item.to_dense()
        array = np.ascontiguousarray(dense.detach().cpu().numpy() if hasattr(dense, "detach") else dense)
        digest.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    elif _has_places(item):
        digest.update(f"{len(item)} items ".encode())
        for place in range(len(item)):
            _update(digest, item[place])
    else:
        digest.update((item if isinstance(item, str) else type(item).__name__).encode())
    digest.update(b"\0")
