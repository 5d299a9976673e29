"""Requantization while training: block by block, the numbers are those of integer arithmetic."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from toolchain.compression.code_domain import CodeCall
from toolchain.compression.code_rounding import CACHED, Protection, Rounding, cached_blocks, scaled_down
from toolchain.ir import DType, QParams, TensorType, Value
from toolchain.ir.ops import Propagate, Reduce
from toolchain.ir.types import Domain
from toolchain.torch_ops import Call

ROWS, COLUMNS = 2 * CACHED // 24 + 5, 24  # two blocks and a part of one
GENERATOR = torch.Generator().manual_seed(0)


def random(low: int, high: int, *shape: int) -> Tensor:
    return torch.randint(low, high, shape, generator=GENERATOR)


def test_blocks_hold_every_row_once():
    assert [row for block in cached_blocks(ROWS, COLUMNS) for row in range(ROWS)[block]] == list(range(ROWS))
    assert list(cached_blocks(0, COLUMNS)) == []
    assert [range(3)[block] for block in cached_blocks(3, 2 * CACHED)] == [range(1), range(1, 2), range(2, 3)]


@pytest.mark.parametrize("rows", [None, 1, COLUMNS], ids=["for each column", "for each row", "for each element"])
@pytest.mark.parametrize("reach", [2**12, 2**24], ids=["in float64", "in int64"])
def test_whole_numbers_are_scaled_as_integers_are(rows: int | None, reach: int):
    shape = (COLUMNS,) if rows is None else (ROWS, rows)
    total, m = random(-reach, reach, ROWS, COLUMNS), random(2**30, 2**31, *shape)
    added, s = random(0, 2**40, *shape), random(35, 45, COLUMNS)

    assert torch.equal(scaled_down(total.float(), m, added, s), ((total * m + added) >> s).float())


@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("reach", [2.0**10, 2.0**20], ids=["in float64", "in int64"])
def test_other_numbers_are_rounded_to_their_bits_first(bits: int, reach: float):
    total = reach * (2 * torch.rand(ROWS, COLUMNS, generator=GENERATOR) - 1)
    m, added, s = random(2**30, 2**31, COLUMNS), random(0, 2**36, COLUMNS), random(35, 45, COLUMNS)
    whole = (total * 2**bits).round().long()
    found = scaled_down(total, m, added, s, fraction_bits=bits)

    assert torch.equal(found, ((whole * m + (added << bits)) >> (s + bits)).float())


def test_sums_beyond_int32_are_rounded_and_do_not_wrap():
    total = torch.tensor([[3.0 * 2**40, -3.0 * 2**40, 12345.0]], dtype=torch.float64)
    m, s = torch.tensor([2**31 - 1]), torch.tensor([20])
    found = scaled_down(total, m, torch.tensor([0]), s)

    assert found[0, 2] == float((12345 * (2**31 - 1)) >> 20)
    assert torch.allclose(found[0, :2].double(), total[0, :2] * (2**31 - 1) / 2**20)


def test_sums_of_protected_nodes_keep_sixteenths():
    type_ = TensorType(Domain.NODE, (1,), DType.I8, QParams((1 / 32,), 0, 8))
    value = Value(1, Propagate(0, Reduce.SUM), (0,), type_)
    call = Call(value, (), (type_,), cast(Any, None), cast(Any, None), training=True)
    code = CodeCall(call, (), Rounding(keeps_fractions=True))
    sums = torch.tensor([[0.55], [1.03], [2.0]])  # in steps of 1, given to steps of 1/32

    assert code.requantize(sums, np.float64(32), 32.0).flatten().tolist() == [18.0, 32.0, 64.0]


@pytest.mark.parametrize("relu", [True, False])
def test_what_is_observed_are_the_real_values_of_unprotected_rows_after_the_relu(relu: bool):
    seen: list[Tensor] = []
    is_protected = torch.tensor([[False], [True], [False]])
    rounding = Rounding(protection=Protection.of(is_protected), observe=seen.append)
    smooth = torch.tensor([[-3.25, 400.0], [9.5, -9.5], [1.5, 0.0]])
    codes = rounding.settle(smooth, smooth.round(), QParams((0.5,), 0, 8), relu=relu)

    assert seen[0].tolist() == [[0.0 if relu else -1.625, 200.0], [0.75, 0.0]]
    assert codes.tolist() == [[0.0 if relu else -3.0, 127.0], [9.5, 0.0 if relu else -9.5], [2.0, 0.0]]
