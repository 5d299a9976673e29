"""Accuracy and agreement of Graphs on real graphs, through the reference interpreter, many graphs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from toolchain.errors import InvalidInput
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, check_graph, interpret
from toolchain.ir.ops import Linear

Read = TypeVar("Read")
ArrayLoss = Callable[[np.ndarray, np.ndarray], float]
BATCH_NODES = 8192
"""Graphs are interpreted together up to this many nodes: enough to amortize Python, little enough to stay in cache."""


def as_inputs(graphs: Iterable[Any]) -> list[GraphInputs]:
    """Checked graphs from GraphInputs, PyG Data or Batch objects, or a loader of them."""
    return list(numbered(graphs, lambda g: g if isinstance(g, GraphInputs) else GraphInputs.from_pyg(g)))


def numbered(graphs: Iterable[Any], read: Callable[[Any], Read]) -> Iterator[Read]:
    """What is read of each graph; where one is refused, the error says the how many-th, from 0 on, it is.

    Raises:
        InvalidInput: one graph, not in a list, or a graph that `read` refuses.
    """
    for number, graph in enumerate(several(graphs)):
        try:
            yield read(graph)
        except InvalidInput as error:
            raise InvalidInput(f"graphs[{number}]: {error}") from error


def several(graphs: Iterable[Any]) -> Iterable[Any]:
    """The same; refuses a single Data, whose fields would be taken for graphs.

    Raises:
        InvalidInput: one graph, not in a list.
    """
    if isinstance(graphs, GraphInputs) or hasattr(graphs, "edge_index"):
        raise InvalidInput(
            f"graphs: got one {type(graphs).__name__}, expected a list or a loader of them. Pass it as [data]."
        )
    return graphs


def measures_ranges(graph: Graph) -> bool:
    """Whether a graph is dynamic int8: it quantizes over the range of a whole call, so a batch changes the result."""
    return any(
        isinstance(v.op, Linear) and graph.values[v.inputs[0]].type.dtype is DType.F32
        and graph.values[v.inputs[1]].type.dtype.is_integer
        for v in graph.values
    )  # fmt: skip


def batches(graphs: Sequence[GraphInputs]) -> Iterator[GraphInputs]:
    """The same graphs in order, concatenated to batches of at most `BATCH_NODES` nodes (a larger graph stays alone)."""
    chunk: list[GraphInputs] = []
    nodes = 0
    for graph in graphs:
        if chunk and nodes + graph.num_nodes > BATCH_NODES:
            yield GraphInputs.concatenate(chunk)
            chunk, nodes = [], 0
        chunk.append(graph)
        nodes += graph.num_nodes
    if chunk:
        yield GraphInputs.concatenate(chunk) if len(chunk) > 1 else chunk[0]


def predict(graph: Graph, graphs: Sequence[GraphInputs]) -> np.ndarray:
    """First output for all graphs, rows in order: [rows, channels] float32. Dynamic int8 runs one graph at a time."""
    return predict_all(graph, graphs)[0]


def predict_all(graph: Graph, graphs: Sequence[GraphInputs]) -> list[np.ndarray]:
    """Every output for all graphs, as `predict`."""
    parts = [interpret(graph, batch) for batch in (graphs if measures_ranges(graph) else batches(graphs))]
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def evaluate(graph: Graph, graphs: Iterable[Any], *, mask: str = "val_mask") -> float:
    """Share of rows (graphs or nodes) whose label is the top class of the first output.

    Args:
        graphs: PyG Data or Batch objects with class labels in `y`, or a loader of them.
        mask: for node tasks, the attribute that selects the nodes that count; all nodes where a graph has none.

    Raises:
        InvalidInput: a graph without labels, or labels that are not one class per row.
    """
    check_graph(graph)
    data = list(several(graphs))
    return accuracy(data, lambda: predict(graph, as_inputs(data)), mask=mask)


def accuracy(data: Sequence[Any], outputs: Callable[[], np.ndarray], *, mask: str = "val_mask") -> float:
    """`evaluate` of outputs [rows, C] that are computed some other way, once the labels are known to be there."""
    found, expected = _counted(data, outputs, mask)
    return float((found.argmax(axis=1) == expected).mean())


def mean_loss(
    data: Sequence[Any], outputs: Callable[[], np.ndarray], *, mask: str = "val_mask", loss: ArrayLoss | None = None
) -> float:
    """The loss of outputs [rows, C]; data, mask and errors as for `accuracy`.

    Args:
        loss: of (outputs [rows, C], y [rows, ...]); None: cross entropy of logits or log-probabilities.
    """
    found, expected = _counted(data, outputs, mask, are_classes=loss is None)
    if loss is not None:
        return loss(found, expected)
    logits = found.astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    likelihood = logits[np.arange(len(expected)), expected] - np.log(np.exp(logits).sum(axis=1))
    return float(-likelihood.mean())


def _counted(
    data: Sequence[Any], outputs: Callable[[], np.ndarray], mask: str, *, are_classes: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and labels of the rows that count; labels that are no classes keep the shape of a row."""
    labels = [_array(d, "y") for d in data]
    if not data:
        raise InvalidInput("graphs: none given, expected at least one with labels in y.")
    if any(y is None for y in labels):
        raise InvalidInput("y: missing on a validation graph. Give every graph class labels in y.")
    found = outputs()
    expected = np.concatenate([np.asarray(y).reshape(-1) if are_classes else np.asarray(y) for y in labels])
    if len(expected) != len(found):
        raise InvalidInput(
            f"y: {expected.size} labels for {len(found)} predictions; expected one class per output row."
        )
    masks = [_array(d, mask) for d in data]
    if all(m is not None for m in masks):
        keep = np.concatenate([np.asarray(m, bool) for m in masks])
        if len(keep) == len(expected):
            if not keep.any():
                raise InvalidInput(f"{mask}: selects no node, so there is nothing to measure.")
            found, expected = found[keep], expected[keep]
    if are_classes:
        check_classes(expected, found.shape[1])
    return found, expected


def check_classes(labels: np.ndarray, channels: int) -> None:
    """Refuse labels [rows] that name no channel of the output.

    Raises:
        InvalidInput: the first such label.
    """
    is_strange = (labels < 0) | (labels >= channels)
    if is_strange.any():
        raise InvalidInput(
            f"y: class {labels[is_strange.argmax()]}, but the output has {channels} channels: classes must lie in "
            f"[0, {channels - 1}]. Nodes without a class are left out with a mask."
        )


def agreement(reference: np.ndarray, candidate: np.ndarray, *, are_numbers: bool = False) -> float:
    """Share of rows on which two outputs decide alike.

    With several channels: the same top class. With one channel there is no class, so: within 2 % of the range that the
    reference covers over all rows. Of numbers: the same for every channel of the row.
    """
    if reference.shape[0] == 0:
        return 1.0
    if reference.shape[1] > 1 and not are_numbers:
        return float((reference.argmax(axis=1) == candidate.argmax(axis=1)).mean())
    spread = np.maximum(np.ptp(reference, axis=0), np.maximum(np.abs(reference).max(axis=0) * 1e-3, 1e-12))
    return float((np.abs(reference - candidate) <= 0.02 * spread).all(axis=1).mean())


def has_numbers(graphs: Iterable[Any]) -> bool:
    """Whether the targets y of PyG graphs are real numbers, and the outputs of their model no classes."""
    targets = (_array(data, "y") for data in graphs)
    return any(y is not None and np.asarray(y).dtype.kind == "f" for y in targets)


def _array(data: Any, name: str) -> np.ndarray | None:
    value = getattr(data, name, None)
    if value is None:
        return None
    return np.atleast_1d(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
