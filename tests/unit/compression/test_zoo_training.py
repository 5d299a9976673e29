"""Every model of the zoo trains through its integers: learned scales of few bits, masks in training, the same codes after it."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from tests.cases import MODELS, case_inputs
from tests.unit.compression.test_qat import differing_codes
from tests.unit.compression.test_zoo_quantization import calibration, zoo_graph
from toolchain.compression import DegreeQuant, Learned, StaticInt8
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.integer_forms import EDGE_ARITHMETICS, EdgeArithmetic
from toolchain.compression.static_int8 import Selection, select
from toolchain.inputs import GraphInputs
from toolchain.torch_module import TorchGraph


@cache
def chosen(name: str, edges: EdgeArithmetic) -> Selection:
    static = StaticInt8(calibration()[:10], "int8", min_agreement=0, equalization=None, edge_arithmetic=edges)
    return select(zoo_graph(name), static, accept_best=True)


@pytest.mark.parametrize("edges", EDGE_ARITHMETICS)
@pytest.mark.parametrize("name", MODELS)
def test_training_with_learned_scales_and_masks_ends_in_the_codes_of_the_integer_graph(name, edges):
    selection = chosen(name, edges)
    module = CodeDomainModule(selection.source, selection.plan, {"*": Learned(4)}, DegreeQuant(0.1, 0.3))
    inputs = GraphInputs.from_pyg(case_inputs(name, "random_60"))
    batch = TorchGraph.of(inputs.prepare(module.graph.topologies))
    optimizer = torch.optim.Adam(module.groups(scale_lr=0.05), lr=1e-2)
    module.train()
    for _ in range(2):
        optimizer.zero_grad()
        output = module(batch)[0]
        (output.square().mean() + output[:, 0].sum()).backward()
        optimizer.step()
        module.apply_masks()
    module.eval()

    for kind in ("random_60", "hub"):
        differing, total = differing_codes(module, GraphInputs.from_pyg(case_inputs(name, kind)))
        assert differing == 0 < total
    for name_, parameter in module.trained():
        assert torch.isfinite(parameter).all(), name_
