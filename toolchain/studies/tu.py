"""Graph classification at 8 and 4 bits: a GIN of five layers trained on as integers in each way, in paired folds.

    pocketgnn study tu --data-root data --set data=REDDIT-BINARY

Real GIN 5x64 with its self term, mean pool, stratified folds of which the part before the test part validates, the epoch with the
lowest validation loss. On REDDIT-BINARY it is the published model, whose BatchNorms after the ReLUs stay float32; on the others
they are ahead of them, and everything runs on integers. Features are the data's own node labels, else degrees: one-hot, or
standardized where one reaches 1,000. Accuracies are those of the test part.

Every quantized row starts from the same float model of its fold and has the same epochs: in the published tables training
starts from random weights. "static" is not trained; where held-out graphs need it, hidden values have 16 bits.
"QAT" is the published baseline: straight-through gradient, ranges a moving average of minimum and maximum. "Degree-Quant" has
protective masks, as published not on what the Linears of a GIN layer read and write, clipped gradients and ranges by percentile
(0.001 is cut at either end); p_min is 0 at 8 bits and 0.1 at 4 bits, change 0.1. "learned" trains the scales (LSQ), and
"learned, masked" does so behind the same masks. Weight decay is 2e-4 at 8 bits and 4e-5 at 4 bits; the learning rate, halved
after every quarter of the epochs, is 0.001 in both: the published 0.005 at 8 bits is for random weights, and undoes trained
ones; at 4 bits, 0.005 with Degree-Quant is better on REDDIT-BINARY. In every row the features have 16 bits, or 8 where they are
0 or 1, and the weights that read them 8. In the 4-bit rows what a float BatchNorm reads has 16 bits, since the published model
does not round it and 4 bits there cost accuracy; in the 8-bit rows it has 8, which cost none.

"mixed" has widths of 2, 4 and 8 bits that MixQ's relaxed search gives out, 5 on the mean at most, and learned scales;
"mixed, distilled" also learns from the float model's probabilities on the training graphs. All choices are made on the training
and the validation part.

`simulated` is the accuracy of training's own forward pass, `integer` that of the integer model in the reference interpreter;
`codes_differing` counts outputs of the two that are not equal. `bits` is the mean over values and weights, `bit_operations` 10^9
in MixQ's accounting, `bops` 10^9 in the product accounting, of a mean test graph.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch

from toolchain.compression import (
    QAT,
    DegreeQuant,
    Distillation,
    Fixed,
    Learned,
    Momentum,
    Observed,
    Percentile,
    StaticInt8,
)
from toolchain.compression.bit_search import Assignment, SearchSpace
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.evaluation import accuracy, as_inputs, batches, evaluate, predict
from toolchain.compression.qat import trained
from toolchain.compression.quantizers import Quantizer
from toolchain.compression.static_int8 import select
from toolchain.compression.training import StepDecay
from toolchain.datasets import Split, fold
from toolchain.ir import Graph
from toolchain.ir.operation_counts import GraphSizes, operation_counts
from toolchain.studies.mixtures import mixture
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.studies.tu_models import (
    DATA_SETS,
    FloatModel,
    NormPlace,
    batch_size,
    first_weight,
    float_model,
    load,
    norm_place,
    read_by_norms,
)
from toolchain.torch_structure import TorchGraph

TRAINED = ("QAT", "Degree-Quant", "learned", "learned, masked")
MIXED = ("mixed", "mixed, distilled")
METHODS = ("float", "8 static", *(f"{bits} {way}" for bits in (8, 4) for way in TRAINED), *MIXED)
WEIGHT_DECAY = {8: 2e-4, 4: 4e-5}
CALIBRATION_GRAPHS = 300
WIDTHS, MOST_BITS = (2, 4, 8), 5.0  # of the mixtures


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of training on as integers.
        data: the data sets, joined by "+".
        methods: the rows, joined by "+"; empty: all.
        lr: of training on.
        search_epochs: of the search for mixtures.
    """

    train_epochs: int = 100
    epochs: int = 200
    lr: float = 0.001
    search_epochs: int = 10
    data: str = "+".join(DATA_SETS)
    methods: str = ""


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every method in every fold."""
    methods = settings.methods.split("+") if settings.methods else METHODS
    return itertools.product(settings.data.split("+"), range(scope.seeds), range(scope.folds), methods)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one data set, seed and fold share the float model."""
    for name, group in itertools.groupby(keys, key=lambda key: key[0]):
        graphs, batch = load(scope.data_root, name), batch_size(name)
        for (seed, number), rows in itertools.groupby(group, key=lambda key: key[1:3]):
            parts = fold(graphs, number)
            start = time.perf_counter()
            model = float_model(parts, settings.train_epochs, seed, batch, norm=norm_place(name))
            subject = Subject(model, parts, settings, seed, batch, norm_place(name))
            for *_, method in rows:
                if method != "float":
                    start = time.perf_counter()
                yield {**subject.row(method), "seconds": round(time.perf_counter() - start, 1)}


@dataclass(frozen=True, eq=False)
class Subject:
    """A float model with the parts of its fold, and what its rows have in common."""

    model: FloatModel
    parts: Split
    settings: Settings
    seed: int
    batch: int
    norm: NormPlace

    def row(self, method: str) -> Found:
        """The values of one of METHODS."""
        if method == "float":
            test = evaluate(self.model.graph, self.parts.test)
            found = {"bits": 32, "validation": self.model.validation, "simulated": test, "integer": test}
            same = {"codes_differing": 0, "epochs": "", "best_epoch": self.model.epoch}
            return {**found, **same, **_costs(self.model.graph, self.parts)}
        if method == "8 static":
            calibrated = StaticInt8(self.parts.train[:CALIBRATION_GRAPHS], seed=self.seed)
            selection = select(self.model.graph, calibrated, accept_best=True)
            module = CodeDomainModule(selection.source, selection.plan).eval()
            return {**integer_row(module, self.parts), "epochs": 0, "best_epoch": ""}
        made = trained(self.model.graph, self.mixed(method) if method in MIXED else self.uniform(method))
        return {**integer_row(made.module, self.parts), "epochs": self.settings.epochs, "best_epoch": made.epoch}

    @property
    def static(self) -> StaticInt8:
        """How ranges are calibrated before training."""
        graphs = self.parts.train[:CALIBRATION_GRAPHS]
        return StaticInt8(graphs, mode="int8", equalization=None, min_agreement=0, seed=self.seed)

    def uniform(self, method: str) -> QAT:
        """The training of one width and one of TRAINED."""
        width, way = method.split(" ", 1)
        bits = int(width)
        ways: Mapping[str, Quantizer] = {
            "QAT": Observed(bits, Momentum(), "straight-through"), "Degree-Quant": Observed(bits, Percentile()),
            "learned": Learned(bits), "learned, masked": Learned(bits),
        }  # fmt: skip
        masks = DegreeQuant(p_min=0.0 if bits == 8 else 0.1, change=0.1, linears=False)
        quantizers = {"*": ways[way], "x": Fixed(), first_weight(self.norm): Fixed(8)}
        if bits < 8:
            quantizers |= dict.fromkeys(read_by_norms(self.norm), Fixed(16))
        return replace(
            self._training(bits, quantizers),
            degree_quant=masks if way in ("Degree-Quant", "learned, masked") else None,
        )  # fmt: skip

    def mixed(self, method: str) -> QAT:
        """The training of one of MIXED."""
        space, assignment = self._mixture
        teacher = Distillation(self.model.graph, weight=1.0) if method == "mixed, distilled" else None
        return replace(self._training(4, space.quantizers(assignment)), distillation=teacher)

    @cached_property
    def _mixture(self) -> tuple[SearchSpace, Assignment]:
        space = SearchSpace.of(self.model.graph, self.static, {"*": WIDTHS, "x": (8,)}, self.parts.validation)
        epochs = self.settings.search_epochs
        return space, mixture(
            space, self.parts, most_bits=MOST_BITS, epochs=epochs, seed=self.seed, batch=self.batch
        )  # fmt: skip

    def _training(self, bits: int, quantizers: Mapping[str, Quantizer]) -> QAT:
        settings = self.settings
        return QAT(
            list(self.parts.train), settings.epochs, self.static, lr=settings.lr, weight_decay=WEIGHT_DECAY[bits],
            seed=self.seed, batch_size=self.batch, quantizers=quantizers, validation=list(self.parts.validation),
            criterion="loss", decay=StepDecay(max(settings.epochs // 4, 1)),
        )  # fmt: skip


def integer_row(module: CodeDomainModule, parts: Split) -> Found:
    """A model on codes, measured in training's own arithmetic and as the integer graph."""
    made, test = module.to_integer_graph(), as_inputs(parts.test)
    found = predict(made, test)
    with torch.no_grad():
        batched = [TorchGraph.of(batch.prepare(module.graph.topologies)) for batch in batches(test)]
        simulated = np.concatenate([module(batch)[0].numpy() for batch in batched])
    return {
        "bits": float(np.mean(list(widths(module).values()))), **_costs(made, parts),
        "validation": evaluate(made, parts.validation), "simulated": accuracy(parts.test, lambda: simulated),
        "integer": accuracy(parts.test, lambda: found), "codes_differing": int(np.count_nonzero(simulated != found)),
    }  # fmt: skip


def widths(module: CodeDomainModule) -> Mapping[str, int]:
    """Bits of every value and weight that has a scale of its own."""
    values = {s.name: s.qparams.bits for s in module.slots.values} | {s.name: s.bits for s in module.slots.weights}
    stated = {name: quantizer.qparams().bits for name, quantizer in module.quantizers.items()}
    return MappingProxyType(values | stated | {name: q.bits for name, q in module.weight_quantizers.items()})


def _costs(graph: Graph, parts: Split) -> Found:
    counts = operation_counts(graph, GraphSizes.mean_of(graph.topologies, as_inputs(parts.test)))
    return {"bit_operations": counts.bit_operations / 1e9, "bops": counts.bops / 1e9}


STUDY = Study(
    "tu", keys=("data", "seed", "fold", "method"),
    values=(
        "bits", "bit_operations", "bops", "validation", "simulated", "integer", "codes_differing", "epochs", "best_epoch",
        "seconds",
    ),
    settings=Settings, wanted=wanted, measure=measure,
    shown=("bits", "bit_operations", "validation", "simulated", "integer", "codes_differing"), seeds=1, folds=10,
    data_sets=DATA_SETS,
)  # fmt: skip
