"""What flows through a model's forward while it is lowered: symbols in place of tensors, each knowing its IR value.

Torch functions reach a symbol through `__torch_function__`, methods and operators through attribute access; both end in
`Lowering.call_function`, which emits IR or refuses. Channel counts are plain integers, row counts are `Count` symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import torch

from toolchain.errors import UnsupportedModule
from toolchain.ir.ops import Role
from toolchain.ir.types import Domain, TensorType

if TYPE_CHECKING:
    from toolchain.frontend.index_symbols import EdgeIndex
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
        if name.startswith("_"):  # protocol probes such as __array__, __len__ or _is_param
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
    """A tensor with one row per node, edge or graph: [rows, channels], [rows] (one channel), or [rows, heads, channels, ...].

    The IR value has one channel axis; `tail` says how its channels are laid out within a row, last dimension fastest.
    In-place operations move the symbol to a new value, so that all names of a tensor see the change, as in torch.

    Attributes:
        role: the runtime array that this symbol is, untouched; None for anything computed.
    """

    dtype = torch.float32
    device = torch.device("cpu")
    requires_grad = False
    is_cuda = False
    is_sparse = False

    def __init__(
        self,
        lowering: Lowering,
        value: int | None,
        rank: int = 2,
        role: Role | None = None,
        tail: tuple[int, ...] | None = None,
        edges: EdgeIndex | None = None,
    ) -> None:
        super().__init__(lowering)
        self._value, self.role, self._tail, self._edges = value, role, () if rank == 1 else tail, edges

    @property
    def value(self) -> int:
        """Id of the IR value; a raw edge array becomes an Input, in the order of its edges, on first use."""
        if self._value is None:
            assert self.role is not None
            self._value = self.lowering.edge_input(self.role, self._raw_topology)
        return self._value

    @property
    def _raw_topology(self) -> int:
        return self.lowering.edges() if self._edges is None else self._edges.topology

    @property
    def tail(self) -> tuple[int, ...]:
        """Sizes of the dimensions behind the rows: () for [rows], (C,) for [rows, C], (H, C) for [rows, H, C]."""
        return (self.channels,) if self._tail is None else self._tail

    @property
    def rank(self) -> int:
        return 2 if self._tail is None else 1 + len(self._tail)

    def like(self, value: int) -> Rows:
        """Another value with the same layout of its rows."""
        return Rows(self.lowering, value, tail=self._tail)

    def laid_out(self, *tail: int) -> Rows:
        """The same value with its channels laid out otherwise."""
        assert prod(tail) == self.channels, f"{tail} does not hold {self.channels} channels"
        return Rows(self.lowering, self._value, role=self.role, tail=tail, edges=self._edges)

    def along(self, edges: EdgeIndex) -> Rows:
        """A raw edge array in the order of other edges; everything else as it is."""
        if self.role not in (Role.EDGE_WEIGHT, Role.EDGE_ATTR):
            return self
        return Rows(self.lowering, None, role=self.role, tail=self._tail, edges=edges)

    def move_to(self, value: int) -> Rows:
        """Make this symbol stand for another value: the effect of an in-place operation."""
        self._value, self.role = value, None
        return self

    @property
    def type(self) -> TensorType:
        if self._value is None and self.role is not None:
            return self.lowering.edge_type(self.role, self._raw_topology)
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
        return (Count(self.lowering, self.domain), *self.tail)

    @property
    def ndim(self) -> int:
        return self.rank

    def dim(self) -> int:
        return self.rank

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def __bool__(self) -> bool:
        why = "its value is only known when the model runs. Use torch.where in place of a branch"
        raise self.lowering.refuse_use(f"branching on {self.what}", why)

    # Comparisons give masks.

    def __eq__(self, other: object) -> Any:  # type: ignore[override]  # as torch.Tensor's
        return self._operator("eq", self, other)

    def __ne__(self, other: object) -> Any:  # type: ignore[override]
        return self._operator("ne", self, other)

    def __lt__(self, other: object) -> Any:
        return self._operator("lt", self, other)

    def __le__(self, other: object) -> Any:
        return self._operator("le", self, other)

    def __gt__(self, other: object) -> Any:
        return self._operator("gt", self, other)

    def __ge__(self, other: object) -> Any:
        return self._operator("ge", self, other)

    __hash__ = Symbol.__hash__


class Count(Symbol):
    """How many nodes, edges or graphs there are; `is_positive` where nothing depends on what happens without any."""

    def __init__(self, lowering: Lowering, domain: Domain, is_positive: bool = False) -> None:
        super().__init__(lowering)
        self.domain, self.is_positive = domain, is_positive

    @property
    def what(self) -> str:  # type: ignore[override]
        return f"the number of {self.domain.value}s"

    def item(self) -> Count:
        return self

    def __eq__(self, other: object) -> bool:
        return self._is_same(other)

    def __lt__(self, other: object) -> bool:  # min(num_nodes, x.size(0))
        return not self._is_same(other)

    def _is_same(self, other: object) -> bool:
        if isinstance(other, Count) and other.domain is self.domain:
            return True
        if self.is_positive and isinstance(other, int) and other == 0:
            return False
        raise self._refuse("comparing")

    __gt__ = __lt__
    __ge__ = __le__ = __eq__  # type: ignore[assignment]
    __hash__ = Symbol.__hash__


class Mask(Rows):
    """A comparison: 1 where it holds, 0 where it does not. Masks combine, and select in `torch.where` and `masked_fill`."""

    dtype = torch.bool  # type: ignore[assignment]

    def __and__(self, other: Any) -> Any:
        return self._operator("logical_and", self, other)

    def __or__(self, other: Any) -> Any:
        return self._operator("logical_or", self, other)

    def __invert__(self) -> Any:
        return self._operator("logical_not", self)


class Stacked(Symbol):
    """`torch.stack([a, b, ...])` of tensors of one layout along a new first dimension, which a reduction over it takes away."""

    what = "a stack of tensors along dim=0"

    def __init__(self, lowering: Lowering, parts: tuple[Rows, ...]) -> None:
        super().__init__(lowering)
        self.parts = parts


class IsInfinite(Symbol):
    """`x == inf`, which is only asked for in order to put another number in the place of a division by zero."""

    what = "a comparison with infinity"

    def __init__(self, lowering: Lowering, of: Rows) -> None:
        super().__init__(lowering)
        self.of = of.value


class Refused(Symbol):
    """A result that exists in torch but not here, such as the positions of maxima; any use is refused."""

    def __init__(self, lowering: Lowering, what: str) -> None:
        super().__init__(lowering)
        self.what = what


def is_constant(item: Any) -> bool:
    """Whether an argument is a real tensor, known now."""
    return isinstance(item, torch.Tensor)


def symbolic_isinstance(item: Any, kinds: Any) -> bool:
    """`isinstance`, as a model's code is to see it: a symbol is a tensor.

    The real one must not say so: what torch's C++ takes for a tensor, it reads as one.
    """
    if isinstance(item, Symbol):
        return torch.Tensor in (kinds if isinstance(kinds, tuple) else getattr(kinds, "__args__", (kinds,)))
    return isinstance(item, kinds)


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
