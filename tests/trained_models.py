"""GCN 3x64 and GIN 5x64 of seeded weights, in float and quantized: what the tests of integer exporters share."""

from __future__ import annotations

from functools import cache

import torch
from torch_geometric.data import Data

from tests.every_op import random_inputs
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.quantization import quantize
from toolchain.compression.static_int8 import StaticInt8
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import GCN, GIN
from toolchain.passes import deployable

MODES = ("int8", "sums-int16", "all-int16")


@cache
def trained(kind: str) -> Graph:
    """The float model, "gcn" or "gin"."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = {"gcn": GCN, "gin": GIN}[kind](4, 2).eval()
    example = random_inputs(12, 30)
    data = Data(x=torch.from_numpy(example.x.copy()), edge_index=torch.from_numpy(example.edge_index.copy()))
    return deployable(lower(model, data, name=kind))


@cache
def quantized(kind: str, method: str, bits: int = 8) -> Graph:
    """In "dynamic" int8 or one of MODES, with weights of 8 or fewer bits."""
    if method == "dynamic":
        return quantize(trained(kind), DynamicInt8(weight_bits=bits))
    graphs = [random_inputs(n, 3 * n, seed=n) for n in range(8, 40, 4)]
    return quantize(trained(kind), StaticInt8(graphs, mode=method, min_agreement=0.1, weight_bits=bits))  # type: ignore[arg-type]
