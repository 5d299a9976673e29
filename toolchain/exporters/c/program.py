"""The program under construction: constants, stages of calls, and the memory that each of them touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from toolchain.exporters.c import literals
from toolchain.exporters.c.arena import Buffer
from toolchain.exporters.c.schedule import Schedule, Stage
from toolchain.exporters.emission import Bounds
from toolchain.ir import Domain, DType, Graph, Value
from toolchain.ir.ops import Input

BLOCK_ROWS = 4  # GNN_ROWS
GIVEN_EDGES = "given_edges"
C_TYPES = {DType.F32: "float", DType.I8: "int8_t", DType.I16: "int16_t", DType.I32: "int32_t"}
TYPE_NAMES = {DType.F32: "GNN_F32", DType.I8: "GNN_S8", DType.I16: "GNN_S16", DType.I32: "GNN_S32"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of a value lie.

    Attributes:
        name: C expression of its first row.
        dtype: how elements are stored: int8 codes that only a Linear reads are kept as int16, which is what it takes.
        stride: elements from one row to the next.
        is_block: only the rows of the current block exist.
    """

    name: str
    dtype: DType
    stride: int
    is_block: bool

    @property
    def rows(self) -> str:
        """The first row of the current block."""
        return self.name if self.is_block else f"{self.name} + first * {self.stride}u"


@dataclass(frozen=True, slots=True)
class Step:
    """One call, with the module path that it came from."""

    text: str
    scope: str


@dataclass(slots=True)
class StageText:
    """A stage as it is written: what runs before the loop, what runs per block of rows."""

    stage: Stage
    rows: int = BLOCK_ROWS  # of a block
    before: list[Step] = field(default_factory=list)
    loop: list[Step] = field(default_factory=list)
    memory: dict[str, tuple[str, bool]] = field(default_factory=dict)  # buffer → (C type, is written)
    reads_targets: bool = False


@dataclass(slots=True)
class _Lifetime:
    bytes: int
    first: int
    last: int


@dataclass(slots=True)
class Program:
    """Everything that the text of a model is made from.

    Attributes:
        sparse: features are given as positions of ones.
        packing: one of `packing.PACKINGS`.
    """

    graph: Graph
    name: str
    bounds: Bounds
    schedule: Schedule
    max_degree: int
    sparse: bool
    packing: str = "plain"
    constants: list[str] = field(default_factory=list)
    constant_bytes: int = 0  # of the arrays among them
    stages: list[StageText] = field(default_factory=list)
    kernels: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)  # of these kernels, by the names of `uses.USES`
    topology_arrays: dict[int, set[str]] = field(default_factory=dict)  # beside row_pointer and source
    places: dict[int, Place] = field(default_factory=dict)
    users: tuple[tuple[int, ...], ...] = ()
    _lifetimes: dict[str, _Lifetime] = field(default_factory=dict)
    _stored_in_loop: set[str] = field(default_factory=set)
    _in_loop: bool = False
    _clock: int = 0
    _opened: int = 0  # clock when the current stage began

    def __post_init__(self) -> None:
        self.users = self.graph.users()

    # --- stages -------------------------------------------------------------------------------------------------------

    def open(self, stage: Stage, rows: int) -> None:
        self.stages.append(StageText(stage, rows))
        self._clock += 1
        self._opened = self._clock

    def enter_loop(self) -> None:
        self._in_loop = True
        self._stored_in_loop = set()
        self._clock += 1

    def leave_loop(self) -> None:
        """What is stored for all rows and used in a loop is needed from the start of the stage to the last iteration."""
        start = self._opened
        self._in_loop = False
        self._clock += 1
        for name in self._stored_in_loop:
            lifetime = self._lifetimes[name]
            lifetime.first, lifetime.last = min(lifetime.first, start), max(lifetime.last, self._clock)

    def call(self, function: str, *arguments: object, scope: str, before: bool = False) -> None:
        """Append a call of a kernel. `before`: ahead of the loop of the current stage."""
        self.kernels.add(function)
        step = Step(f"{function}({', '.join(str(a) for a in arguments)});", scope)
        (self.stages[-1].before if before else self.stages[-1].loop).append(step)
        self._clock += 1

    @property
    def block_rows(self) -> int:
        """Rows of a block of the current stage."""
        return self.stages[-1].rows

    # --- constants ----------------------------------------------------------------------------------------------------

    def constant(self, name: str, array: np.ndarray) -> str:
        """A stored array; returns its C name."""
        self.constants.append(literals.array(name, array))
        self.constant_bytes += array.nbytes
        return name

    def struct(self, kind: str, name: str, fields: Sequence[str]) -> str:
        """A stored struct; returns its address as a C expression."""
        body = ",\n    ".join(fields)
        self.constants.append(f"static const {kind} {name} = {{\n    {body},\n}};")
        return f"&{name}"

    # --- memory -------------------------------------------------------------------------------------------------------

    def buffer(self, name: str, ctype: str, bytes_: int, *, is_block: bool, writes: bool) -> str:
        """Touch a buffer now; it is created when first touched."""
        lifetime = self._lifetimes.setdefault(name, _Lifetime(bytes_, self._clock, self._clock))
        lifetime.last = max(lifetime.last, self._clock)
        if self._in_loop and not is_block:
            self._stored_in_loop.add(name)
        memory = self.stages[-1].memory
        memory[name] = (ctype, writes or memory.get(name, ("", False))[1])
        return name

    def scratch(self, purpose: str, value: Value, ctype: str, bytes_: int) -> str:
        """Memory for the next call only."""
        return self.buffer(f"{purpose}_{value.id}", ctype, bytes_, is_block=True, writes=True)

    def rows_of(self, domain: Domain) -> int:
        """Largest number of rows of a domain."""
        bound = {Domain.NODE: self.bounds.nodes, Domain.EDGE: self.bounds.edges, Domain.GRAPH: self.bounds.graphs}[
            domain
        ]
        assert bound is not None
        return bound

    def place(self, value: Value, *, writes: bool = False) -> Place:
        """Where a value lies, touching its memory now."""
        if isinstance(value.op, Input) and value.type.domain is Domain.NODE:
            return Place("features->x", DType.F32, value.type.channels, False)
        if value.id not in self.places:
            self.places[value.id] = self._new_place(value)
        place = self.places[value.id]
        rows = self.block_rows if place.is_block else self.rows_of(value.type.domain)
        if place.dtype is DType.I16 and not place.is_block and place.stride % 4 == 0:
            rows = -(-rows // BLOCK_ROWS) * BLOCK_ROWS  # a Linear may read it directly, GNN_ROWS rows at a time
        bytes_ = rows * place.stride * place.dtype.numpy.itemsize
        self.buffer(place.name, C_TYPES[place.dtype], bytes_, is_block=place.is_block, writes=writes)
        return place

    def _new_place(self, value: Value) -> Place:
        from toolchain.exporters.c.layers import feeds_linears_only, padded, takes_strides

        name, channels = f"value_{value.id}", value.type.channels
        if value.id in self.schedule.stored or self.is_float_pool(value):
            return Place(name, value.type.dtype, channels, False)
        dtype = value.type.dtype
        is_strided = dtype in (DType.I8, DType.I16) and takes_strides(self.graph, value)
        if is_strided and feeds_linears_only(self.graph, value, self.users):
            return Place(name, DType.I16, padded(channels), True)
        return Place(name, dtype, channels, True)

    @staticmethod
    def is_float_pool(value: Value) -> bool:
        """Whether a Pool's accumulator is its result."""
        from toolchain.ir.ops import Pool

        return isinstance(value.op, Pool) and value.type.dtype is DType.F32

    def buffers(self) -> list[Buffer]:
        """All memory of run()."""
        return [Buffer(name, life.bytes, life.first, life.last) for name, life in self._lifetimes.items()]

    # --- topologies ---------------------------------------------------------------------------------------------------

    def topology(self, index: int, *arrays: str) -> str:
        """Address of a prepared topology, whose optional arrays are noted as needed."""
        needed = self.topology_arrays.setdefault(index, set())
        needed.update(arrays)
        if "scale" in arrays and self.graph.topologies[index].weighted:  # the factors are made of the weights
            needed.add("weight")
        return f"&topology_{index}"
