"""What flows through a model's forward while it is lowered: symbols in place of tensors, each knowing its IR value.

Torch functions reach a symbol through `__torch_function__`, methods and operators through attribute access; both end in
`Lowering.call_function`, which emits IR or refuses. Channel counts are plain integers, row counts are `Count` symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from toolchain.errors import UnsupportedModule
from toolchain.ir.ops import End, Role
from toolchain.ir.types import Domain, TensorType

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


class Symbol:
    """Root of everything symbolic: refuses whatever its subclasses do not define."""

    what = "a symbolic value"

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        symbol = next(find_symbols((args, kwargs)))
        return symbol.lowering.call_function(function.__name__, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocol probes such as __array__ or __len__
            raise AttributeError(f"{type(self).__name__} has no {name}")
        self.lowering.require_function(name)
        return lambda *args, **kwargs: self.lowering.call_function(name, (self, *args), kwargs)

    def _refuse(self, use: str) -> UnsupportedModule:
        return self.lowering.refuse_use(f"{use} {self.what}", "its value is only known when the model runs")

    def __bool__(self) -> bool:
        raise self._refuse("branching on")

    def __int__(self) -> int:
        raise self._refuse("int() of")

    def __float__(self) -> float:
        raise self._refuse("float() of")

    def __index__(self) -> int:
        raise self._refuse("counting with")

    def __iter__(self) -> Iterator[Any]:
        raise self._refuse("iterating over")

    def __array__(self, *args: object, **kwargs: object) -> Any:
        raise self._refuse("numpy conversion of")

    def __eq__(self, other: object) -> bool:
        raise self._refuse("comparing")

    def __lt__(self, other: object) -> bool:
        raise self._refuse("comparing")

    __le__ = __gt__ = __ge__ = __lt__
    __hash__ = object.__hash__

    def _operator(self, name: str, *operands: Any) -> Any:
        return self.lowering.call_function(name, operands, {})

    def __getitem__(self, index: Any) -> Any:
        return self._operator("getitem", self, index)

    def __add__(self, other: Any) -> Any:
        return self._operator("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self._operator("add", other, self)

    def __iadd__(self, other: Any) -> Any:
        return self._operator("add_", self, other)

    def __sub__(self, other: Any) -> Any:
        return self._operator("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._operator("sub", other, self)

    def __isub__(self, other: Any) -> Any:
        return self._operator("sub_", self, other)

    def __mul__(self, other: Any) -> Any:
        return self._operator("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._operator("mul", other, self)

    def __imul__(self, other: Any) -> Any:
        return self._operator("mul_", self, other)

    def __truediv__(self, other: Any) -> Any:
        return self._operator("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._operator("div", other, self)

    def __itruediv__(self, other: Any) -> Any:
        return self._operator("div_", self, other)

    def __matmul__(self, other: Any) -> Any:
        return self._operator("matmul", self, other)

    def __neg__(self) -> Any:
        return self._operator("neg", self)

    def __pow__(self, other: Any) -> Any:
        return self._operator("pow", self, other)


class Rows(Symbol):
    """A tensor with one row per node, edge or graph: [rows, channels], or [rows] where `rank` is 1 (one channel).

    In-place operations move the symbol to a new value, so that all names of a tensor see the change, as in torch.

    Attributes:
        role: the runtime array that this symbol is, untouched; None for anything computed.
    """

    dtype = torch.float32
    device = torch.device("cpu")
    requires_grad = False
    is_cuda = False
    is_sparse = False

    def __init__(self, lowering: Lowering, value: int | None, rank: int = 2, role: Role | None = None) -> None:
        super().__init__(lowering)
        self._value, self.rank, self.role = value, rank, role

    @property
    def value(self) -> int:
        """Id of the IR value; a raw edge array becomes an Input, in the order of the untouched edges, on first use."""
        if self._value is None:
            assert self.role is not None
            self._value = self.lowering.edge_input(self.role, self.lowering.edges())
        return self._value

    def move_to(self, value: int) -> Rows:
        """Make this symbol stand for another value: the effect of an in-place operation."""
        self._value, self.role = value, None
        return self

    @property
    def type(self) -> TensorType:
        return self.lowering.builder.type(self.value)

    @property
    def domain(self) -> Domain:
        return self.type.domain

    @property
    def channels(self) -> int:
        return self.type.channels

    @property
    def what(self) -> str:  # type: ignore[override]  # computed here, constant elsewhere
        return f"a {self.type} value"

    @property
    def shape(self) -> tuple[Any, ...]:
        rows = Count(self.lowering, self.domain)
        return (rows,) if self.rank == 1 else (rows, self.channels)

    @property
    def ndim(self) -> int:
        return self.rank

    def dim(self) -> int:
        return self.rank

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


class EdgeIndex(Symbol):
    """`edge_index`, [2, E]."""

    what = "edge_index"
    dtype = torch.long
    device = torch.device("cpu")
    is_sparse = False

    def __iter__(self) -> Iterator[EdgeEnd]:
        return iter((EdgeEnd(self.lowering, End.SOURCE), EdgeEnd(self.lowering, End.TARGET)))

    @property
    def shape(self) -> tuple[Any, ...]:
        return (2, Count(self.lowering, Domain.EDGE))

    def dim(self) -> int:
        return 2

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


class EdgeEnd(Symbol):
    """One row of `edge_index`: the node at one end of every edge, [E]."""

    dtype = torch.long
    device = torch.device("cpu")

    def __init__(self, lowering: Lowering, end: End) -> None:
        super().__init__(lowering)
        self.end = end

    @property
    def what(self) -> str:  # type: ignore[override]
        return f"edge_index[{0 if self.end is End.SOURCE else 1}]"

    def dim(self) -> int:
        return 1


class GraphIndex(Symbol):
    """`batch`, the graph of each node: [N]."""

    what = "batch"
    dtype = torch.long
    device = torch.device("cpu")

    def dim(self) -> int:
        return 1

    def max(self) -> LastGraph:
        return LastGraph(self.lowering)


class GraphPointer(Symbol):
    """`ptr`, the first node of each graph and the end: [G + 1]."""

    what = "ptr"
    dtype = torch.long
    device = torch.device("cpu")

    def dim(self) -> int:
        return 1


class LastGraph(Symbol):
    """`batch.max()`; adding 1 gives the number of graphs."""

    what = "batch.max()"

    def item(self) -> LastGraph:
        return self

    def __add__(self, other: Any) -> Count:
        if other != 1:
            raise self._refuse(f"adding {other} to")
        return Count(self.lowering, Domain.GRAPH)

    __radd__ = __add__


class Count(Symbol):
    """How many nodes, edges or graphs there are."""

    def __init__(self, lowering: Lowering, domain: Domain) -> None:
        super().__init__(lowering)
        self.domain = domain

    @property
    def what(self) -> str:  # type: ignore[override]
        return f"the number of {self.domain.value}s"

    def item(self) -> Count:
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Count) and other.domain is self.domain:
            return True
        raise self._refuse("comparing")

    __hash__ = Symbol.__hash__


class Refused(Symbol):
    """A result that exists in torch but not here, such as the positions of maxima; any use is refused."""

    def __init__(self, lowering: Lowering, what: str) -> None:
        super().__init__(lowering)
        self.what = what


def find_symbols(item: Any) -> Iterator[Symbol]:
    """All symbols in nested arguments."""
    if isinstance(item, Symbol):
        yield item
    elif isinstance(item, list | tuple):
        for entry in item:
            yield from find_symbols(entry)
    elif isinstance(item, dict):
        for entry in item.values():
            yield from find_symbols(entry)
