"""A2Q: a step and a width for each group of nodes, learned with the weights.

Source: Zhu et al. 2023 (arXiv:2302.00193). There every node of a node task has a step and a width of its own, so that the trained
model knows no other graph; here nodes of similar degree share them, and a node of a degree never seen has those of the
nearest group. For graph tasks the choice is the paper's: the group whose reach is nearest to the row's largest magnitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from toolchain.compression.code_domain import TrainedRows
from toolchain.compression.code_rounding import straight_through
from toolchain.compression.observers import Momentum
from toolchain.compression.quantizers import (
    FixedValue,
    Learned,
    ObservedValue,
    Quantizer,
    ValueQuantizer,
    WeightQuantizer,
    learned_scale,
)
from toolchain.compression.row_formats import RowFormat
from toolchain.compression.scale_search import best_step
from toolchain.compression.slots import ValueSlot, WeightSlot
from toolchain.errors import RecipeError
from toolchain.ir import QParams
from toolchain.ir.ops import DegreeGroup, PeakGroup

Choice = Literal["degree", "nearest"]
OCTAVES = 24.0  # that the first steps of groups by size are spread over at most
MOST_BITS = 8  # with a sign; codes from 0 on have one less
BITS_PER_UNIT = 16.0  # widths learn in units of 16 bits: the learning rate of log steps then moves them as well
KEPT_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class A2Q:
    """Steps and widths of groups of rows, for values that only Linears read: the input of layers that transform first, sums of
    neighbours ahead of a Linear, hidden values of an MLP.

    Steps learn as in `Learned` (LSQ); the gradient of a width is that of its largest code. Values that are never negative
    have codes from 0 to 2^b - 1, others from -(2^(b-1) - 1) to 2^(b-1) - 1.

    Attributes:
        bits: at the start, 1 to 8.
        choice: "degree" takes the in-degree of a node; "nearest" the row's largest magnitude, for which it takes the pair of step
            and width that reaches nearest to it.
        groups: how many; of degrees, equally many calibration nodes each as far as equal degrees allow. Or, with
            "degree", the bounds themselves: (2, 8) are the groups up to 2, 3 to 8 and above.
        mean_bits: widths are learned, and pressed by `penalty` towards this mean over all elements of the values that have
            this A2Q; training may end above it. None: they stay.
        penalty: a of the loss a * max(0, mean bits - mean_bits)^2. (The paper's is of KiB, which are bits times a number
            that depends on the graph.)
        local: steps and widths follow the rounding error of their own rows instead of the task's loss (the paper's
            local gradient): in node tasks few nodes have labels.
        topology: whose in-degrees count.
        others: for the weights, and for values that cannot have row scales. None: such values are refused, and weights
            learn one step per output channel at the next whole number of `bits`.
    """

    bits: float = 4
    choice: Choice = "degree"
    groups: int | tuple[int, ...] = 8
    mean_bits: float | None = None
    penalty: float = 0.1
    local: bool = False
    topology: int = 0
    others: Quantizer | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise RecipeError(f"bits: {self.bits}, expected 1 to {MOST_BITS}.")
        if self.choice not in ("degree", "nearest"):
            raise RecipeError(f'choice: {self.choice!r}, expected "degree" or "nearest".')
        if self.mean_bits is not None and not 1 <= self.mean_bits <= MOST_BITS:
            raise RecipeError(f"mean_bits: {self.mean_bits}, expected 1 to {MOST_BITS}.")
        if self.penalty < 0:
            raise RecipeError(f"penalty: {self.penalty}, expected 0 or more.")
        if isinstance(self.groups, int):
            if self.groups < 1:
                raise RecipeError(f"groups: {self.groups}, expected at least 1.")
        elif not isinstance(self.groups, tuple):
            raise RecipeError(
                f'groups: {self.groups!r}, expected a number, or for choice "degree" a tuple of in-degrees.'
            )
        elif self.choice == "nearest" or list(self.groups) != sorted(set(self.groups)):
            raise RecipeError(f'groups: {self.groups}, expected a number, or for choice "degree" ascending in-degrees.')

    def for_value(self, slot: ValueSlot) -> ValueQuantizer:
        if not slot.no_row_scales:
            return A2QValue(self, slot)
        if self.others is not None:
            return self.others.for_value(slot)
        raise RecipeError(
            f"{slot.name}: cannot have row scales: {slot.no_row_scales}. A2Q is for values that only Linears read; name another "
            "quantizer for this one, or give A2Q(..., others=Learned(8))."
        )

    def for_weight(self, slot: WeightSlot) -> WeightQuantizer:
        return (self.others or Learned(math.ceil(self.bits))).for_weight(slot)


class A2QValue(ValueQuantizer):
    """Steps and widths of the groups of one value; `shares` [K] are those of the nodes that training sees in each."""

    shares: Tensor

    def __init__(self, method: A2Q, slot: ValueSlot) -> None:
        super().__init__()
        self.method, self.channels = method, slot.channels
        low, _ = slot.statistics.range()
        self.is_signed, self._skips_zeros = low < 0, slot.is_input
        # As one tensor the value has 16 bits, or the codes 0 and 1 that it came with.
        is_given = slot.is_input or slot.qparams.bits > 8
        observer = None if is_given else Momentum().start(slot.statistics, 16)
        self._wide = FixedValue(slot.qparams) if observer is None else ObservedValue(observer, 16, clips_gradient=True)
        self.observes = observer is not None
        self._error: Tensor | None = None
        bounds = method.groups if isinstance(method.groups, tuple) else tuple(2**k for k in range(method.groups - 1))
        x, counts = slot.statistics.elements(skip_zeros=self._skips_zeros)
        top = self._top(min(max(method.bits, self.least_bits), self.most_bits))
        steps = np.full(len(bounds) + 1, best_step(x, counts, top, is_signed=self.is_signed))
        if method.choice == "nearest":
            steps *= 2.0 ** np.linspace(-min((steps.size - 1) / 2, OCTAVES), 0, steps.size)
        self._set(bounds, steps, np.full(steps.size, 1 / steps.size))

    def _set(self, bounds: tuple[int, ...], steps: np.ndarray, shares: np.ndarray) -> None:
        """Begin with these groups."""
        self._bounds = bounds
        self.log_step = nn.Parameter(torch.from_numpy(np.log(steps)).float())
        units = torch.full(steps.shape, self.method.bits / BITS_PER_UNIT)
        self.width = nn.Parameter(units, requires_grad=self.method.mean_bits is not None)
        self.register_buffer("shares", torch.from_numpy(shares).float())

    @property
    def least_bits(self) -> int:
        return 2 if self.is_signed else 1

    @property
    def most_bits(self) -> int:
        return MOST_BITS if self.is_signed else MOST_BITS - 1

    def _top(self, bits: float) -> int:
        return int(2 ** (round(bits) - self.is_signed)) - 1

    # --- what is in force ---------------------------------------------------------------------------------------------

    def qparams(self) -> QParams:
        return self._wide.qparams()

    def observe(self, x: Tensor) -> None:
        self._wide.observe(x)

    def _widths(self) -> Tensor:
        """Whole numbers of bits, with the gradient of the real ones."""
        real = self.width * BITS_PER_UNIT
        return straight_through(real, real.detach().clamp(self.least_bits, self.most_bits).round())

    def bits(self) -> Tensor:
        """Mean width over the nodes that the last training step saw; its gradient ends where a width cannot get less or more."""
        real = (self.width * BITS_PER_UNIT).clamp(self.least_bits, self.most_bits)
        return (straight_through(real, real.detach().round()) * self.shares).sum()

    def _order(self) -> list[int]:
        """The pairs in the order in which groups are numbered."""
        if self.method.choice == "degree":
            return list(range(len(self.log_step)))
        return [int(i) for i in torch.argsort(self._reaches(), stable=True)]

    def _reaches(self) -> Tensor:
        return (self.log_step.exp() * (torch.exp2(self._widths() - float(self.is_signed)) - 1)).detach()

    def rows(self) -> RowFormat:
        order = self._order()
        widths = self._widths().detach()
        steps = tuple(learned_scale(self.log_step[i]) for i in order)
        tops = tuple(self._top(widths[i].item()) for i in order)
        shares = tuple(round(self.shares[i].item(), 6) for i in order)
        if self.method.choice == "degree":
            return RowFormat(DegreeGroup(self.method.topology, self._bounds, shares), steps, tops, self.is_signed)
        reaches = np.maximum.accumulate([step * top for step, top in zip(steps, tops, strict=True)])
        bounds = tuple(float(b) for b in (reaches[1:] + reaches[:-1]) / 2)
        return RowFormat(PeakGroup(bounds, shares), steps, tops, self.is_signed)

    def trained_rows(self) -> TrainedRows:
        order = torch.tensor(self._order())
        steps = self.log_step.exp().index_select(0, order)
        tops = (torch.exp2(self._widths() - float(self.is_signed)) - 1).index_select(0, order)
        count = self._count if self.training else None
        if not self.method.local:
            return TrainedRows(steps, tops, count)

        def see(x: Tensor, group: Tensor, codes: Tensor) -> None:
            step, top = (t.index_select(0, group)[:, None] for t in (steps, tops))
            smooth = (x / step).clamp(torch.zeros_like(top) if not self.is_signed else -top, top)
            error = straight_through(smooth, codes) * step - x
            self._error = error.square().sum() / x.square().sum().clamp(min=1e-12)

        return TrainedRows(steps.detach(), tops.detach(), count, see if self.training else None)

    # --- what training shows ------------------------------------------------------------------------------------------

    def _count(self, group: Tensor) -> None:
        counts = torch.bincount(group, minlength=len(self.shares)).float()
        shares = torch.empty_like(self.shares).index_copy_(0, torch.tensor(self._order()), counts / counts.sum())
        self.shares = KEPT_SHARE * self.shares + (1 - KEPT_SHARE) * shares

    def loss(self) -> Tensor | None:
        error, self._error = self._error, None
        return error

    def start(self, rows: np.ndarray, degrees: tuple[np.ndarray, ...]) -> None:
        """Groups of equally many rows, each with the step that rounds its rows with the least squared error."""
        method = self.method
        by_degree = method.choice == "degree"
        keys = degrees[method.topology] if by_degree else np.abs(rows).max(axis=1, initial=0)
        bounds = method.groups
        if isinstance(bounds, int):
            cuts = np.quantile(keys, np.arange(1, bounds) / bounds, method="inverted_cdf")
            distinct = np.unique(cuts)
            bounds = tuple(distinct[distinct < keys.max(initial=0)].tolist())
        group = np.searchsorted(np.array(bounds), keys, side="left")
        top = self._top(min(max(method.bits, self.least_bits), self.most_bits))
        whole = self._best_step(rows, top) or 1.0  # of a value that is zero everywhere
        steps = [self._best_step(rows[group == g], top) or whole for g in range(len(bounds) + 1)]
        shares = np.bincount(group, minlength=len(steps)) / max(len(group), 1)
        self._set(tuple(int(b) for b in bounds) if by_degree else tuple(range(len(bounds))), np.array(steps), shares)

    def _best_step(self, rows: np.ndarray, top: int) -> float:
        """0 for rows that hold nothing."""
        x = rows[rows != 0]
        x = x[:: max(1, x.size // 100_000)]
        return best_step(x, np.ones(x.size), top, is_signed=self.is_signed) if x.size else 0.0


def memory_penalty(quantizers: list[ValueQuantizer]) -> Tensor | None:
    """a * max(0, mean bits - mean_bits)^2 over the values of each A2Q that has a target; None where none has."""
    total: Tensor | None = None
    values = [q for q in quantizers if isinstance(q, A2QValue) and q.method.mean_bits is not None]
    for method in dict.fromkeys(q.method for q in values):
        own = [q for q in values if q.method == method]
        elements = sum(q.channels for q in own)
        mean = torch.stack([q.bits() * (q.channels / elements) for q in own]).sum()
        loss = method.penalty * torch.relu(mean - float(method.mean_bits or 0)).square()
        total = loss if total is None else total + loss
    return total
