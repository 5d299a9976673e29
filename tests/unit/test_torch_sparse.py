"""Products with a mostly zero matrix: values and gradients are those of the dense product."""

from __future__ import annotations

import pytest
import torch

from toolchain.torch_sparse import SparseMatrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_product_and_its_gradients_are_those_of_the_dense_matrix(dtype):
    torch.manual_seed(0)
    dense = torch.where(torch.rand(40, 30) < 0.1, torch.randn(40, 30), torch.zeros(()))
    dense[7], dense[:, 3] = 0.0, 0.0  # an empty row and column
    sparse = SparseMatrix.of(dense)
    values = sparse.values.clone().requires_grad_()
    left, right = dense.clone().requires_grad_(), torch.randn(30, 5, dtype=dtype, requires_grad=True)
    weight = torch.randn(40, 5, dtype=dtype)

    expected, found = left.to(dtype) @ right, sparse.with_values(values).product(right)
    expected_right = torch.autograd.grad((expected * weight).sum(), [left, right])
    found_right = torch.autograd.grad((found * weight).sum(), [values, right])

    torch.testing.assert_close(sparse.dense(), dense)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found_right[1], expected_right[1])
    torch.testing.assert_close(found_right[0], expected_right[0][dense.nonzero(as_tuple=True)])


def test_integers_below_2_to_the_24_are_exact():
    codes = torch.zeros(300, 2000)
    codes[:, ::20] = torch.randint(-127, 128, (300, 100)).float()
    weight = torch.randint(-127, 128, (2000, 8)).float()

    assert torch.equal(SparseMatrix.of(codes).product(weight).long(), codes.long() @ weight.long())
