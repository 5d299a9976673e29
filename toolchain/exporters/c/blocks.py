"""How many rows a stage computes at a time."""

from __future__ import annotations

from toolchain.exporters.c.program import BLOCK_ROWS, Program
from toolchain.exporters.c.ready_linear import narrow_channels, reads_sparse
from toolchain.exporters.c.schedule import Stage
from toolchain.exporters.sparse_input import stands_for_features
from toolchain.ir import Domain, Value
from toolchain.ir.ops import Dequantize, Input, Linear, LogSoftmax, Propagate, Quantize

MOST_ROWS = 32
MOST_BYTES = 1024  # of RAM for the blocks of a stage that takes more rows than others


def block_rows(program: Program, stage: Stage) -> int:
    """BLOCK_ROWS, or more where all kernels of a stage take any number of rows: then each is called less often."""
    if stage.domain is not Domain.NODE or stage.collects or not all(_takes_any(program, v) for v in stage.values):
        return BLOCK_ROWS
    row_bytes = sum(
        v.type.channels * max(2, v.type.dtype.numpy.itemsize)  # int8 that a Linear reads is stored as int16
        for v in stage.values
        if not (isinstance(v.op, Input) or v.id in program.schedule.stored or _is_sparse(program, v))
    )
    most = MOST_BYTES // max(1, row_bytes) // BLOCK_ROWS * BLOCK_ROWS
    return min(MOST_ROWS, max(BLOCK_ROWS, most))


def _takes_any(program: Program, value: Value) -> bool:
    if isinstance(value.op, Linear):
        return reads_sparse(program, value) or narrow_channels(program.graph, value) is not None
    return isinstance(value.op, Input | Quantize | Dequantize | Propagate | LogSoftmax)


def _is_sparse(program: Program, value: Value) -> bool:
    """Whether a value stands for the features that are read as positions of ones."""
    return program.sparse and stands_for_features(program.graph, value)
