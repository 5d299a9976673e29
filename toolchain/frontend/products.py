"""Products with the model's weights, products of rows, and norms of rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch

from toolchain.frontend.functions import binary, checked_rows
from toolchain.frontend.layouts import expanded, linear_map
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import Rows, is_constant
from toolchain.ir.ops import Activation, Div, Function, LayerNorm, Linear, Maximum, Mul

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


@lowers_function("linear")
def linear(lowering: Lowering, input: Any, weight: Any, bias: Any = None) -> Rows:
    """F.linear with weights of the model, on the last dimension."""
    x = checked_rows(lowering, "linear", input)
    for tensor, rank in ((weight, 2), (bias, 1)):
        if tensor is None and rank == 1:
            continue
        if not is_constant(tensor) or tensor.dim() != rank:
            raise lowering.refuse_use("linear", "its weight [out, in] and bias [out] must be parameters of the model")
    if x.rank < 2:
        raise lowering.refuse_use("linear", "expected 2 dimensions, got 1")
    if prod(x.tail[:-1]) != 1:  # the same weights for every head
        y = linear_map(lowering, x, lambda rows: rows @ weight.detach().T, "linear")
        return y if bias is None else y + bias
    operands = [x.value, lowering.constant(weight), *([] if bias is None else [lowering.constant(bias)])]
    return lowering.rows(Linear(), *operands).laid_out(*x.tail[:-1], weight.shape[0])


@lowers_function("matmul", "mm", "bmm")
def matmul(lowering: Lowering, input: Any, other: Any) -> Rows:
    """x @ W with a weight of the model, stored transposed; or for every row the product of two matrices in it."""
    if isinstance(input, Rows) and isinstance(other, Rows):
        return _row_matmul(lowering, input, other)
    if not is_constant(other) or not isinstance(input, Rows):
        raise lowering.refuse_use("matmul", "only x @ weight with a matrix of the model is supported")
    x = checked_rows(lowering, "matmul", input)
    if x.rank == 2 and other.dim() == 2:
        return lowering.rows(Linear(), x.value, lowering.transposed(other))
    if other.dim() > 2 and x.rank < 3:
        raise lowering.refuse_use("matmul", "only x @ weight with a matrix of the model is supported")
    return linear_map(lowering, x, lambda rows: rows @ other.detach(), "matmul")


def _row_matmul(lowering: Lowering, a: Rows, b: Rows) -> Rows:
    """[rows, ..., m, k] @ [rows, ..., k, n]: the sum over k of products of equal layouts."""
    if a.rank < 3 or b.rank != a.rank or a.tail[-1] != b.tail[-2] or a.tail[:-2] != b.tail[:-2]:
        raise lowering.refuse_use("matmul of two tensors", "every row needs a matrix on both sides, of sizes that fit")
    lead, (m, k), n = a.tail[:-2], a.tail[-2:], b.tail[-1]
    left = linear_map(lowering, a, lambda rows: rows.unsqueeze(-1).expand(-1, *lead, m, k, n), "expand")
    right = linear_map(lowering, b, lambda rows: rows.unsqueeze(-3).expand(-1, *lead, m, k, n), "expand")
    return linear_map(lowering, binary(lowering, Mul(), left, right), lambda rows: rows.sum(-2), "sum")


@lowers_function("addmm")
def addmm(lowering: Lowering, input: Any, mat1: Any, mat2: Any, beta: float = 1, alpha: float = 1) -> Rows:
    """beta * input + alpha * (mat1 @ mat2)."""
    product = matmul(lowering, mat1, mat2)
    scaled = product if alpha == 1 else product * float(alpha)
    return scaled + (input if beta == 1 else input * float(beta))


@lowers_function("layer_norm")
def layer_norm(
    lowering: Lowering,
    input: Any,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Rows:
    x = checked_rows(lowering, "layer_norm", input, rank=2)
    if tuple(normalized_shape) != (x.channels,):
        raise lowering.refuse_use("layer_norm", f"normalized_shape must be the {x.channels} channels of one row")
    weight = (
        lowering.constant(torch.ones(x.channels), derived="weight") if weight is None else lowering.constant(weight)
    )
    bias = lowering.constant(torch.zeros(x.channels), derived="bias") if bias is None else lowering.constant(bias)
    return lowering.rows(LayerNorm(float(eps)), x.value, weight, bias)


@lowers_function("norm", "vector_norm", "linalg_vector_norm")
def norm(lowering: Lowering, input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Rows:
    """Euclidean or absolute norm over dimensions of a row."""
    x = checked_rows(lowering, "norm", input)
    if p not in (1, 2, "fro") or dim is None or dtype is not None:
        raise lowering.refuse_use(f"norm with p={p}, dim={dim}", "supported: p=1 or p=2 over a dimension of each row")
    terms = x.like(lowering.add(Activation(Function.ABS), x.value)) if p == 1 else binary(lowering, Mul(), x, x)
    total = linear_map(lowering, terms, lambda rows: rows.sum(dim, keepdim=keepdim), "norm")
    return total if p == 1 else total.like(lowering.add(Activation(Function.SQRT), total.value))


@lowers_function("normalize")
def normalize(
    lowering: Lowering, input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Rows:
    """x / max(norm(x), eps)."""
    x = checked_rows(lowering, "normalize", input)
    length = binary(lowering, Maximum(), norm(lowering, x, p, dim, keepdim=True), float(eps))
    return binary(lowering, Div(), x, expanded(lowering, length, x.tail) if length.channels > 1 else length)
