"""Quantization-aware training in the code domain: what the forward pass computes is what the integer graph computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from toolchain.compression.best_epoch import CRITERIA, BestEpoch, Criterion
from toolchain.compression.calibration import observe
from toolchain.compression.code_domain_module import CodeDomainModule, Snapshot
from toolchain.compression.degree_quant import DegreeQuant
from toolchain.compression.distillation import Distillation
from toolchain.compression.evaluation import as_inputs, batches, several
from toolchain.compression.integer_plan import IntegerPlan
from toolchain.compression.quantizers import Quantizer
from toolchain.compression.static_int8 import Selection, StaticInt8, first_form, select
from toolchain.compression.training import Loss, Schedule, StepDecay, Watch, train_module
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.torch_structure import TorchGraph

AfterEpoch = Callable[[int, CodeDomainModule], None]


@dataclass(frozen=True, slots=True, eq=False)
class QAT:
    """Train the weights, and where `quantizers` says so the scales, of the static int8 form.

    Widths and ranges come from `static` where no quantizer is named; the codes of weights and biases follow the weights in
    every step. BatchNorm is folded before, and the model's own Dropout is gone: `dropout` says where there is any. Pruned
    weights stay zero.

    Attributes:
        loader: a PyG DataLoader, or a list of Data or Batch objects, with labels, as for `fine_tune`.
        static: ranges, widths and equalization. Its `min_agreement` only steers which widths are taken.
        lr, weight_decay, loss, seed, batch_size, watch: as for `fine_tune`.
        recalibrate: measure the ranges anew, on the float form of the trained weights, before every epoch but the first.
        quantizers: for values and weights by name or pattern (see `toolchain.compression.slots`), the last match counting:
            {"*": Learned(4), "conv2.*": Learned(8)}. With any, equalization "auto" means none.
        degree_quant: protects nodes of high degree from rounding while training.
        dropout: of values while training, by name or pattern: the probability with which a code becomes zero, as in
            {"x": 0.5, "conv1.propagate": 0.5}.
        scale_lr: of what the quantizers learn, without weight decay.
        distillation: a float teacher whose probabilities are targets as well.
        validation: PyG graphs with labels (node tasks: in `val_mask`); the epoch that is best on them is kept. None: the last.
        criterion: of the best epoch: the highest "accuracy", or the lowest "loss".
        decay: as for `fine_tune`.
    """

    loader: Iterable[Any]
    epochs: int
    static: StaticInt8
    lr: float = 1e-4
    weight_decay: float = 0.0
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64
    recalibrate: bool = False
    quantizers: Mapping[str, Quantizer] = field(default_factory=dict)
    degree_quant: DegreeQuant | None = None
    dropout: Mapping[str, float] = field(default_factory=dict)
    scale_lr: float = 1e-2
    distillation: Distillation | None = None
    validation: Iterable[Any] | None = None
    watch: Watch | None = None
    criterion: Criterion = "accuracy"
    decay: StepDecay | None = None

    def __post_init__(self) -> None:
        for name, quantizer in self.quantizers.items():
            if not hasattr(quantizer, "for_value") or not hasattr(quantizer, "for_weight"):
                raise RecipeError(f"quantizers of {name!r}: {quantizer!r}, expected a quantizer such as Learned(4).")
        if self.scale_lr <= 0:
            raise RecipeError(f"scale_lr: {self.scale_lr}, expected a positive number, such as 1e-2.")
        if self.criterion not in CRITERIA:
            raise RecipeError(f"criterion: {self.criterion!r}, expected one of {', '.join(CRITERIA)}.")
        self.schedule  # refuses a malformed one  # noqa: B018

    @property
    def schedule(self) -> Schedule:
        """The training loop's share of the options."""
        return Schedule(
            self.epochs, self.lr, self.weight_decay, self.loss, self.seed, self.batch_size, self.watch, self.decay
        )  # fmt: skip


def quantization_aware(graph: Graph, method: QAT) -> Graph:
    """The integer graph after training through its own arithmetic: that of `trained_module`."""
    return trained_module(graph, method).to_integer_graph()


def trained_module(graph: Graph, method: QAT, after_epoch: AfterEpoch | None = None) -> CodeDomainModule:
    """The module after training, in eval mode, as it was after the epoch that is kept: that of `trained`."""
    return trained(graph, method, after_epoch).module


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A module after training, in eval mode, and the number of the epoch that it is of."""

    module: CodeDomainModule
    epoch: int


def trained(graph: Graph, method: QAT, after_epoch: AfterEpoch | None = None) -> Trained:
    """Train a float graph through its integer arithmetic.

    Args:
        after_epoch: called with the number of each epoch, and the module in eval mode as it is then.

    Raises:
        InvalidInput: a batch without labels.
        QuantizationRefused: no integer form can hold the calibration graphs' sums.
    """
    selection = select(graph, _calibration(method), accept_best=True)
    module = CodeDomainModule(selection.source, selection.plan, method.quantizers, method.degree_quant, method.dropout)
    module.start(selection.split.calibration)
    distillation = method.distillation
    if distillation is not None and distillation.teacher is None:
        distillation = replace(distillation, teacher=graph)

    def before_epoch(epoch: int) -> None:
        if method.recalibrate and epoch > 0:
            module.plan = recalibrated(module, selection)

    train = partial(
        train_module, module, method.loader, method.schedule, groups=module.groups(method.scale_lr),
        distillation=distillation, auxiliary_loss=module.auxiliary_loss, before_epoch=before_epoch,
    )  # fmt: skip
    looks = [] if after_epoch is None else [lambda epoch: after_epoch(epoch, module)]
    if method.validation is None:
        train(after_epoch=_each(looks))
        return Trained(module, method.epochs - 1)
    data = list(several(method.validation))
    best, outputs = BestEpoch[Snapshot](data, method.criterion, method.loss), _Outputs(data, module)
    train(after_epoch=_each([lambda epoch: best.look(epoch, outputs, module.snapshot), *looks]))
    if best.state is not None:
        module.restore(best.state)
    return Trained(module, best.epoch)


def check_names(graph: Graph, method: QAT, searched: Iterable[str] = ()) -> None:
    """Refuse what training would refuse of a graph with these weights marked as pruned or shared, without any training.

    Args:
        searched: further names and patterns of slots.

    Raises:
        RecipeError: a name or pattern that no slot has, a width that a slot cannot have, or options that contradict each other.
    """
    source, plan = first_form(graph, _calibration(method))
    module = CodeDomainModule(source, plan, method.quantizers, method.degree_quant, method.dropout)
    module.slots.assign("widths", dict.fromkeys(searched))


def _calibration(method: QAT) -> StaticInt8:
    """The calibration of a training: without the equalization that static int8 has by itself, where quantizers are named."""
    is_default = bool(method.quantizers) and method.static.equalization == "auto"
    return replace(method.static, equalization=None) if is_default else method.static


def _each(functions: list[Callable[[int], None]]) -> Callable[[int], None] | None:
    """One function that calls all of them; None for none."""

    def call(epoch: int) -> None:
        for function in functions:
            function(epoch)

    return call if functions else None


class _Outputs:
    """Outputs of a module on graphs, [rows, C], which are those of its integer graph."""

    def __init__(self, data: list[Any], module: CodeDomainModule) -> None:
        self._module = module
        topologies = module.graph.topologies
        self._batches = [TorchGraph.of(batch.prepare(topologies)) for batch in batches(as_inputs(data))]

    @torch.no_grad()
    def __call__(self) -> np.ndarray:
        return np.concatenate([self._module(batch)[0].numpy() for batch in self._batches])


def recalibrated(module: CodeDomainModule, selection: Selection) -> IntegerPlan:
    """The plan with the ranges that the present weights have in float."""
    split = selection.split
    statistics = observe(module.latent.to_graph(), split.calibration, node_mask=split.calibration_nodes)
    return replace(module.plan, statistics=statistics)
