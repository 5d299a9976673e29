/* The operators pocketgnn::spmm.out (x, row_pointer, source) and pocketgnn::weighted_spmm.out (..., coefficient) for ExecuTorch.
 *
 * Loading the library registers them.
 */
#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>

#include <cstdlib>

#include "spmm.h"

/* What the headers call for arguments that no exporter writes; the wheel's library has it, but keeps it to itself. */
[[noreturn]] void executorch::runtime::runtime_abort() { std::abort(); }

namespace {

using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;

bool is_matrix(const Tensor &tensor) { return tensor.dim() == 2 && tensor.scalar_type() == ScalarType::Float; }

bool is_index(const Tensor &tensor) { return tensor.dim() == 1 && tensor.scalar_type() == ScalarType::Long; }

Tensor &compute(KernelRuntimeContext &context, const Tensor &x, const Tensor &row_pointer, const Tensor &source,
                const Tensor *coefficient, Tensor &out)
{
    if (!is_matrix(x) || !is_index(row_pointer) || !is_index(source) || !is_matrix(out) || row_pointer.size(0) < 1 ||
        (coefficient != nullptr && (!is_matrix(*coefficient) || coefficient->numel() != source.numel()))) {
        context.fail(Error::InvalidArgument);
        return out;
    }
    const spmm_operands operands = {
        x.const_data_ptr<float>(), row_pointer.const_data_ptr<int64_t>(), source.const_data_ptr<int64_t>(),
        coefficient != nullptr ? coefficient->const_data_ptr<float>() : nullptr,
        x.size(0), x.size(1), row_pointer.size(0) - 1, source.size(0),
    };
    SizesType sizes[2] = {static_cast<SizesType>(operands.targets), static_cast<SizesType>(operands.channels)};
    if (spmm_fault(&operands) != nullptr || executorch::runtime::resize_tensor(out, {sizes, 2}) != Error::Ok) {
        context.fail(Error::InvalidArgument);
        return out;
    }
    spmm(&operands, out.mutable_data_ptr<float>());
    return out;
}

Tensor &spmm_out(KernelRuntimeContext &context, const Tensor &x, const Tensor &row_pointer, const Tensor &source, Tensor &out)
{
    return compute(context, x, row_pointer, source, nullptr, out);
}

Tensor &weighted_spmm_out(KernelRuntimeContext &context, const Tensor &x, const Tensor &row_pointer, const Tensor &source,
                          const Tensor &coefficient, Tensor &out)
{
    return compute(context, x, row_pointer, source, &coefficient, out);
}

}  // namespace

EXECUTORCH_LIBRARY(pocketgnn, "spmm.out", spmm_out);
EXECUTORCH_LIBRARY(pocketgnn, "weighted_spmm.out", weighted_spmm_out);
