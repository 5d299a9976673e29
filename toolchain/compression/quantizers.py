"""Quantizers: how a value or a weight gets its scale while training runs. `QAT.quantizers` names one for each slot.

A `Quantizer` is what a user states: `Fixed`, `Learned`, `Observed`, or any object with `for_value` and `for_weight`. For every
slot it makes a `ValueQuantizer` or a `WeightQuantizer`, which lives through the training. Those decide scales and widths only:
the codes themselves are always computed by the arithmetic of the integer graph, so every quantizer trains what ships.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn

from toolchain.compression.code_domain import TrainedRows
from toolchain.compression.integer_plan import INT16_HEADROOM
from toolchain.compression.observers import Momentum, Observer, RangeObserver
from toolchain.compression.row_formats import RowFormat
from toolchain.compression.scale_search import best_value_qparams, best_weight_scales, value_qparams
from toolchain.compression.slots import ValueSlot, WeightSlot
from toolchain.errors import OutsideContract, RecipeError
from toolchain.ir import QParams

Start = Literal["mse", "range"]
Gradient = Literal["clipped", "straight-through"]
MOVING_AVERAGE = Momentum()
LEAST_SHARE = 2.0**-10
LEAST_POWER, MOST_POWER = -100.0, 88.0  # of e: where float32 ends


class ValueQuantizer(nn.Module):
    """Scale, zero point and width of one value while training runs; its parameters learn. Subclass it to bring your own.

    Attributes:
        clips_gradient: no gradient where codes are cut to their range (GC); else it passes (STE).
        observes: `observe` wants to be called.
    """

    clips_gradient: bool = True
    observes: bool = False

    def qparams(self) -> QParams:
        """In force in the next forward pass, and in the integer graph. Scales are float32 numbers."""
        raise NotImplementedError(type(self).__name__)  # abstract: every subclass defines it

    def step(self) -> Tensor | None:
        """The scale as a tensor [] with a gradient; None where it does not learn."""
        return None

    def observe(self, x: Tensor) -> None:
        """Called in training with the real values [rows, C] before rounding and cutting, without gradient."""

    def rows(self) -> RowFormat | None:
        """Scales of groups of rows, on top of `qparams`; None where all rows have one."""
        return None

    def trained_rows(self) -> TrainedRows | None:
        """What learns of `rows`, in the next forward pass."""
        return None

    def start(self, rows: np.ndarray, degrees: tuple[np.ndarray, ...]) -> None:
        """Called once before training with real rows [N, C] of calibration graphs, and their in-degrees in each topology."""

    def loss(self) -> Tensor | None:
        """What joins the loss of a training step, after its forward pass; None where nothing does."""
        return None


class WeightQuantizer(nn.Module):
    """Width and scales of one Linear weight while training runs; its parameters learn. Subclass it to bring your own."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def scales(self) -> np.ndarray | None:
        """[out] or [1]; None: those that the present weights need."""
        return None

    def step(self) -> Tensor | None:
        """The scales as a tensor with a gradient; None where they do not learn."""
        return None


class Quantizer(Protocol):
    """What a user names for a slot."""

    def for_value(self, slot: ValueSlot) -> ValueQuantizer: ...
    def for_weight(self, slot: WeightSlot) -> WeightQuantizer: ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Ranges of values as calibrated; scales of weights as the present weights need them.

    Attributes:
        bits: 1 to 8, or 16 for a value; None: as the mode and `weight_bits` give it.
        start: "range" takes the calibrated range of a value, "mse" the part of it that rounds with the least squared error.
            With "mse", weights keep the scales that they start with.
        gradient: of values beyond the range; "clipped" (GC) or "straight-through" (STE).
    """

    bits: int | None = None
    start: Start = "range"
    gradient: Gradient = "clipped"

    def __post_init__(self) -> None:
        check_bits(self.bits)
        check_word("start", self.start, get_args(Start))
        check_word("gradient", self.gradient, get_args(Gradient))

    def for_value(self, slot: ValueSlot) -> ValueQuantizer:
        return FixedValue(start_qparams(slot, self.bits, self.start), clips_gradient=self.gradient == "clipped")

    def for_weight(self, slot: WeightSlot) -> WeightQuantizer:
        bits = weight_bits(slot, self.bits)
        if self.start == "range":
            return WeightQuantizer(bits)
        return FixedWeight(bits, best_weight_scales(slot.weight, bits, per_tensor=slot.per_tensor))


@dataclass(frozen=True, slots=True)
class Observed:
    """Ranges of values that follow what training sees; scales of weights as the present weights need them.

    Attributes:
        bits, gradient: as for `Fixed`.
        observer: `Momentum()`, `MinMax()`, `Percentile()`, or one's own.
    """

    bits: int | None = None
    observer: Observer = MOVING_AVERAGE
    gradient: Gradient = "clipped"

    def __post_init__(self) -> None:
        check_bits(self.bits)
        check_word("gradient", self.gradient, get_args(Gradient))
        if not hasattr(self.observer, "start"):
            raise RecipeError(
                f"observer: {self.observer!r}, expected one such as Momentum(), MinMax() or Percentile()."
            )

    def for_value(self, slot: ValueSlot) -> ValueQuantizer:
        bits = slot.qparams.bits if self.bits is None else self.bits
        observer = self.observer.start(slot.statistics, bits)
        return ObservedValue(observer, bits, clips_gradient=self.gradient == "clipped")

    def for_weight(self, slot: WeightSlot) -> WeightQuantizer:
        return WeightQuantizer(weight_bits(slot, self.bits))


@dataclass(frozen=True, slots=True)
class Learned:
    """Learned steps (LSQ, Esser et al. 2020): the logarithm of every scale is trained with the weights.

    The gradient of a scale is that of the rounded value with the rounding passed straight through; zero points stay.

    Attributes:
        bits: 1 to 8, or 16 for a value; None: as the mode and `weight_bits` give it.
        start: of the scales, as for `Fixed`. From the full range, 2 bits do not recover.
    """

    bits: int | None = None
    start: Start = "mse"

    def __post_init__(self) -> None:
        check_bits(self.bits)
        check_word("start", self.start, get_args(Start))

    def for_value(self, slot: ValueSlot) -> ValueQuantizer:
        return LearnedValue(start_qparams(slot, self.bits, self.start))

    def for_weight(self, slot: WeightSlot) -> WeightQuantizer:
        bits = weight_bits(slot, self.bits)
        if self.start == "mse" or bits == 1:
            scales = best_weight_scales(slot.weight, bits, per_tensor=slot.per_tensor)
        else:
            scales = np.abs(slot.weight).max(axis=1, initial=0.0) / (2 ** (bits - 1) - 1)
        return LearnedWeight(bits, scales.max(keepdims=True) if slot.per_tensor else scales)


def check_bits(bits: int | None) -> None:
    """Refuse a width that no codes have."""
    if bits is not None and not (isinstance(bits, int) and bits in (*range(1, 9), 16)):
        raise RecipeError(f"bits: {bits!r}, expected 1 to 8, or 16 for a value.")


def check_word(name: str, word: str, allowed: Sequence[str]) -> None:
    """Refuse a word that names nothing: it would pass for one of the others."""
    if word not in allowed:
        raise RecipeError(f"{name}: {word!r}, expected one of {', '.join(map(repr, allowed))}.")


def check_powers(*powers: float) -> None:
    """Refuse learned logarithms of scales that float32 does not have.

    Raises:
        OutsideContract: says what one has become.
    """
    for power in powers:
        if not LEAST_POWER < power < MOST_POWER:
            raise OutsideContract(f"its learned scale has become e^{power:g}. Lower scale_lr, or the learning rate.")


def learned_scale(log_step: Tensor) -> float:
    """The float32 scale of a learned logarithm.

    Raises:
        OutsideContract: training has left none.
    """
    power = log_step.item()
    check_powers(power)
    return float(np.float32(math.exp(power)))


def weight_bits(slot: WeightSlot, bits: int | None) -> int:
    """The width of a weight's codes: the stated one, or the plan's."""
    if bits is not None and bits > 8:
        raise RecipeError(f"{slot.name}: {bits} bits, weights have 1 to 8. Name another quantizer for '*weight'.")
    return slot.bits if bits is None else bits


def start_qparams(slot: ValueSlot, bits: int | None, start: Start) -> QParams:
    """Parameters of a value at the start of training."""
    bits = slot.qparams.bits if bits is None else bits
    if bits > 8:
        return slot.qparams if slot.qparams.bits > 8 else value_qparams(*slot.statistics.range(), bits)
    if start == "mse":
        return best_value_qparams(slot.statistics, bits, skip_zeros=slot.is_input)
    return slot.qparams if bits == slot.qparams.bits else value_qparams(*slot.statistics.range(), bits)


class FixedValue(ValueQuantizer):
    """Parameters that stay."""

    def __init__(self, qparams: QParams, *, clips_gradient: bool = True) -> None:
        super().__init__()
        self._qparams, self.clips_gradient = qparams, clips_gradient

    def qparams(self) -> QParams:
        return self._qparams


class ObservedValue(ValueQuantizer):
    """A range that an observer follows. 16 bits have room beyond it, as in calibration.

    A value that training makes zero everywhere keeps a range of `LEAST_SHARE` of its first one, or of 1 where it began as zero:
    codes of a finer scale would say nothing more, and no multiplier takes those of its operands to them.
    """

    observes = True

    def __init__(self, observer: RangeObserver, bits: int, *, clips_gradient: bool) -> None:
        super().__init__()
        self._observer, self._bits, self.clips_gradient = observer, bits, clips_gradient
        self._least = LEAST_SHARE * (max(map(abs, observer.range())) or 1.0)

    def qparams(self) -> QParams:
        low, high = self._observer.range()
        if max(-low, high) < self._least:
            high = self._least
        room = INT16_HEADROOM if self._bits > 8 else 1
        return value_qparams(room * low, room * high, self._bits)

    def observe(self, x: Tensor) -> None:
        self._observer.update(x)


class FixedWeight(WeightQuantizer):
    """Scales that stay."""

    def __init__(self, bits: int, scales: np.ndarray) -> None:
        super().__init__(bits)
        self._scales = scales

    def scales(self) -> np.ndarray:
        return self._scales


class LearnedValue(ValueQuantizer):
    """A scale whose logarithm learns."""

    def __init__(self, qparams: QParams) -> None:
        super().__init__()
        self._start = qparams
        self.log_step = nn.Parameter(torch.tensor(math.log(qparams.scale[0])))

    def qparams(self) -> QParams:
        return QParams((learned_scale(self.log_step),), self._start.zero_point, self._start.bits)

    def step(self) -> Tensor:
        return self.log_step.exp()


class LearnedWeight(WeightQuantizer):
    """Scales whose logarithms learn."""

    def __init__(self, bits: int, scales: np.ndarray) -> None:
        super().__init__(bits)
        smallest = np.finfo(np.float32).tiny
        self.log_step = nn.Parameter(torch.from_numpy(np.log(np.maximum(scales, smallest)).astype(np.float32)))

    def scales(self) -> np.ndarray:
        powers = self.log_step.detach().numpy().astype(np.float64)
        check_powers(powers.min(), powers.max())
        return np.exp(powers)

    def step(self) -> Tensor:
        return self.log_step.exp()
