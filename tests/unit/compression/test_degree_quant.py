"""Degree-Quant: which nodes are protected, and what protection means on codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import gcn_graph, node_gcn_graph, random_inputs
from tests.unit.compression.labelled_graphs import labelled
from tests.unit.compression.test_qat import MAKERS, differing_codes
from tests.unit.compression.test_quantizers import after_steps, module_of
from toolchain.compression import QAT, DegreeQuant, Learned, Observed, Percentile, StaticInt8, quantize
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.static_int8 import select
from toolchain.errors import RecipeError
from toolchain.inputs import GraphInputs
from toolchain.ir.ops import Linear
from toolchain.ir.types import Domain
from toolchain.torch_module import TorchGraph


def star(leaves: int) -> GraphInputs:
    """Leaves that point at node 0."""
    edges = np.stack([np.arange(1, leaves + 1), np.zeros(leaves, np.int64)])
    return GraphInputs(np.ones((leaves + 1, 2)), edges)


def test_probabilities_interpolate_by_the_rank_of_the_degree_within_each_graph():
    ring = GraphInputs(np.ones((4, 2)), np.array([[0, 1, 2, 3], [1, 2, 3, 0]]))
    both = GraphInputs.concatenate([star(3), ring])
    found = DegreeQuant(p_min=0.1, change=0.4).probabilities(both)

    assert found == pytest.approx(
        [0.5, 0.4, 0.4, 0.4, 0.5, 0.5, 0.5, 0.5]
    )  # ranks 4/4, 3/4 of the star; 4/4 of the ring


def test_the_largest_probability_is_one():
    assert DegreeQuant(p_min=0.9, change=0.5).probabilities(star(3)).max() == 1.0


def test_nodes_are_protected_as_often_as_their_degree_says():
    inputs, method = random_inputs(40, 200), DegreeQuant(p_min=0.2, change=0.6)
    torch.manual_seed(0)
    drawn = torch.cat([method.draw(inputs) for _ in range(4000)], dim=1).double()
    expected = method.probabilities(inputs)
    error = np.sqrt(expected * (1 - expected) / 4000)

    assert len(set(expected)) > 5
    assert (np.abs(drawn.mean(dim=1).numpy() - expected) < 4.5 * error).all()


def protected_module(protect: DegreeQuant, **quantizers: object) -> CodeDomainModule:
    chosen = select(
        node_gcn_graph(), StaticInt8([random_inputs(60, 200, 30, 1)], mode="int8", equalization=None), accept_best=True
    )
    return CodeDomainModule(chosen.source, chosen.plan, quantizers or {"*": Learned(4)}, protect)


def test_protected_rows_are_the_real_codes_of_node_values_and_the_others_are_rounded():
    module = protected_module(DegreeQuant(p_min=0.3, change=0.0))
    inputs = random_inputs(80, 240, 30, 4)
    batch = TorchGraph.of(inputs.prepare(module.graph.topologies))
    module.train()
    torch.manual_seed(3)
    is_protected = DegreeQuant(0.3, 0.0).draw(inputs)[:, 0]
    torch.manual_seed(3)
    found: list[tuple[str, torch.Tensor]] = []
    module(
        batch,
        lambda value, tensor: (
            found.append((value.scope, tensor.detach()))
            if value.type.dtype.is_integer and value.type.domain is Domain.NODE
            else None
        ),
    )

    assert len(found) == 5
    for _, codes in found:
        fraction = (codes - codes.round()).abs()
        assert (fraction[~is_protected] == 0).all()
        assert fraction[is_protected].max() > 0.01


def test_without_linears_only_what_no_linear_reads_or_writes_is_protected():
    module = protected_module(DegreeQuant(p_min=1.0, linears=False))
    batch = TorchGraph.of(random_inputs(80, 240, 30, 4).prepare(module.graph.topologies))
    module.train()
    fractions: dict[int, float] = {}
    module(batch, lambda value, codes: fractions.update({value.id: float((codes - codes.round()).abs().max())}))
    codes = {v.id for v in module.graph.values if v.id in fractions and v.type.dtype.is_integer}
    linears = [v for v in module.graph.values if isinstance(v.op, Linear)]
    beside = {id for v in linears for id in (v.id, v.inputs[0])}

    assert len(linears) == 2 and len(codes - beside) > 0
    assert all(fractions[id] == 0 for id in codes & beside)
    assert all(fractions[id] > 0.01 for id in codes - beside)


def test_with_every_node_protected_the_float_model_is_computed():
    module = protected_module(
        DegreeQuant(p_min=1.0), **{"conv*.propagate": Learned(2), "x": Learned(2), "*.linear": Learned(2)}
    )
    batch = TorchGraph.of(random_inputs(80, 240, 30, 4).prepare(module.graph.topologies))
    expected = module.latent(batch)[0]
    module.train()
    real = module(batch)[0]
    module.eval()
    rounded = module(batch)[0]

    assert (real - expected).abs().mean() < 0.05 * (rounded - expected).abs().mean()


def test_nothing_is_protected_at_evaluation():
    module = protected_module(DegreeQuant(p_min=1.0))
    module.eval()

    assert differing_codes(module, random_inputs(150, 500, 30, 8))[0] == 0


@pytest.mark.parametrize("name", MAKERS)
def test_training_with_masks_ends_in_the_codes_of_the_integer_graph(name):
    make, features = MAKERS[name]
    module = module_of(make(), features, {"*": Observed(4, Percentile(momentum=0.1))})
    module.degree_quant = DegreeQuant(0.1, 0.3)
    module.train()
    after_steps(module, features)
    silent = [n for n, p in module.trained() if p.grad is None or not p.grad.abs().sum() > 0]
    module.eval()

    assert silent == []
    assert differing_codes(module, random_inputs(150, 500, features, 8))[0] == 0


def test_the_same_seed_draws_the_same_masks():
    data, graph = labelled(30), gcn_graph(classes=2)
    method = QAT(
        data,
        2,
        StaticInt8(data, mode="int8"),
        quantizers={"*": Observed(4)},
        degree_quant=DegreeQuant(0.1, 0.2),
        lr=1e-2,
    )
    first, again = (quantize(graph, method) for _ in range(2))

    for name, array in first.constants.items():
        np.testing.assert_array_equal(array, again.constants[name])


@pytest.mark.parametrize(
    ("options", "name"), [({"p_min": -0.1}, "p_min"), ({"p_min": 2}, "p_min"), ({"change": 1.5}, "change")]
)
def test_malformed_probabilities_are_refused(options, name):
    with pytest.raises(RecipeError, match=f"{name}: {options[name]}, expected"):
        DegreeQuant(**options)
