"""One kernel call as data: runs in process on the host, and as generated C on any other processor, with the same check.

All arrays of a list of calls lie in one memory image, between bytes that nobody may write. A call is right if the whole image is
afterwards what it should be: so a result beside its place is an error too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.c_kernels import ENUMS, struct

UNTOUCHED = 0xA5  # the bytes that results and gaps hold before a call
_GAP = 9  # bytes between arrays; odd, so that int8 arrays start anywhere


@dataclass(frozen=True)
class Struct:
    """A structure of gnn_kernels.h. Fields: numbers, names of enumerators, arrays, None, structures."""

    name: str
    fields: dict[str, object]


@dataclass(frozen=True, eq=False)
class Output:
    """An array that a kernel writes.

    Attributes:
        expected: what it holds afterwards; where `written` is False it keeps the bytes that it had.
    """

    expected: np.ndarray
    written: np.ndarray | None = None
    initial: np.ndarray | None = None
    scratch: bool = False  # its contents are nobody's business
    aligned: bool = False  # to words

    def before(self) -> np.ndarray:
        if self.initial is not None:
            return self.initial
        return np.full(self.expected.nbytes, UNTOUCHED, np.uint8).view(self.expected.dtype).reshape(self.expected.shape)

    def after(self) -> np.ndarray:
        return self.expected if self.written is None else np.where(self.written, self.expected, self.before())


@dataclass(frozen=True, eq=False)
class Aligned:
    """An array that the contract aligns to words."""

    array: np.ndarray


@dataclass(frozen=True, eq=False)
class Call:
    """A call of `function`. Arguments: as the fields of a Struct, or Output. `result`: one int32 that it returns."""

    name: str
    function: str
    arguments: tuple[object, ...]
    result: Output | None = None


def scratch(shape: int | tuple[int, ...], dtype: type, *, aligned: bool = False) -> Output:
    return Output(np.zeros(shape, dtype), scratch=True, aligned=aligned)


@dataclass
class Image:
    """Where the arrays of some calls lie, and the bytes before and after them."""

    offsets: dict[int, int] = field(default_factory=dict)  # id(argument) -> offset
    before: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    after: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    arrays: list[tuple[int, int]] = field(default_factory=list)  # (offset, bytes)
    ignored: list[slice] = field(default_factory=list)  # scratch memory
    places: list[tuple[int, str]] = field(default_factory=list)  # (offset, call) for messages

    def wrong(self, memory: np.ndarray) -> str:
        """What differs from the expected memory; empty if nothing does."""
        memory = memory.copy()
        for area in self.ignored:
            memory[area] = self.after[area]
        different = np.flatnonzero(memory != self.after)
        if not different.size:
            return ""
        names = [self.place_of(int(offset)) for offset in different[:1000]]
        first = int(different[0])
        return (
            f"{different.size} bytes differ, in {', '.join(dict.fromkeys(names))}; the first is {memory[first]} "
            f"instead of {self.after[first]} (before the call {self.before[first]})"
        )

    def place_of(self, offset: int) -> str:
        """The call to whose arrays a byte belongs."""
        return next((name for start, name in reversed(self.places) if start <= offset), "the start")


def lay_out(calls: Sequence[Call], page: int = 0) -> Image:
    """Place all arrays of the calls, each aligned as its elements are and no better.

    Args:
        page: with a size of pages, every array ends where a page ends, and the next page is free.
    """
    image = Image()
    before, after = [np.full(16, UNTOUCHED, np.uint8)], [np.full(16, UNTOUCHED, np.uint8)]
    end = 16
    for call in calls:
        for argument in _arrays((*call.arguments, call.result)):
            if id(argument) in image.offsets:
                continue
            if isinstance(argument, Output):
                old, new = argument.before(), argument.after()
                alignment = max(4 * argument.aligned, new.itemsize)
            else:
                array = argument.array if isinstance(argument, Aligned) else argument
                alignment = max(4, array.itemsize) if isinstance(argument, Aligned) else array.itemsize
                old = new = np.ascontiguousarray(array)
            offset = end + _GAP
            offset += -offset % alignment
            if alignment in (2, 4) and offset % (2 * alignment) == 0:
                offset += alignment  # no better aligned than that
            if page:
                offset = end + page + -(end + old.nbytes) % page
            for parts, array in ((before, old), (after, new)):
                parts.append(np.full(offset - end, UNTOUCHED, np.uint8))
                parts.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            image.offsets[id(argument)] = offset
            image.arrays.append((offset, old.nbytes))
            image.places.append((end, call.name))
            end = offset + old.nbytes
            if isinstance(argument, Output) and argument.scratch:
                image.ignored.append(slice(offset, end))
    for parts in (before, after):
        parts.append(np.full(16, UNTOUCHED, np.uint8))
    image.before, image.after = np.concatenate(before), np.concatenate(after)
    return image


def _arrays(arguments: Sequence[object]) -> Iterator[np.ndarray | Output | Aligned]:
    for argument in arguments:
        if isinstance(argument, Struct):
            yield from _arrays(tuple(argument.fields.values()))
        elif isinstance(argument, np.ndarray | Output | Aligned):
            yield argument


# ---- in process ----------------------------------------------------------------------------------------------------------


def run_here(library: ctypes.CDLL, calls: Sequence[Call]) -> str:
    """Call the kernels of a shared library; what went wrong, or nothing."""
    image = lay_out(calls)
    space = np.empty(image.before.size + 16, np.uint8)
    memory = space[-space.ctypes.data % 16 :][: image.before.size]
    memory[:] = image.before

    def here(argument: object) -> object:
        if isinstance(argument, str):
            return ENUMS[argument]
        if isinstance(argument, Struct):
            return struct(argument.name, **{name: here(value) for name, value in argument.fields.items()})
        if isinstance(argument, np.ndarray | Output | Aligned):
            array = (
                argument if isinstance(argument, np.ndarray)
                else argument.expected if isinstance(argument, Output) else argument.array
            )  # fmt: skip
            offset = image.offsets[id(argument)]
            return memory[offset : offset + array.nbytes].view(array.dtype)
        return argument

    for call in calls:
        result = getattr(library, call.function)(*map(here, call.arguments))
        if call.result is not None:
            here(call.result)[:] = result
    return image.wrong(memory)


# ---- as C ----------------------------------------------------------------------------------------------------------------


def c_text(calls: Sequence[Call], image: Image) -> str:
    """C text that defines `void run_calls(unsigned char *memory)`, which makes all the calls on an image."""
    lines = ['#include "gnn_kernels.h"', "void run_calls(unsigned char *memory);"]
    for number, call in enumerate(calls):
        lines.append(f"static void call_{number}(unsigned char *memory)\n{{")
        arguments = []
        for position, argument in enumerate(call.arguments):
            if isinstance(argument, Struct):
                lines.append(f"    {argument.name} s{position} = {{0}};")
                lines += _assignments(f"s{position}", argument, image)
                arguments.append(f"&s{position}")
            else:
                arguments.append(_literal(argument, image))
        store = "" if call.result is None else f"*(int32_t *){_literal(call.result, image)} = (int32_t)"
        lines.append(f"    {store}{call.function}({', '.join(arguments)});\n    (void)memory;\n}}")
    lines.append("void run_calls(unsigned char *memory)\n{")
    lines += [f"    call_{number}(memory);" for number in range(len(calls))]
    return "\n".join([*lines, "}", ""])


def _assignments(target: str, value: Struct, image: Image) -> Iterator[str]:
    for name, part in value.fields.items():
        if isinstance(part, Struct):
            yield from _assignments(f"{target}.{name}", part, image)
        else:
            yield f"    {target}.{name} = {_literal(part, image)};"


def _literal(value: object, image: Image) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, np.ndarray | Output | Aligned):
        return f"(void *)(memory + {image.offsets[id(value)]})"
    if isinstance(value, float | np.floating):
        return f"{float(value).hex()}f"
    if value == -(2**31):
        return "INT32_MIN"
    return str(value)
