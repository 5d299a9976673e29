"""The elementwise activation functions in numpy: the meaning of `Function`, and the source of int8 tables."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from toolchain.ir.ops import Function

Array = np.ndarray

_erf = np.vectorize(math.erf, otypes=[np.float64])  # numpy has no erf, and scipy is no dependency of the core


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[Function, Callable[[Array, float], Array]] = {
    Function.RELU: lambda x, alpha: np.maximum(x, 0),
    Function.LEAKY_RELU: lambda x, alpha: np.where(x > 0, x, alpha * x),
    Function.ELU: lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    Function.GELU: lambda x, alpha: 0.5 * x * (1 + _erf(x / math.sqrt(2))) if x.size else x,
    Function.GELU_TANH: lambda x, alpha: _gelu_tanh(x),
    Function.SIGMOID: lambda x, alpha: _sigmoid(x),
    Function.TANH: lambda x, alpha: np.tanh(x),
    Function.EXP: lambda x, alpha: np.exp(x),
    Function.LOG: lambda x, alpha: np.log(x),
    Function.SQRT: lambda x, alpha: np.sqrt(x),
    Function.ABS: lambda x, alpha: np.abs(x),
    Function.STEP: lambda x, alpha: (x > 0).astype(x.dtype),
}
