"""Graph: an immutable list of values in execution order, each the result of one op. A rewrite builds a new Graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from toolchain.errors import InvalidInput, TypeMismatch
from toolchain.ir.ops import Const, Input, Op, Role
from toolchain.ir.types import DType, TensorType
from toolchain.topology import TopologySpec


@dataclass(frozen=True, slots=True)
class Value:
    """Result of one op.

    Attributes:
        id: position in `Graph.values`.
        inputs: ids of the operands, all smaller than `id`.
        scope: path of the user's module that it came from, such as "convs.0.nn".
    """

    id: int
    op: Op
    inputs: tuple[int, ...]
    type: TensorType
    scope: str = ""

    @property
    def is_features(self) -> bool:
        """Whether this is x, the features of the nodes."""
        return isinstance(self.op, Input) and self.op.role is Role.X

    @property
    def place(self) -> str:
        """Where it is, for messages: "%5 Linear of convs.0.nn"."""
        return f"%{self.id} {type(self.op).__name__}" + (f" of {self.scope}" if self.scope else "")


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A model. Topological by construction: a value only reads earlier values.

    Attributes:
        values: all values; `values[i].id == i`.
        outputs: ids of the results, in the order the model returns them.
        topologies: the edge sets that Propagate, Gather and edge values refer to by index.
        constants: arrays of the Const values by name, read-only. Integer constants hold codes.
        name: a C identifier for generated files.
    """

    values: tuple[Value, ...]
    outputs: tuple[int, ...]
    topologies: tuple[TopologySpec, ...]
    constants: Mapping[str, np.ndarray]
    name: str = "model"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies between processes of one program; the read-only view of the constants is made anew."""
        return _graph_of, (self.values, self.outputs, self.topologies, dict(self.constants), self.name)

    def operand(self, value: Value, slot: str) -> Value | None:
        """The operand in a named slot, or None where the op was built without it."""
        names = value.op.operand_names(len(value.inputs))
        return self.values[value.inputs[names.index(slot)]] if slot in names else None

    def operands(self, value: Value) -> tuple[Value, ...]:
        return tuple(self.values[i] for i in value.inputs)

    def constant(self, value: Value) -> np.ndarray:
        """Array behind a Const value."""
        if not isinstance(value.op, Const):
            raise TypeMismatch(f"%{value.id} ({type(value.op).__name__}) is not a constant")
        return self.constants[value.op.name]

    @property
    def inputs(self) -> tuple[Value, ...]:
        return tuple(v for v in self.values if isinstance(v.op, Input))

    def users(self) -> tuple[tuple[int, ...], ...]:
        """For every value the ids of the values that read it (an id appears once per use)."""
        users: list[list[int]] = [[] for _ in self.values]
        for value in self.values:
            for operand in value.inputs:
                users[operand].append(value.id)
        return tuple(map(tuple, users))

    def with_constants(self, changed: Mapping[str, np.ndarray]) -> Graph:
        """The same graph with some float constants replaced (shapes must agree)."""
        constants = dict(self.constants)
        for name, array in changed.items():
            if name not in constants:
                raise TypeMismatch(f"{name}: the graph has no such constant")
            if constants[name].shape != array.shape:
                raise TypeMismatch(f"{name}: shape {array.shape}, the graph has {constants[name].shape}")
            constants[name] = frozen(np.asarray(array, dtype=constants[name].dtype))
        return replace(self, constants=MappingProxyType(constants))

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants as stored."""
        halves = {v.op.name for v in self.values if isinstance(v.op, Const) and v.op.is_half}
        return sum(array.nbytes // (2 if name in halves else 1) for name, array in self.constants.items())

    @property
    def has_halves(self) -> bool:
        """Whether some weights are halves."""
        return any(isinstance(v.op, Const) and v.op.is_half for v in self.values)

    def __str__(self) -> str:
        from toolchain.ir.text import to_text

        return to_text(self)


def check_graph(graph: object) -> None:
    """Refuse what is no Graph, such as a model that was not lowered.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(graph, Graph):
        raise InvalidInput(
            f"graph: got {type(graph).__name__}, expected a toolchain Graph. Lower a model first: toolchain.lower(model, example)."
        )


def _graph_of(
    values: tuple[Value, ...], outputs: tuple[int, ...], topologies: tuple[TopologySpec, ...],
    constants: Mapping[str, np.ndarray], name: str,
) -> Graph:  # fmt: skip
    """A Graph of parts that another one was made of; numpy does not copy the read-only flag."""
    read_only = MappingProxyType({key: frozen(array) for key, array in constants.items()})
    return Graph(values, outputs, topologies, read_only, name)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only, contiguous copy."""
    copy = np.array(array, order="C", copy=True)
    copy.setflags(write=False)
    return copy


@dataclass(slots=True)
class GraphBuilder:
    """Collects values in order; `finish` drops what no output needs and returns the Graph."""

    topologies: tuple[TopologySpec, ...] = ()
    name: str = "model"
    values: list[Value] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    _topology_index: dict[TopologySpec, int] = field(default_factory=dict)
    _wanted_name: dict[str, str] = field(default_factory=dict)  # suffixed constant name → the name that was asked for
    numbers: dict[int, int] = field(default_factory=dict)  # after `finish`: id of a kept value → its id in the Graph

    def __post_init__(self) -> None:
        self._topology_index = {spec: index for index, spec in enumerate(self.topologies)}

    def topology(self, spec: TopologySpec) -> int:
        """Index of a topology, added on first use."""
        if spec not in self._topology_index:
            self._topology_index[spec] = len(self.topologies)
            self.topologies = (*self.topologies, spec)
        return self._topology_index[spec]

    def add(self, op: Op, *inputs: int, type: TensorType | None = None, scope: str = "") -> int:
        """Append a value and return its id. `type` states an integer type; its rows and shape must be the inferred ones."""
        inferred = op.infer(tuple(self.values[i].type for i in inputs))
        if type is not None and (type.domain, type.shape, type.topology) != (
            inferred.domain, inferred.shape, inferred.topology,
        ):  # fmt: skip
            raise TypeMismatch(f"{op.__class__.__name__}: stated type {type} does not match inferred {inferred}")
        self.values.append(Value(len(self.values), op, tuple(inputs), type or inferred, scope))
        return len(self.values) - 1

    def const(
        self,
        name: str,
        array: np.ndarray,
        *,
        type: TensorType | None = None,
        trainable: bool = True,
        pruned: bool = False,
        is_table: bool = False,
        scope: str = "",
    ) -> int:
        """Append a stored tensor. A name that is taken gets a suffix, which `finish` drops if the name became free."""
        from toolchain.ir.types import Domain

        array = np.asarray(array, dtype=np.float32) if type is None else np.asarray(array)
        unique, number = name, 1
        while unique in self.constants:
            unique, number = f"{name}.{number}", number + 1
        self.constants[unique] = frozen(array)
        self._wanted_name[unique] = name
        type = type or TensorType(Domain.CONST, array.shape, DType.F32)
        return self.add(Const(unique, type, trainable, pruned, is_table=is_table), scope=scope)

    def changed(self, op: Const, array: np.ndarray, *, type: TensorType | None = None, scope: str = "") -> int:
        """Append a Const with another array, float32 unless `type` says otherwise; its name and all marks are kept."""
        made = self.values[self.const(op.name, array, type=type, trainable=op.trainable, scope=scope)]
        assert isinstance(made.op, Const)
        self.values[-1] = replace(made, op=replace(op, name=made.op.name, type=made.type))
        return made.id

    def wanted_name(self, op: Const) -> str:
        """The name that a Const was stored under, before a taken one got its suffix."""
        return self._wanted_name.get(op.name, op.name)

    def type(self, value: int) -> TensorType:
        return self.values[value].type

    def finish(self, outputs: Sequence[int], *, keeps_edge_inputs: bool = True) -> Graph:
        """The Graph of all values that the outputs depend on; renumbered, unused topologies kept so that indices stay.

        Args:
            keeps_edge_inputs: inputs that nothing reads stay, as those of nodes always do.
        """
        live: set[int] = set(outputs)
        for value in reversed(self.values):
            if value.id in live:
                live.update(value.inputs)
        number = self.numbers = {}
        values: list[Value] = []
        for value in self.values:
            is_kept = isinstance(value.op, Input) and (keeps_edge_inputs or value.op.role is Role.X)
            if value.id in live or is_kept:
                number[value.id] = len(values)
                values.append(replace(value, id=len(values), inputs=tuple(number[i] for i in value.inputs)))
        constants: dict[str, np.ndarray] = {}
        kept = {v.op.name for v in values if isinstance(v.op, Const)}
        for place, value in enumerate(values):
            if isinstance(value.op, Const):
                wanted = self._wanted_name.get(value.op.name, value.op.name)
                name = value.op.name if wanted in kept else wanted
                kept.add(name)
                constants[name] = self.constants[value.op.name]
                values[place] = replace(value, op=replace(value.op, name=name))
        return Graph(
            tuple(values), tuple(number[o] for o in outputs), self.topologies, MappingProxyType(constants), self.name
        )


Rule = Callable[[GraphBuilder, Value, tuple[int, ...]], int | None]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Rebuild a graph value by value.

    Args:
        rule: called with the builder, the old value and its operands' new ids; returns the new id that stands for the old
            value, or None to copy it unchanged.
    """
    builder = GraphBuilder(graph.topologies, graph.name)
    number: dict[int, int] = {}
    for value in graph.values:
        inputs = tuple(number[i] for i in value.inputs)
        made = rule(builder, value, inputs)
        number[value.id] = copy_value(builder, graph, value, inputs) if made is None else made
    return builder.finish([number[o] for o in graph.outputs])


def copy_value(builder: GraphBuilder, graph: Graph, value: Value, inputs: tuple[int, ...]) -> int:
    """Append `value` unchanged; a float result type is inferred anew, so that narrowed operands flow through."""
    if isinstance(value.op, Const):
        op, array = value.op, graph.constants[value.op.name]
        if builder.constants.setdefault(op.name, array) is not array:  # a rewrite has stored another under this name
            return builder.changed(op, array, type=op.type, scope=value.scope)
        return builder.add(op, scope=value.scope)
    stated = value.type if value.type.dtype.is_integer else None
    return builder.add(value.op, *inputs, type=stated, scope=value.scope)
