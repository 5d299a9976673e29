#include "gnn_kernels.h"
#include "gnn_math.h"

#define GELU_TANH_SCALE 1.59576912f /* 2 sqrt(2 / pi): (1 + tanh(u)) / 2 is the sigmoid of 2 u */

static inline float activate(gnn_function function, float alpha, float x)
{
    switch (function) {
    case GNN_RELU: break;
    case GNN_LEAKY_RELU: return x > 0.0f ? x : alpha * x;
    case GNN_ELU: return x > 0.0f ? x : alpha * gnn_expm1(x);
    case GNN_GELU: return x * gnn_normal_cdf(x);
    case GNN_GELU_TANH: return x * gnn_sigmoid(GELU_TANH_SCALE * (x + 0.044715f * x * x * x));
    case GNN_SIGMOID: return gnn_sigmoid(x);
    case GNN_TANH: return gnn_tanh(x);
    case GNN_EXP: return gnn_exp(x);
    case GNN_LOG: return gnn_log(x);
    case GNN_SQRT: return gnn_sqrt(x);
    case GNN_ABS: return x < 0.0f ? -x : x;
    case GNN_STEP: return x > 0.0f ? 1.0f : 0.0f;
    }
    return gnn_relu(x);
}

void gnn_activation_f32(gnn_function function, float alpha, const float *x, size_t count, float *y)
{
    for (size_t i = 0; i < count; ++i) {
        y[i] = activate(function, alpha, x[i]);
    }
}
