"""Data sets as lists of PyG graphs: handwritten digits that come with scikit-learn, and PyG's TU and Planetoid sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import one_hot
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid, TUDataset
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import Constant, NormalizeFeatures
from torch_geometric.utils import degree

from toolchain.errors import InvalidInput, require


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint parts of a data set."""

    train: tuple[Data, ...]
    validation: tuple[Data, ...]
    test: tuple[Data, ...]

    @property
    def features(self) -> int:
        return int(self.train[0].x.shape[1])

    @property
    def classes(self) -> int:
        return 1 + max(int(graph.y.max()) for part in (self.train, self.validation, self.test) for graph in part)


def split(graphs: Sequence[Data], *, seed: int = 0, validation: float = 0.1, test: float = 0.1) -> Split:
    """Shuffle by seed and cut. The same seed gives the same parts on every machine."""
    order = np.random.default_rng(seed).permutation(len(graphs))
    num_test, num_validation = round(len(graphs) * test), round(len(graphs) * validation)
    parts = order[num_test + num_validation :], order[num_test : num_test + num_validation], order[:num_test]
    return Split(*(tuple(graphs[int(i)] for i in part) for part in parts))


def fold(graphs: Sequence[Data], number: int, *, folds: int = 10, seed: int = 12345) -> Split:
    """One part of a stratified k-fold as test part, the part before it for validation, the others for training.

    The parts are those of PyG's own TU benchmarks and of Degree-Quant (scikit-learn's StratifiedKFold, seed 12345).

    Args:
        number: of the test part, 0 to folds - 1.
    """
    if not 0 <= number < folds:
        raise InvalidInput(f"fold {number}: expected 0 to {folds - 1}.")
    stratified = require("sklearn.model_selection", "demo").StratifiedKFold(folds, shuffle=True, random_state=seed)
    labels = np.array([int(graph.y) for graph in graphs])
    parts = [part for _, part in stratified.split(labels, labels)]
    test, validation = parts[number], parts[number - 1]
    train = np.setdiff1d(np.arange(len(graphs)), np.concatenate([test, validation]))
    return Split(*(tuple(graphs[int(i)] for i in part) for part in (train, validation, test)))


def loader(graphs: Sequence[Data], batch_size: int = 64, seed: int = 0) -> DataLoader:
    """Batches of graphs in a new order every epoch, the same for the same seed."""
    order = torch.Generator().manual_seed(seed)
    return DataLoader(list(graphs), batch_size=batch_size, shuffle=True, generator=order)


def digits(limit: int | None = None) -> list[Data]:
    """scikit-learn's 1,797 handwritten digits, each image the graph of its ink pixels.

    A node is a pixel with ink (16 to 42 of the 64, on average 33); edges join the 8 neighbours, in both directions.
    Features: intensity in (0, 1], row and column in [-1, 1]. Label: the digit. Needs no network.

    Args:
        limit: only the first so many images.
    """
    load_digits = require("sklearn.datasets", "demo").load_digits
    images, labels = load_digits().images[:limit], load_digits().target[:limit]
    return [_digit_graph(image, int(label)) for image, label in zip(images, labels, strict=True)]


def _digit_graph(image: np.ndarray, label: int) -> Data:
    rows, columns = np.nonzero(image)
    position = np.stack([rows, columns], axis=1)  # [N, 2]
    distance = np.abs(position[:, None] - position[None]).max(axis=2)  # [N, N]: the king's moves between two pixels
    x = np.concatenate([image[rows, columns][:, None] / 16, position / 3.5 - 1], axis=1)  # [N, 3]
    return Data(
        x=torch.tensor(x, dtype=torch.float32),
        edge_index=torch.tensor(np.stack(np.nonzero(distance == 1)), dtype=torch.long),
        y=torch.tensor([label]),
    )


def tu(root: str | Path, name: str) -> list[Data]:
    """A TU graph-classification set with its node attributes; a set without any gets one constant feature.

    PyG downloads it unless its raw files lie in `root/name/raw`.
    """
    dataset = TUDataset(str(root), name, use_node_attr=True)
    if dataset[0].x is None:
        dataset = TUDataset(str(root), name, transform=Constant())
    return list(dataset)


def tu_benchmark(root: str | Path, name: str) -> list[Data]:
    """A TU graph-classification set with the features of PyG's own benchmarks: its node labels, else the nodes' degrees.

    Degrees are one-hot, or where one reaches 1,000 standardized over all nodes of the set. As Degree-Quant has them.
    """
    graphs = list(TUDataset(str(root), name))
    return graphs if graphs[0].x is not None else with_degrees(graphs)


def with_degrees(graphs: Sequence[Data], *, most_one_hot: int = 1000) -> list[Data]:
    """Copies whose x [N, F] is the node's out-degree: one-hot, or from `most_one_hot` on one standardized column."""
    degrees = [degree(graph.edge_index[0], graph.num_nodes) for graph in graphs]
    joined = torch.cat(degrees)
    largest = int(joined.max())
    copies = [graph.clone() for graph in graphs]
    for graph, d in zip(copies, degrees, strict=True):
        if largest < most_one_hot:
            graph.x = one_hot(d.long(), largest + 1).float()
        else:
            graph.x = ((d - joined.mean()) / joined.std()).unsqueeze(1)
    return copies


def planetoid(root: str | Path, name: str, *, normalize: bool = True) -> Data:
    """Cora, CiteSeer or PubMed with the public split as train_mask, val_mask and test_mask.

    PyG downloads it unless its raw files lie in `root/name/raw`.

    Args:
        normalize: rows of x sum to 1, as in most papers. Without it the words of Cora and CiteSeer are 0 or 1, which a
            model can be given as positions of ones.
    """
    if name not in ("Cora", "CiteSeer", "PubMed"):
        raise InvalidInput(f"data set {name!r}: expected Cora, CiteSeer or PubMed. Use tu(root, name) for TU sets.")
    return Planetoid(str(root), name, transform=NormalizeFeatures() if normalize else None)[0]
