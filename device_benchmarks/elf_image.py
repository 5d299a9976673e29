"""ElfImage: an executable file in, what it takes of each memory, its functions and its bytes out."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.errors import MeasurementError, require

UNKNOWN_FUNCTION = "(no symbol)"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function or an object, with its place and size in bytes."""

    name: str
    address: int
    size: int
    is_function: bool
    section: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes to be loaded: `content` at `load_address`, then zeros up to `memory_bytes` at `address`."""

    address: int
    load_address: int
    content: bytes
    memory_bytes: int
    is_executable: bool


@dataclass(frozen=True, slots=True)
class ElfImage:
    """What is in an executable.

    Attributes:
        sections: bytes of each section that takes memory, by name.
        symbols: functions and objects by address.
        entry: address of the first instruction, without the Thumb bit.
    """

    path: Path
    sections: dict[str, int]
    symbols: tuple[Symbol, ...]
    segments: tuple[Segment, ...]
    entry: int

    @property
    def code_bytes(self) -> int:
        """.text: instructions and vectors."""
        return sum(size for name, size in self.sections.items() if name.startswith(".text"))

    @property
    def flash_bytes(self) -> int:
        """All that is stored: .text, .rodata and the initial values of .data."""
        return sum(size for name, size in self.sections.items() if not _is_zero(name))

    @property
    def ram_bytes(self) -> int:
        """.data and .bss, without the stack."""
        return sum(size for name, size in self.sections.items() if _is_zero(name) or name.startswith(".data"))

    def address_of(self, name: str) -> int:
        """Where a symbol is.

        Raises:
            MeasurementError: the image has none of that name.
        """
        for symbol in self.symbols:
            if symbol.name == name:
                return symbol.address
        raise MeasurementError(f"{self.path}: no symbol {name}; the image was not built by this version.")

    def function_at(self, address: int) -> str:
        """The name of the function that an instruction belongs to."""
        functions = [s for s in self.symbols if s.is_function]
        position = bisect.bisect_right([s.address for s in functions], address) - 1
        if position < 0 or address >= functions[position].address + max(functions[position].size, 2):
            return UNKNOWN_FUNCTION
        return functions[position].name

    def place(self, address: int) -> str:
        """An address in words: "gnn_linear_s8+0x24", or only the number."""
        name = self.function_at(address)
        if name == UNKNOWN_FUNCTION:
            return f"0x{address:08x}"
        return f"0x{address:08x} in {name}+0x{address - self.address_of(name):x}"

    def distinct_symbols(self) -> list[Symbol]:
        """Every function and object that takes bytes once, the largest first, whatever further names it has."""
        places: dict[int, Symbol] = {}
        for symbol in self.symbols:
            if symbol.size and symbol.section:
                places.setdefault(symbol.address, symbol)
        return sorted(places.values(), key=lambda s: (-s.size, s.name))

    def largest_constants(self, count: int = 4) -> list[Symbol]:
        """The largest read-only objects."""
        read_only = (".rodata", ".text", ".srodata")
        return [s for s in self.distinct_symbols() if not s.is_function and s.section.startswith(read_only)][:count]


def read_elf(path: Path) -> ElfImage:
    """Read an executable that one of the compilers linked."""
    elf_file: Any = require("elftools.elf.elffile", "mcu").ELFFile
    with open(path, "rb") as stream:
        elf = elf_file(stream)
        allocated = [s for s in elf.iter_sections() if s["sh_flags"] & 2 and s["sh_size"]]
        names = [section.name for section in elf.iter_sections()]
        is_thumb = elf["e_machine"] == "EM_ARM"
        symbols = []
        table = elf.get_section_by_name(".symtab")
        for symbol in table.iter_symbols() if table is not None else ():
            kind, index, address = symbol["st_info"]["type"], symbol["st_shndx"], symbol["st_value"]
            if (
                not symbol.name
                or symbol.name.startswith(("$", ".L"))
                or kind not in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE")
            ):
                continue
            is_function = kind == "STT_FUNC"
            section = names[index] if isinstance(index, int) else ""
            symbols.append(
                Symbol(
                    symbol.name,
                    address & ~1 if is_function and is_thumb else address,
                    symbol["st_size"],
                    is_function,
                    section,
                )
            )
        segments = tuple(
            Segment(s["p_vaddr"], s["p_paddr"], s.data(), s["p_memsz"], bool(s["p_flags"] & 1))
            for s in elf.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_memsz"]
        )
        entry = elf["e_entry"] & ~1 if is_thumb else elf["e_entry"]
    return ElfImage(
        path,
        {s.name: s["sh_size"] for s in allocated},
        tuple(sorted(symbols, key=lambda s: s.address)),
        segments,
        entry,
    )


def _is_zero(section: str) -> bool:
    return section.startswith((".bss", ".sbss", ".tbss"))
