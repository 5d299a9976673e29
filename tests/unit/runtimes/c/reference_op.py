"""One op of toolchain.ir.reference on given arrays: what a C kernel is compared with."""

from __future__ import annotations

import numpy as np

from tests.parity import assert_close
from toolchain.inputs import GraphInputs, PreparedGraph
from toolchain.ir import Value
from toolchain.ir.op import Op
from toolchain.ir.reference import Call, evaluate
from toolchain.ir.types import Domain, DType, QParams, TensorType

NO_GRAPH = GraphInputs(np.zeros((1, 1)), np.zeros((2, 0), np.int64)).prepare(())
_DTYPES = {np.dtype(d.numpy): d for d in DType}


def reference(
    op: Op, *arrays: np.ndarray, prepared: PreparedGraph = NO_GRAPH, qparams: dict[int, QParams] | None = None
) -> np.ndarray:
    """The op's result. Operands are rows of topology 0, or constants; their domain makes no difference to a float op."""
    types = tuple(
        TensorType(Domain.NODE, array.shape[1:], _DTYPES[array.dtype], (qparams or {}).get(i), topology=0)
        for i, array in enumerate(arrays)
    )
    value = Value(0, op, tuple(range(len(arrays))), types[0])
    return evaluate(op, Call(value, arrays, types, prepared, {}))


def assert_near(actual: np.ndarray, expected: np.ndarray) -> None:
    """Within the tolerance of all float comparisons."""
    assert_close((actual.reshape(expected.shape),), (expected,))
