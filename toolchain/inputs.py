"""A graph as a user gives it, checked once: features, edges, optional weights and attributes, the graph of each node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolchain.errors import InvalidInput
from toolchain.sparse_features import SparseFeatures
from toolchain.topology import Topology, TopologySpec, build_topology, occurrences


@dataclass(frozen=True, slots=True, eq=False)
class GraphInputs:
    """One graph, or a batch of graphs laid side by side. Construction checks and converts; afterwards it can be trusted.

    Attributes:
        x: node features, [N, F] float32, finite, N >= 1.
        edge_index: [2, E] int64, row 0 the source and row 1 the target of each edge, all in [0, N). E may be 0; self-loops,
            repeated edges and isolated nodes are legal.
        edge_weight: [E] float32 or None. [E, 1] is accepted.
        edge_attr: [E, D] float32 or None. [E] is accepted as D = 1.
        batch: [N] int64, the graph of each node, not decreasing; None means that all nodes are one graph.
        num_graphs: graphs in the batch; by default the last entry of `batch` + 1.
        edge_type: [E] int64 or None: the relation of each edge, 0 or more.

    Raises:
        InvalidInput: with the field, the offending value and its place.
    """

    x: np.ndarray
    edge_index: np.ndarray
    edge_weight: np.ndarray | None = None
    edge_attr: np.ndarray | None = None
    batch: np.ndarray | None = None
    num_graphs: int = 0
    edge_type: np.ndarray | None = None
    _sparse_x: SparseFeatures | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        x = _floats("x", self.x)
        if x.ndim != 2 or x.shape[0] < 1:
            raise InvalidInput(f"x: shape {list(x.shape)}, expected [N, F] with N >= 1 (one row per node).")
        edges = _indices("edge_index", self.edge_index)
        if edges.ndim != 2 or edges.shape[0] != 2:
            raise InvalidInput(f"edge_index: shape {list(edges.shape)}, expected [2, E] (sources, targets).")
        _check_range("edge_index", edges, x.shape[0], "node")
        num_edges = edges.shape[1]
        weight = self.edge_weight
        if weight is not None:
            weight = _floats("edge_weight", weight)
            if weight.shape not in ((num_edges,), (num_edges, 1)):
                raise InvalidInput(f"edge_weight: shape {list(weight.shape)}, expected [{num_edges}] (one per edge).")
            weight = weight.reshape(num_edges)
        attr = self.edge_attr
        if attr is not None:
            attr = _floats("edge_attr", attr)
            if attr.ndim not in (1, 2) or attr.shape[0] != num_edges:
                raise InvalidInput(
                    f"edge_attr: shape {list(attr.shape)}, expected [{num_edges}, D] (one row per edge)."
                )
            attr = attr.reshape(num_edges, -1) if num_edges else attr.reshape(0, attr.shape[1] if attr.ndim == 2 else 1)
        relations = self.edge_type
        if relations is not None:
            relations = _indices("edge_type", relations)
            if relations.shape != (num_edges,):
                raise InvalidInput(f"edge_type: shape {list(relations.shape)}, expected [{num_edges}] (one per edge).")
            if relations.min(initial=0) < 0:
                raise InvalidInput(f"edge_type: {relations.min()}, expected relations numbered from 0.")
        batch, num_graphs = self.batch, self.num_graphs
        if batch is not None:
            batch = _indices("batch", batch)
            if batch.shape != (x.shape[0],):
                raise InvalidInput(
                    f"batch: shape {list(batch.shape)}, expected [{x.shape[0]}] (one graph number per node)."
                )
            if (np.diff(batch) < 0).any():
                raise InvalidInput(
                    "batch: not sorted; the nodes of a graph must be contiguous. Sort the nodes by graph."
                )
            num_graphs = num_graphs or int(batch[-1]) + 1
            _check_range("batch", batch, num_graphs, "graph")
        elif num_graphs not in (0, 1):
            raise InvalidInput(f"batch: missing, but num_graphs is {num_graphs}. Pass batch of shape [N].")
        for name, value in (
            ("x", x),
            ("edge_index", edges),
            ("edge_weight", weight),
            ("edge_attr", attr),
            ("batch", batch),
            ("num_graphs", num_graphs or 1),
            ("edge_type", relations),
        ):
            object.__setattr__(self, name, value)

    @property
    def num_nodes(self) -> int:
        return int(self.x.shape[0])

    @property
    def num_edges(self) -> int:
        return int(self.edge_index.shape[1])

    @property
    def sparse_x(self) -> SparseFeatures:
        """The entries of x other than 0; found when first asked for."""
        if self._sparse_x is None:
            object.__setattr__(self, "_sparse_x", SparseFeatures.of(self.x))
        assert self._sparse_x is not None
        return self._sparse_x

    @property
    def graph_index(self) -> np.ndarray:
        """Graph of each node, [N] int64."""
        return self.batch if self.batch is not None else np.zeros(self.num_nodes, np.int64)

    @property
    def nodes_per_graph(self) -> np.ndarray:
        """[G] int64."""
        return occurrences(self.graph_index, self.num_graphs)

    @classmethod
    def from_pyg(cls, data: Any) -> GraphInputs:
        """Read a `torch_geometric.data.Data` or `Batch` (anything with tensors of these names). torch is not imported.

        x may be sparse: of any torch layout, a `SparseTensor` of torch_sparse, or of scipy.
        """

        def array(name: str) -> np.ndarray | None:
            value = getattr(data, name, None)
            if value is None or isinstance(value, np.ndarray):
                return value
            if is_sparse(value):
                if name != "x":
                    raise InvalidInput(f"{name}: sparse tensors are not taken here. Pass edge_index of shape [2, E].")
                value = value.toarray() if hasattr(value, "toarray") else value.to_dense()
                if isinstance(value, np.ndarray):
                    return value
            return np.asarray(value.detach().cpu().numpy())

        x, edges = array("x"), array("edge_index")
        if x is None or edges is None:
            missing = "x" if x is None else "edge_index"
            raise InvalidInput(
                f"{missing}: missing from a {type(data).__name__}. Give every graph x of shape [N, F] and edge_index [2, E]."
            )
        num_graphs = int(getattr(data, "num_graphs", 0) or 0) if array("batch") is not None else 0
        weight, attr = array("edge_weight"), array("edge_attr")
        return cls(x, edges, weight, attr, array("batch"), num_graphs, array("edge_type"))

    @classmethod
    def concatenate(cls, graphs: Sequence[GraphInputs]) -> GraphInputs:
        """Lay graphs (or batches) side by side as one batch; node and graph numbers are shifted.

        Raises:
            InvalidInput: no graphs, or a field that only some of them have.
        """
        if not graphs:
            raise InvalidInput("graphs: none given, expected at least one to make a batch of.")

        def joined(name: str) -> np.ndarray | None:
            arrays = [array for g in graphs if (array := getattr(g, name)) is not None]
            if arrays and (len(arrays) != len(graphs) or len({array.shape[1:] for array in arrays}) != 1):
                raise InvalidInput(f"{name}: the graphs of a batch must all have it with one width, or none of them.")
            return np.concatenate(arrays) if arrays else None

        first_node = np.cumsum([0, *(g.num_nodes for g in graphs)])
        first_graph = np.cumsum([0, *(g.num_graphs for g in graphs)])
        x = joined("x")
        assert x is not None
        edges = np.concatenate([g.edge_index + start for g, start in zip(graphs, first_node, strict=False)], axis=1)
        batch = np.concatenate([g.graph_index + start for g, start in zip(graphs, first_graph, strict=False)])
        weight, attr = joined("edge_weight"), joined("edge_attr")
        return cls(x, edges, weight, attr, batch, int(first_graph[-1]), joined("edge_type"))

    def prepare(self, specs: tuple[TopologySpec, ...]) -> PreparedGraph:
        """Compute every topology of a model for this graph, once."""
        edges = self.num_nodes, self.edge_index, self.edge_weight, self.edge_type
        return PreparedGraph(self, tuple(build_topology(spec, *edges) for spec in specs))


@dataclass(frozen=True, slots=True, eq=False)
class PreparedGraph:
    """A checked graph with the topologies of a model: all that a runtime or interpreter reads."""

    inputs: GraphInputs
    topologies: tuple[Topology, ...]


def is_sparse(value: Any) -> bool:
    """Whether an array is one of torch with another layout than strided, of torch_sparse or of scipy."""
    is_strided = str(getattr(value, "layout", "torch.strided")) == "torch.strided"
    return not is_strided or hasattr(value, "sparse_sizes") or hasattr(value, "toarray")


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise InvalidInput(f"{name}: is no array ({error}).") from error


def _floats(name: str, value: Any) -> np.ndarray:
    array = _array(name, value)
    if array.dtype.kind not in "fiub":
        raise InvalidInput(f"{name}: dtype {array.dtype}, expected real numbers.")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InvalidInput(
            f"{name}: {array[place]} at {list(place)}; every value must be finite in float32. Clean the features first."
        )
    return array


def _indices(name: str, value: Any) -> np.ndarray:
    array = _array(name, value)
    if array.size == 0 and array.dtype.kind == "f":  # np.zeros((2, 0)) is an edgeless graph, not a float mistake
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InvalidInput(f"{name}: dtype {array.dtype}, expected integers.")
    return np.ascontiguousarray(array, dtype=np.int64)


def _check_range(name: str, array: np.ndarray, limit: int, what: str) -> None:
    if array.size == 0:
        return
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= limit:
        place = tuple(int(i) for i in np.argwhere((array < 0) | (array >= limit))[0])
        raise InvalidInput(
            f"{name}: {what} {int(array[place])} at {list(place)}, but there are {limit} {what}s: "
            f"values must lie in [0, {limit - 1}]."
        )
