"""OnnxWriter: nodes, constants and functions in, a serialized ONNX model out. It knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolchain.feeds import Feed

OPSET = 20  # Gelu needs 20, ScatterND(max) 18, LayerNormalization 17; onnxruntime reads it since 1.17
IR_VERSION = 9  # the file format that came with opset 20
FUNCTION_DOMAIN = "pocketgnn"  # of local functions, whose bodies the file holds: no custom kernel is needed
OPERATOR_DOMAIN = "pocketgnn.operators"  # of the operators in runtimes/operators

_ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32}


@dataclass(slots=True)
class OnnxWriter:
    """Collects one model. Every method that adds something returns the name of its result.

    Attributes:
        sparse_weights: store tensors of many zeros as sparse ones, where that takes fewer bytes.
        nodes: the node list being written to: the graph's, or a branch's inside `branch`.
    """

    sparse_weights: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    _sparse: list[onnx.SparseTensorProto] = field(default_factory=list)
    _initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _constant_names: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)
    _functions: dict[str, onnx.FunctionProto] = field(default_factory=dict)
    _widened: dict[str, onnx.NodeProto] = field(default_factory=dict)
    _has_operators: bool = False
    _next: int = 0

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node with one output. An empty input name is an optional input left out."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def once(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """As `op`, but an equal node of the list being written is used again."""
        wanted = helper.make_node(kind, inputs, [], **attributes)
        for node in self.nodes:
            same = (node.op_type, node.input, node.attribute) == (kind, wanted.input, wanted.attribute)
            if same:
                return str(node.output[0])
        return self.op(kind, *inputs, **attributes)

    def ops(self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> tuple[str, ...]:
        """Append a node with several outputs."""
        names = tuple(self._fresh() for _ in range(outputs))
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def spmm(self, *operands: str) -> str:
        """Sums of rows of x: operands x [N, C], row_pointer [N + 1], source [E] and, where they are not 1, factors [E, 1]."""
        self._has_operators = True
        return self.op("Spmm" if len(operands) == 3 else "WeightedSpmm", *operands, domain=OPERATOR_DOMAIN)

    def is_not_empty(self, value: str) -> str:
        """A bool scalar."""
        return self.op("Cast", self.op("Size", value), to=TensorProto.BOOL)

    def constant(self, array: np.ndarray | np.generic | float) -> str:
        """A stored tensor; equal tensors are stored once. A Python float becomes a float32 scalar."""
        value = np.asarray(array, np.float32 if isinstance(array, float) else None)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constant_names:
            name = f"c{len(self._constant_names)}"
            self._constant_names[key] = name
            dense, sparse = numpy_helper.from_array(value, name), _sparse(value, name)
            if self.sparse_weights and sparse is not None and sparse.ByteSize() < dense.ByteSize():
                self._sparse.append(sparse)
            else:
                self._initializers[name] = dense
        return self._constant_names[key]

    def widened(self, halves: np.ndarray) -> str:
        """float32 of a tensor that is stored as float16; ahead of all other nodes, so that every branch reads it."""
        name = self.constant(halves)
        if name not in self._widened:
            self._widened[name] = helper.make_node("Cast", [name], [self._fresh()], to=TensorProto.FLOAT)
        return str(self._widened[name].output[0])

    def function(self, name: str, build: Callable[[], onnx.FunctionProto]) -> None:
        """Store a local function of the file, once for each name."""
        if name not in self._functions:
            self._functions[name] = build()

    def branch(self, emit: Callable[[], Sequence[str]]) -> tuple[onnx.GraphProto, tuple[str, ...]]:
        """The subgraph of the nodes that `emit` writes, and its result names. It reads outer names."""
        outer, self.nodes = self.nodes, []
        try:
            results = tuple(emit())
            owned = tuple(self._own(result, results[:i]) for i, result in enumerate(results))
            outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in owned]
            return helper.make_graph(self.nodes, "branch", [], outputs), owned
        finally:
            self.nodes = outer

    def select(
        self, condition: Callable[[], str], then: Callable[[], Sequence[str]], otherwise: Callable[[], Sequence[str]]
    ) -> tuple[str, ...]:
        """Run one of two branches with the same number of results. The condition is written after both."""
        then_graph, then_names = self.branch(then)
        else_graph, else_names = self.branch(otherwise)
        assert len(then_names) == len(else_names)
        return self.ops("If", condition(), outputs=len(then_names), then_branch=then_graph, else_branch=else_graph)

    def serialize(
        self,
        name: str,
        feeds: Sequence[Feed],
        results: Mapping[str, str],
        dims: Mapping[str, Sequence[str | int]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """The model's bytes, the same for the same calls.

        Args:
            feeds: the inputs, in order.
            results: output name → the value it carries.
            dims: output name → its dimensions.
        """
        values = list(results.values())
        self._rename({self._own(value, values[:i]): output for i, (output, value) in enumerate(results.items())})
        inputs = [
            helper.make_tensor_value_info(feed.name, _ELEMENT_TYPES[feed.dtype], [_dim(feed, d) for d in feed.dims])
            for feed in feeds
        ]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, dims[output]) for output in results]
        # An input with an initializer is optional: left out, it is the empty array that the initializer holds.
        defaults = [numpy_helper.from_array(_nothing(feed), feed.name) for feed in feeds if is_optional(feed)]
        graph = helper.make_graph(
            [*self._widened.values(), *self.nodes],
            name,
            inputs,
            outputs,
            [*self._initializers.values(), *defaults],
            sparse_initializer=self._sparse,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        opsets += [helper.make_opsetid(FUNCTION_DOMAIN, 1)] if self._functions else []
        opsets += [helper.make_opsetid(OPERATOR_DOMAIN, 1)] if self._has_operators else []
        functions = list(self._functions.values())
        model = helper.make_model(
            graph, producer_name="pocketgnn", ir_version=IR_VERSION, opset_imports=opsets, functions=functions
        )
        helper.set_model_props(model, dict(metadata))
        return model.SerializeToString(deterministic=True)

    def _fresh(self) -> str:
        self._next += 1
        return f"v{self._next}"

    def _own(self, value: str, taken: Sequence[str]) -> str:
        """`value`, or a copy of it where no node of this list makes it or it stands for another output already."""
        is_made_here = any(value in node.output for node in self.nodes)
        return value if is_made_here and value not in taken else self.op("Identity", value)

    def _rename(self, names: Mapping[str, str]) -> None:
        for node in self.nodes:
            for list_of_names in (node.input, node.output):
                for i, name in enumerate(list_of_names):
                    list_of_names[i] = names.get(name, name)


def _sparse(array: np.ndarray, name: str) -> onnx.SparseTensorProto | None:
    """A float tensor as its non-zeros and their positions, 12 bytes each; other tensors have no sparse form."""
    positions = np.flatnonzero(array)
    if array.dtype != np.float32 or not positions.size or not array.ndim:
        return None
    values = numpy_helper.from_array(array.reshape(-1)[positions], name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(positions.astype(np.int64)), array.shape)


def _dim(feed: Feed, dim: str | int) -> str | int:
    """A symbol for one axis: equal symbols have equal lengths, and E differs between topologies."""
    if isinstance(dim, int):
        return dim
    symbol = f"E{feed.topology}" + ("" if feed.loops else "_without_loops") if dim == "E" else dim
    return f"{symbol}_or_0" if is_optional(feed) else symbol


def is_optional(feed: Feed) -> bool:
    """Whether graphs of some size leave a feed out."""
    return feed.nodes_at_most is not None or feed.nodes_above is not None


def _nothing(feed: Feed) -> np.ndarray:
    return np.zeros([dim if isinstance(dim, int) else 0 for dim in feed.dims], feed.dtype)
