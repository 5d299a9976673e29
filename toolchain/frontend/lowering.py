"""`lower`: from a PyG model to a float32 Graph, by running its own forward on symbols; the result is checked."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, HeteroData

from toolchain.errors import InvalidGraph, InvalidInput, PocketGnnError, TypeMismatch, UnsupportedModule
from toolchain.frontend import (  # noqa: F401  importing them fills the tables of the registry
    attention,
    convs,
    dense,
    edge_functions,
    elementary,
    functions,
    graph_functions,
    norms,
    pools,
    products,
    recurrent,
    refusals,
    relations,
    shape_functions,
    spectral,
    tensor_functions,
)
from toolchain.frontend.arguments import forward_arguments, run_model
from toolchain.frontend.index_symbols import EdgeIndex, EdgeType, GraphIndex, GraphPointer
from toolchain.frontend.registry import (
    FUNCTIONS,
    GRAPH_FUNCTIONS,
    graph_function_name,
    supported_functions,
    supported_layers,
)
from toolchain.frontend.source_lines import raising_line, source_line
from toolchain.frontend.symbols import Count, Rows, Symbol
from toolchain.frontend.tracing import checked_copy, drop_caches, symbolic_calls
from toolchain.inputs import GraphInputs
from toolchain.ir.graph import Graph, GraphBuilder
from toolchain.ir.ops import End, Gather, Input, Linear, Op, Pool, Reduce, Role, RowFactor
from toolchain.ir.reference import interpret
from toolchain.ir.types import Domain, TensorType, edge, node
from toolchain.ir.verify import verify
from toolchain.topology import TopologySpec

RELATIVE_TOLERANCE = 1e-4  # of the largest magnitude; a wrong lowering is off by far more, float32 rounding by far less


def lower(model: torch.nn.Module, example: Data, *, name: str = "model", traces_layers: bool = False) -> Graph:
    """Lower a trained model, as it behaves in eval mode, to a float32 Graph. The model itself is never changed.

    Args:
        model: takes x, edge_index, edge_weight, edge_attr, edge_type, batch, batch_size, ptr by name, or a single `data`.
        example: a Data or Batch that the model accepts. It states the widths and which of edge_weight, edge_attr and
            batch the model is called with; nothing else of it remains in the Graph.
        name: a C identifier for generated files.
        traces_layers: run every message-passing layer's own forward, also where a lowering for it exists.

    Returns:
        The Graph, with BatchNorm and Dropout still in it. A one-dimensional output [rows] becomes [rows, 1].

    Raises:
        UnsupportedModule: a layer, function or argument has no lowering.
        InvalidInput: the example is not a well-formed graph.
        InvalidGraph: the lowered graph and the model disagree on the example.
    """
    if not isinstance(model, torch.nn.Module):
        raise UnsupportedModule(f"model: got {type(model).__name__}, expected a torch.nn.Module instance.")
    if not isinstance(example, Data):
        way_out = (
            " Values have one row for each node, of whatever kind: use data.to_homogeneous(), whose edge_type says the relation "
            "of each edge, and choose edges by edge_index[:, edge_type == r]."
        )
        raise InvalidInput(
            f"example: got {type(example).__name__}, expected torch_geometric.data.Data or a Batch of Data."
            + (way_out if isinstance(example, HeteroData) else "")
        )
    inputs = GraphInputs.from_pyg(example)
    duplicate = checked_copy(model)
    expected = _expected_outputs(duplicate, example)
    drop_caches(duplicate)
    lowering = Lowering(duplicate, inputs, name, traces_layers)
    with symbolic_calls(duplicate, lowering):
        arguments = forward_arguments(duplicate, lowering.fields(example), frozenset(example.keys()))
        result = lowering.run(lambda: duplicate(**arguments))
    graph = verify(lowering.finish(result))
    _check_finite(expected)
    _check_against_model(graph, inputs, expected)
    return graph


def _expected_outputs(model: torch.nn.Module, example: Data) -> tuple[np.ndarray, ...]:
    try:
        return run_model(model, example)
    except PocketGnnError:
        raise
    except Exception as error:  # whatever the user's forward raises
        raise InvalidInput(
            f"example: the model itself fails on it ({type(error).__name__}: {error}). Pass a graph that it takes."
        ) from error


def _check_finite(expected: tuple[np.ndarray, ...]) -> None:
    for number, output in enumerate(expected):
        if not np.isfinite(output).all():
            place = [int(at) for at in np.argwhere(~np.isfinite(output))[0]]
            raise InvalidInput(
                f"example: output {number} of the model itself is {output[tuple(place)]} at {place}. Its values overflow "
                "float32 or divide by 0 on this graph: scale the features, or repair the checkpoint."
            )


def _check_against_model(graph: Graph, inputs: GraphInputs, expected: tuple[np.ndarray, ...]) -> None:
    actual = interpret(graph, inputs)
    if len(actual) != len(expected):
        raise InvalidGraph(f"{graph.name}: lowered to {len(actual)} outputs, the model returns {len(expected)}")
    for number, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        theirs = theirs[:, None] if theirs.ndim == 1 else theirs
        if ours.shape != theirs.shape:
            raise InvalidGraph(
                f"{graph.name}: output {number} has shape {ours.shape}, the model returns {theirs.shape}"
            )
        error, largest = float(np.abs(ours - theirs).max(initial=0)), float(np.abs(theirs).max(initial=0))
        if not error <= RELATIVE_TOLERANCE * max(largest, 1e-6):
            raise InvalidGraph(
                f"{graph.name}: output {number} differs from the model by {error:g} (largest value {largest:g}) on the "
                f"example; at most {RELATIVE_TOLERANCE:g} of the largest value is allowed. The lowering of one of its "
                "layers is wrong, or the model is not a function of its arguments (random, or keeps state)."
            )


class Lowering:
    """State of one `lower` call: the graph under construction, the module being run, the constants made so far."""

    def __init__(self, model: torch.nn.Module, inputs: GraphInputs, name: str, traces_layers: bool = False) -> None:
        self.builder = GraphBuilder(name=name)
        self.inputs = inputs
        self.scope = ""
        self.traces_layers = traces_layers
        self._names: dict[int, str] = {}
        for path, tensor in (*model.named_parameters(), *model.named_buffers()):
            self._names.setdefault(id(tensor), path)
        self._constants: dict[tuple[object, ...], int] = {}
        self._kept: list[torch.Tensor] = []  # keeps the ids in `_constants` unique
        self._edge_inputs: dict[tuple[Role, int], int] = {}
        self._gathered: dict[tuple[int, End, int], int] = {}
        self._node_factors: dict[tuple[int, End], int] = {}
        self.coefficients: dict[int, int] = {}  # edge value that is the coefficient of each edge -> its topology
        self.spread_heads: dict[int, int] = {}  # [E, H * C] of one number per head -> those numbers, [E, H]
        self.unit_edges: set[int] = set()  # edge values that are 1 everywhere
        self._x = self.builder.add(Input(Role.X, node(inputs.x.shape[1])))

    # --- what the model is called with ---

    def fields(self, example: Data) -> Mapping[str, Any]:
        """A symbol for every argument that the example provides, None for those it lacks."""
        inputs = self.inputs
        weight_rank = 1 if example.get("edge_weight") is None else example["edge_weight"].dim()
        attr_rank = 1 if example.get("edge_attr") is None else example["edge_attr"].dim()
        batched = inputs.batch is not None
        return {
            "x": Rows(self, self._x, role=Role.X),
            "edge_index": EdgeIndex(self),
            "edge_weight": None if inputs.edge_weight is None else Rows(self, None, weight_rank, Role.EDGE_WEIGHT),
            "edge_attr": None if inputs.edge_attr is None else Rows(self, None, attr_rank, Role.EDGE_ATTR),
            "edge_type": None if inputs.edge_type is None else EdgeType(self),
            "batch": GraphIndex(self) if batched else None,
            "ptr": None if example.get("ptr") is None else GraphPointer(self),
            "batch_size": Count(self, Domain.GRAPH) if batched else None,
            "num_graphs": Count(self, Domain.GRAPH) if batched else 1,
            "num_nodes": Count(self, Domain.NODE),
            "num_edges": Count(self, Domain.EDGE),
            "num_features": inputs.x.shape[1],
            "num_node_features": inputs.x.shape[1],
        }

    # --- values ---

    def add(self, op: Op, *operands: int) -> int:
        """Append a value in the current scope."""
        try:
            return self.builder.add(op, *operands, scope=self.scope)
        except TypeMismatch as error:
            raise UnsupportedModule(f"{self.place}: {error}") from error

    def rows(self, op: Op, *operands: int) -> Rows:
        """Append a value and return it as a two-dimensional symbol."""
        return Rows(self, self.add(op, *operands))

    def edges(self) -> int:
        """Topology of the edges as the user gives them."""
        return self.builder.topology(TopologySpec())

    def edge_input(self, role: Role, topology: int) -> int:
        """The Input value of an edge array in the order of a topology."""
        if (role, topology) not in self._edge_inputs:
            self._edge_inputs[role, topology] = self.builder.add(Input(role, self.edge_type(role, topology)))
        return self._edge_inputs[role, topology]

    def edge_type(self, role: Role, topology: int) -> TensorType:
        """Type of an edge array in the order of a topology."""
        attributes = self.inputs.edge_attr
        return edge(attributes.shape[1] if role is Role.EDGE_ATTR and attributes is not None else 1, topology)

    def gather(self, edges: EdgeIndex, end: End, value: int) -> int:
        """Node values at one end of every edge; asked for again, the same value."""
        key = (edges.topology, end, value)
        if key not in self._gathered:
            self._gathered[key] = self.add(Gather(edges.topology, end), value)
        return self._gathered[key]

    def filled(self, domain: Domain, channels: int, number: float, edges: EdgeIndex | None = None) -> int:
        """One number everywhere, for every node or edge."""
        weight = self.table(np.zeros((channels, self.inputs.x.shape[1]), np.float32), "zeros")
        value = self.add(Linear(), self._x, weight, self.table(np.full(channels, number, np.float32), "fill"))
        if domain is Domain.GRAPH:
            return self.add(Pool(Reduce.MAX), value)
        return value if edges is None else self.gather(edges, End.TARGET, value)

    def node_factor(self, topology: int, end: End) -> int:
        """The row factor of a topology's normalization as a node value of one channel."""
        key = (topology, end)
        if key not in self._node_factors:
            weight = self.table(np.zeros((1, self.inputs.x.shape[1]), np.float32), "zeros")
            op = Linear(row_factor=RowFactor(topology, end))
            self._node_factors[key] = self.add(op, self._x, weight, self.table(np.ones(1, np.float32), "fill"))
        return self._node_factors[key]

    def table(self, array: np.ndarray, name: str) -> int:
        """A Const that is no weight of the model; equal ones are stored once."""
        key = ("table", array.shape, array.tobytes())
        if key not in self._constants:
            scoped = f"{self.scope}.{name}".lstrip(".")
            self._constants[key] = self.builder.const(scoped, array, trainable=False, is_table=True, scope=self.scope)
        return self._constants[key]

    def constant(self, tensor: torch.Tensor, *, derived: str = "", shape: tuple[int, ...] | None = None) -> int:
        """A Const under the tensor's state_dict path; the same tensor gives the same value, so tied weights stay tied.

        Args:
            derived: name within the layer of a tensor computed from its parameters, such as 1 + eps.
            shape: shape to store it with.
        """
        shape = tuple(tensor.shape) if shape is None else shape
        name = self._names.get(id(tensor)) or f"{self.scope}.{derived or 'constant'}".lstrip(".")
        key = (name, shape) if derived else (id(tensor), shape)
        if key not in self._constants:
            trainable = isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad
            array = tensor.detach().to(torch.float32).numpy().reshape(shape)
            self._kept.append(tensor)
            self._constants[key] = self.builder.const(name, array, trainable=trainable, scope=self.scope)
        return self._constants[key]

    def transposed(self, tensor: torch.Tensor) -> int:
        """A Const of the transposed matrix, for x @ W; the parameter itself where W is its transpose."""
        base = tensor._base
        if base is not None and id(base) in self._names and _is_transpose(tensor, base):
            return self.constant(base)
        name = f"{self._names.get(id(tensor), f'{self.scope}.constant'.lstrip('.'))}.transposed"
        key = ("transposed", id(tensor))
        if key not in self._constants:
            trainable = isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad
            array = tensor.detach().to(torch.float32).numpy().T
            self._kept.append(tensor)
            self._constants[key] = self.builder.const(name, array, trainable=trainable, scope=self.scope)
        return self._constants[key]

    def number(self, value: float) -> int:
        """A Const of one element."""
        key = ("number", float(value))
        if key not in self._constants:
            self._constants[key] = self.builder.const(
                f"{self.scope}.constant".lstrip("."), np.array([value]), trainable=False, scope=self.scope
            )
        return self._constants[key]

    # --- going back ---

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was made so far, to go back to where a lowering gives up half-way."""
        builder = {name: copy.copy(getattr(self.builder, name)) for name in self.builder.__slots__}
        return builder, {name: copy.copy(held) for name, held in vars(self).items() if isinstance(held, dict | set)}

    def restore(self, made: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """Forget what was made since a snapshot."""
        for target, held in zip((self.builder, self), made, strict=True):
            for name, value in held.items():
                setattr(target, name, value)

    # --- functions ---

    def require_function(self, name: str) -> None:
        """Refuse a function or tensor method without lowering."""
        if name.strip("_") not in FUNCTIONS:
            raise self.refuse_use(f"torch function or method {name!r}", f"supported functions: {supported_functions()}")

    def call_function(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Lower a torch function, tensor method or operator; a trailing underscore makes it work in place."""
        self.require_function(name)
        in_place = name.endswith("_") and not name.startswith("_")
        result = self._apply(FUNCTIONS[name.strip("_")], name, args, kwargs)
        if in_place:
            target = args[0]
            if not isinstance(target, Rows) or target.channels != result.channels:
                raise self.refuse_use(
                    f"in-place {name}", "it must keep the type of the tensor. Use the out-of-place function."
                )
            return target.move_to(result.value)
        return result

    def call_graph_function(self, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Lower a function of PyG or torch_scatter."""
        name = graph_function_name(function)
        if name not in GRAPH_FUNCTIONS:
            raise self.refuse_use(name, f"supported functions: {supported_functions()}")
        return self._apply(GRAPH_FUNCTIONS[name], name, args, kwargs)

    def _apply(self, lowering: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            bound = inspect.signature(lowering).bind(self, *args, **kwargs)
        except TypeError as error:
            raise self.refuse_use(f"{name} with these arguments", str(error)) from error
        return lowering(*bound.args, **bound.kwargs)

    # --- refusals ---

    @property
    def place(self) -> str:
        """Where the model is: its module path, or the source line for code of the root module."""
        return self.scope or f"forward ({source_line()})"

    def refuse_use(self, what: str, why: str) -> UnsupportedModule:
        """The error for a function or use in the user's own code, named by its module path and source line."""
        scope = f"{self.scope}: " if self.scope else ""
        return UnsupportedModule(f"{scope}{source_line()}: cannot lower {what}; {why}")

    def refuse_layer(self, cls: type, why: str = "") -> UnsupportedModule:
        """The error for a layer, named by its module path and the line that calls it; without a reason, it has no lowering."""
        kind = cls.__name__
        if not why:
            why = (
                f"no lowering exists for it. Supported layers: {supported_layers()}. "
                f"Write a lowering with @lowers({kind}); see frontend/README.md."
            )
        return UnsupportedModule(f"{self.scope or 'model'}: cannot lower {kind}: {why} (called at {source_line()})")

    # --- running ---

    def run(self, forward: Any) -> Any:
        """Run the model's forward on symbols; whatever cannot happen to a symbol becomes a refusal with its place."""
        try:
            with torch.no_grad():
                return forward()
        except PocketGnnError:
            raise
        except Exception as error:  # user code fails in any way it likes on values that it does not expect
            line = raising_line(error)
            raise UnsupportedModule(
                f"{self.scope or 'forward'}: cannot trace forward ({line}): {type(error).__name__}: {error}. "
                "Use tensors only through torch functions, layers and the functions listed in frontend/README.md."
            ) from error

    def finish(self, result: Any) -> Graph:
        """Close the graph with what forward returned."""
        results = result if isinstance(result, tuple | list) else (result,)
        for item in results:
            if not isinstance(item, Rows):
                kind = item.what if isinstance(item, Symbol) else type(item).__name__
                raise UnsupportedModule(
                    f"forward: returns {kind}; expected a tensor or a tuple of tensors of nodes or graphs."
                )
            if item.domain is Domain.EDGE:
                raise UnsupportedModule(
                    "forward: returns one row per edge, whose order is not kept; expected one row per node or graph. "
                    "Return node values, and compute edge scores from them."
                )
        return self.builder.finish([item.value for item in results], keeps_edge_inputs=False)


def _is_transpose(view: torch.Tensor, base: torch.Tensor) -> bool:
    shapes_agree = view.shape == base.shape[::-1] and view.stride() == base.stride()[::-1]
    return base.dim() == 2 and shapes_agree and view.data_ptr() == base.data_ptr()
