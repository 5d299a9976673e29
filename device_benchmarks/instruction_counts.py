"""InstructionCounter: executed addresses in, instructions of the model by function out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from device_benchmarks.elf_image import ElfImage

MARK = "board_cycles"  # the firmware calls it where a measured part begins and where it ends


@dataclass(frozen=True, slots=True)
class InstructionCounts:
    """Instructions that were executed between the marks, by function, the most first."""

    by_function: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_function.values())

    def __add__(self, other: InstructionCounts) -> InstructionCounts:
        total = Counter(self.by_function) + Counter(other.by_function)
        return InstructionCounts(dict(total.most_common()))


@dataclass(slots=True)
class InstructionCounter:
    """Adds up what an emulator executes while a measured part is on.

    Attributes:
        marks: how often a part began or ended.
    """

    image: ElfImage
    marks: int = 0
    _is_on: bool = False
    _mark: range = field(init=False)
    _counts: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        start = self.image.address_of(MARK)
        size = next(s.size for s in self.image.symbols if s.name == MARK)
        self._mark = range(start, start + max(size, 1))

    def execute(self, address: int, instructions: int) -> None:
        """So many instructions from `address` on are executed."""
        if address in self._mark:
            if address == self._mark.start:
                self._is_on = not self._is_on
                self.marks += 1
        elif self._is_on:
            self._counts[address] += instructions

    def take(self) -> InstructionCounts:
        """What was counted since the last call."""
        found: Counter[str] = Counter()
        for address, count in self._counts.items():
            found[self.image.function_at(address)] += count
        self._counts.clear()
        return InstructionCounts(dict(found.most_common()))
