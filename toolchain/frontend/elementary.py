"""Elementary functions, comparisons and masks on symbols, in terms of few functions of the IR."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from toolchain.frontend.functions import binary, checked_rows, maximum, minimum, neg
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import IsInfinite, Mask, Rows, is_constant
from toolchain.ir.ops import Activation, Add, Const, Div, Function, Mul, Sub

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


def _elementwise(lowering: Lowering, name: str, input: Any, function: Function) -> Rows:
    x = checked_rows(lowering, name, input)
    return x.like(lowering.add(Activation(function), x.value))


@lowers_function("exp")
def exp(lowering: Lowering, input: Any) -> Rows:
    return _elementwise(lowering, "exp", input, Function.EXP)


@lowers_function("log")
def log(lowering: Lowering, input: Any) -> Rows:
    return _elementwise(lowering, "log", input, Function.LOG)


@lowers_function("log1p")
def log1p(lowering: Lowering, input: Any) -> Rows:
    return log(lowering, binary(lowering, Add(), input, 1.0))


@lowers_function("sqrt")
def sqrt(lowering: Lowering, input: Any) -> Rows:
    return _elementwise(lowering, "sqrt", input, Function.SQRT)


@lowers_function("rsqrt")
def rsqrt(lowering: Lowering, input: Any) -> Rows:
    return binary(lowering, Div(), 1.0, sqrt(lowering, input))


@lowers_function("abs", "absolute")
def abs(lowering: Lowering, input: Any) -> Rows:
    return _elementwise(lowering, "abs", input, Function.ABS)


@lowers_function("silu")
def silu(lowering: Lowering, input: Any, inplace: bool = False) -> Rows:
    """x * sigmoid(x)."""
    return binary(lowering, Mul(), input, _elementwise(lowering, "silu", input, Function.SIGMOID))


@lowers_function("logsigmoid")
def logsigmoid(lowering: Lowering, input: Any) -> Rows:
    return neg(lowering, softplus(lowering, neg(lowering, input)))


@lowers_function("softplus")
def softplus(lowering: Lowering, input: Any, beta: float = 1, threshold: float = 20) -> Rows:
    """log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    scaled = input if beta == 1 else binary(lowering, Mul(), input, float(beta))
    small = log1p(lowering, exp(lowering, neg(lowering, abs(lowering, scaled))))
    total = binary(lowering, Add(), _elementwise(lowering, "softplus", scaled, Function.RELU), small)
    return total if beta == 1 else binary(lowering, Div(), total, float(beta))


@lowers_function("pow", "square")
def pow(lowering: Lowering, input: Any, exponent: Any = 2) -> Rows:
    """Whole and half powers by products and roots; any other power, of positive numbers, as exp(p log x)."""
    x = checked_rows(lowering, "pow", input)
    if is_constant(exponent) and exponent.numel() == 1 and not isinstance(exponent, torch.nn.Parameter):
        exponent = float(exponent)
    if isinstance(exponent, int | float):
        power = float(exponent)
        if power < 0:
            return binary(lowering, Div(), 1.0, pow(lowering, x, -power))
        if power == 1:
            return x
        if power == 0.5:
            return sqrt(lowering, x)
        if power in (2.0, 3.0, 4.0):
            square = binary(lowering, Mul(), x, x)
            return square if power == 2 else binary(lowering, Mul(), square, x if power == 3 else square)
    return exp(lowering, binary(lowering, Mul(), log(lowering, x), exponent))


@lowers_function("clamp", "clip")
def clamp(lowering: Lowering, input: Any, min: Any = None, max: Any = None) -> Rows:
    x = checked_rows(lowering, "clamp", input)
    x = x if min is None else maximum(lowering, x, min)
    return x if max is None else minimum(lowering, x, max)


@lowers_function("clamp_min")
def clamp_min(lowering: Lowering, input: Any, min: Any) -> Rows:
    return maximum(lowering, input, min)


@lowers_function("clamp_max")
def clamp_max(lowering: Lowering, input: Any, max: Any) -> Rows:
    return minimum(lowering, input, max)


# --- comparisons ------------------------------------------------------------------------------------------------------


def _step(lowering: Lowering, a: Any, b: Any) -> Mask:
    """a > b."""
    difference = binary(lowering, Sub(), a, b)
    return _mask(lowering, difference, lowering.add(Activation(Function.STEP), difference.value))


def _mask(lowering: Lowering, like: Rows, value: int) -> Mask:
    return Mask(lowering, value, tail=like.tail)


@lowers_function("gt", "greater")
def gt(lowering: Lowering, input: Any, other: Any) -> Mask:
    return _step(lowering, input, other)


@lowers_function("lt", "less")
def lt(lowering: Lowering, input: Any, other: Any) -> Mask:
    return _step(lowering, other, input)


@lowers_function("ge", "greater_equal")
def ge(lowering: Lowering, input: Any, other: Any) -> Mask:
    return logical_not(lowering, lt(lowering, input, other))


@lowers_function("le", "less_equal")
def le(lowering: Lowering, input: Any, other: Any) -> Mask:
    return logical_not(lowering, gt(lowering, input, other))


@lowers_function("eq")
def eq(lowering: Lowering, input: Any, other: Any) -> Any:
    if isinstance(other, float) and math.isinf(other):
        return IsInfinite(lowering, checked_rows(lowering, "eq", input))
    return logical_and(lowering, ge(lowering, input, other), le(lowering, input, other))


@lowers_function("ne", "not_equal")
def ne(lowering: Lowering, input: Any, other: Any) -> Mask:
    return logical_not(lowering, eq(lowering, input, other))


@lowers_function("logical_not", "bitwise_not")
def logical_not(lowering: Lowering, input: Any) -> Mask:
    if not isinstance(input, Mask):
        raise lowering.refuse_use("logical_not", "its argument must be a comparison")
    return _mask(lowering, input, binary(lowering, Sub(), 1.0, input).value)


@lowers_function("logical_and", "bitwise_and", "and")
def logical_and(lowering: Lowering, input: Any, other: Any) -> Mask:
    if not isinstance(input, Mask) or not isinstance(other, Mask):
        raise lowering.refuse_use("logical_and", "its arguments must be comparisons")
    both = binary(lowering, Mul(), input, other)
    return _mask(lowering, both, both.value)


@lowers_function("logical_or", "bitwise_or", "or")
def logical_or(lowering: Lowering, input: Any, other: Any) -> Mask:
    return logical_not(lowering, logical_and(lowering, logical_not(lowering, input), logical_not(lowering, other)))


@lowers_function("all", "any")
def all(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    raise lowering.refuse_use(
        "a branch on all values", "they are only known when the model runs. Use torch.where in place of a branch"
    )


@lowers_function("nonzero", "masked_select", "topk", "sort", "argsort", "unique")
def nonzero(lowering: Lowering, input: Any, *args: Any, **kwargs: Any) -> Any:
    raise lowering.refuse_use(
        "a choice of rows by their values",
        "how many there are is only known when the model runs. Weigh all rows with a mask instead, as x * (score > 0)",
    )


@lowers_function("where")
def where(lowering: Lowering, condition: Any, input: Any = None, other: Any = None) -> Rows:
    """m * a + (1 - m) * b, for finite a and b."""
    if not isinstance(condition, Mask) or input is None or other is None:
        raise lowering.refuse_use("where", "supported: torch.where(comparison, a, b)")
    mask = Rows(lowering, condition.value, tail=condition.tail)
    chosen = binary(lowering, Mul(), mask, input)
    if not isinstance(other, Rows) and not is_constant(other) and other == 0:
        return chosen
    return binary(lowering, Add(), chosen, binary(lowering, Mul(), binary(lowering, Sub(), 1.0, mask), other))


@lowers_function("masked_fill")
def masked_fill(lowering: Lowering, input: Any, mask: Any, value: Any) -> Rows:
    x = checked_rows(lowering, "masked_fill", input)
    if isinstance(mask, IsInfinite):
        return _finite_quotient(lowering, x, mask, value)
    if not isinstance(mask, Mask):
        raise lowering.refuse_use("masked_fill", "its mask must be a comparison")
    return where(lowering, logical_not(lowering, mask), x, value)


def _finite_quotient(lowering: Lowering, x: Rows, mask: IsInfinite, value: Any) -> Rows:
    """c / d, and 0 where d is 0: `q = c / d; q.masked_fill_(q == inf, 0)`, without computing an infinity."""
    quotient = lowering.builder.values[x.value]
    if mask.of != x.value or value != 0 or not isinstance(quotient.op, Div):
        raise lowering.refuse_use("masked_fill of infinities", "only those of a division can become 0")
    numerator, denominator = (lowering.builder.values[i] for i in quotient.inputs)
    if not isinstance(numerator.op, Const):
        raise lowering.refuse_use("masked_fill of infinities", "only those of a number over a tensor can become 0")
    d = x.like(denominator.id)
    is_some = x.like(lowering.add(Activation(Function.STEP), abs(lowering, d).value))
    divisor = binary(lowering, Add(), d, binary(lowering, Sub(), 1.0, is_some))
    scaled = lowering.add(Mul(), numerator.id, is_some.value)
    return x.like(lowering.add(Div(), scaled, divisor.value))
