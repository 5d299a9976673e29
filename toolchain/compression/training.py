"""Fine-tuning: train the weights of a float Graph; pruned weights stay zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from toolchain.compression.best_epoch import BestEpoch, Criterion, Loss
from toolchain.compression.distillation import Distillation, Teacher
from toolchain.compression.evaluation import as_inputs, predict, several
from toolchain.compression.labelled import cross_entropy, epoch_batches
from toolchain.compression.step_report import Log, reported
from toolchain.errors import InvalidInput, OutsideContract, RecipeError, TrainingDiverged
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, Value, check_graph
from toolchain.seeds import check_seed
from toolchain.torch_module import GraphModule, TorchGraph
from toolchain.torch_structure import Structure

Watch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class StepDecay:
    """The learning rate times `factor` after every `every` epochs."""

    every: int
    factor: float = 0.5

    def __post_init__(self) -> None:
        if self.every < 1:
            raise RecipeError(f"every: {self.every}, expected at least 1 epoch.")
        if not 0 < self.factor < 1:
            raise RecipeError(f"factor: {self.factor}, expected a number between 0 and 1, such as 0.5.")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a training loop runs.

    Attributes:
        lr: of Adam.
        decay: of the learning rate; None: to 0 along a cosine.
        loss: of (first output [rows, C], y [rows]); None: cross entropy, which takes log_softmax outputs as well.
        seed: of dropout and of the order of the graphs.
        batch_size: graphs per step, where single graphs are given instead of a loader.
        watch: called after every epoch with its number and figures, the mean loss and the learning rate; see `TensorBoard`.
    """

    epochs: int
    lr: float = 1e-3
    weight_decay: float = 0.0
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64
    watch: Watch | None = None
    decay: StepDecay | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, Integral) or self.epochs < 0:
            raise RecipeError(f"epochs: {self.epochs}, expected 0 or more.")
        if not 0 < self.lr < math.inf:
            raise RecipeError(f"lr: {self.lr}, expected a positive number, such as 1e-3.")
        if not 0 <= self.weight_decay < math.inf:
            raise RecipeError(f"weight_decay: {self.weight_decay}, expected 0 or a positive number, such as 1e-4.")
        if self.batch_size < 1:
            raise RecipeError(f"batch_size: {self.batch_size}, expected at least 1.")
        check_seed(self.seed)


def fine_tune(
    graph: Graph,
    loader: Iterable[Any],
    *,
    epochs: int,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    loss: Loss | None = None,
    seed: int = 0,
    batch_size: int = 64,
    watch: Watch | None = None,
    distillation: Distillation | None = None,
    keep_best: Iterable[Any] | None = None,
    criterion: Criterion = "accuracy",
    decay: StepDecay | None = None,
    validation: Iterable[Any] | None = None,
    log: Log | None = None,
) -> Graph:
    """Train a float Graph with Adam; BatchNorm and Dropout behave as in training. The same seed gives the same weights.

    Args:
        loader: a PyG DataLoader, iterated once per epoch, or a list of Data or Batch objects, which is shuffled and grouped
            to batches of `batch_size` graphs here. Labels in `y`; for node tasks, the nodes that count in `train_mask`.
        loss: of (first output [rows, C], y [rows]); None: cross entropy, which takes log_softmax outputs as well.
        watch: called after every epoch with its number and figures; `TensorBoard(folder)` writes them down.
        distillation: a teacher whose probabilities are targets as well.
        keep_best: PyG graphs with labels (node tasks: in `val_mask`); the weights of the epoch that is best on them are kept.
            None: those of the last one.
        criterion: of the best epoch: the highest "accuracy", or the lowest "loss".
        decay: of the learning rate; None: to 0 along a cosine.
        validation: PyG graphs with labels, for the accuracy in the StepReport.
        log: called with the StepReport.

    Raises:
        InvalidInput: a batch without labels, labels that do not fit the output, or nothing to train on.
        RecipeError: the graph is quantized.
        TrainingDiverged: the loss is not finite.
    """
    check_graph(graph)
    if any(v.type.dtype.is_integer for v in graph.values) or graph.has_halves:
        raise RecipeError(
            f"{graph.name}: is quantized; its codes cannot be trained. Fine-tune before quantizing, or use QAT(...)."
        )
    schedule = Schedule(epochs, lr, weight_decay, loss, seed, batch_size, watch, decay)

    def step() -> Graph:
        module = GraphModule(graph)
        if keep_best is None:
            train_module(module, loader, schedule, distillation=distillation)
            return module.to_graph()
        chosen = list(several(keep_best))
        best, inputs = BestEpoch[Graph](chosen, criterion, loss), as_inputs(chosen)

        def keep(epoch: int) -> None:
            made = module.to_graph()
            best.look(epoch, lambda: predict(made, inputs), lambda: made)

        train_module(module, loader, schedule, distillation=distillation, after_epoch=keep)
        return module.to_graph() if best.state is None else best.state

    return reported(f"fine-tune {epochs} epochs", graph, step, validation, log)


class Trainable(Protocol):
    """What the training loop needs of a module: a GraphModule, or one that runs on codes."""

    @property
    def graph(self) -> Graph: ...
    def __call__(
        self, batch: Structure, watch: Callable[[Value, Tensor], None] | None = None
    ) -> tuple[Tensor, ...]: ...
    def trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]: ...
    def train(self, mode: bool = True) -> Any: ...
    def apply_masks(self) -> None: ...


def train_module(
    module: Trainable,
    loader: Iterable[Any],
    schedule: Schedule,
    *,
    groups: Sequence[dict[str, Any]] | None = None,
    distillation: Distillation | None = None,
    auxiliary_loss: Callable[[], Tensor | None] | None = None,
    before_epoch: Callable[[int], None] | None = None,
    after_epoch: Callable[[int], None] | None = None,
) -> None:
    """Run the training loop on a module, in place. Leaves it in eval mode.

    Args:
        groups: of parameters, as torch's optimizers take them; None: all of the module.
        auxiliary_loss: called after each forward pass; joins the loss.
        before_epoch: called with the number of each epoch before it starts.
        after_epoch: called with the number of each epoch after it, the module in eval mode.

    Raises:
        InvalidInput: the loader holds nothing, or nothing for a second epoch.
        TrainingDiverged: the loss or a parameter is not finite, or a value's integers do not fit; names the epoch, the step
            and the first such value.
    """
    if isinstance(loader, Iterator) and schedule.epochs > 1:
        raise InvalidInput(
            f"loader: got a {type(loader).__name__}, which can be iterated only once. Pass a list of graphs or a DataLoader."
        )
    batches = epoch_batches(loader, schedule.batch_size, schedule.seed)
    teacher = None if distillation is None else Teacher(distillation)
    rng_state = torch.get_rng_state()
    torch.manual_seed(schedule.seed)
    groups = [{"params": [p for _, p in module.trained()]}] if groups is None else groups
    optimizer = torch.optim.Adam(groups, lr=schedule.lr, weight_decay=schedule.weight_decay)
    decay = _decay(optimizer, schedule)
    loss = schedule.loss or cross_entropy
    last: tuple[GraphInputs, TorchGraph] | None = None  # of a node task there is one batch only: its tensors are kept
    try:
        for epoch in range(schedule.epochs):
            if before_epoch is not None:
                before_epoch(epoch)
            module.train()
            losses = []
            for step, batch in enumerate(batches()):
                if last is None or last[0] is not batch.inputs:
                    last = batch.inputs, TorchGraph.of(batch.inputs.prepare(module.graph.topologies))
                optimizer.zero_grad()
                place = f"epoch {epoch + 1} of {schedule.epochs}, step {step + 1}, lr {schedule.lr:g}"
                try:
                    output = module(last[1])[0]
                except OutsideContract as error:
                    raise TrainingDiverged(f"{place}: {error}") from error
                value = batch.loss(output, loss)
                if teacher is not None:
                    value = value + teacher.loss(output, last[1])
                if auxiliary_loss is not None and (added := auxiliary_loss()) is not None:
                    value = value + added
                check_finite(value, place, partial(first_not_finite, module, last[1]))
                losses.append(float(value.detach()))
                value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
                module.apply_masks()
                check_parameters(module, place)
            if schedule.watch is not None:
                schedule.watch(epoch, {"loss": float(np.mean(losses)), "lr": float(decay.get_last_lr()[0])})
            decay.step()
            if after_epoch is not None:
                module.train(False)
                after_epoch(epoch)
        if last is not None:
            _check_result(module, last[1], f"after the last step, lr {schedule.lr:g}")
    finally:
        module.train(False)
        torch.set_rng_state(rng_state)


def _decay(optimizer: torch.optim.Optimizer, schedule: Schedule) -> torch.optim.lr_scheduler.LRScheduler:
    if schedule.decay is None:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(schedule.epochs, 1))
    return torch.optim.lr_scheduler.StepLR(optimizer, schedule.decay.every, schedule.decay.factor)


def check_finite(loss: Tensor, place: str, culprit: Callable[[], str] = lambda: "") -> None:
    """Stop at a loss that no step can follow.

    Args:
        culprit: says where it comes from; empty where that is not known.

    Raises:
        TrainingDiverged: it is infinite or not a number.
    """
    if not torch.isfinite(loss).all():
        origin = f" ({found})" if (found := culprit()) else ""
        raise TrainingDiverged(
            f"{place}: the loss is {loss.item():g}{origin}, expected a finite number. Lower the learning rate, or look for "
            "extreme features and weights in the data and the model."
        )


def _check_result(module: Trainable, batch: Structure, place: str) -> None:
    """Stop where the last step has left a model that computes no numbers: no loss follows that would tell.

    Raises:
        TrainingDiverged: names the first value that is not finite.
    """
    module.train(False)
    try:
        found = first_not_finite(module, batch)
    except OutsideContract as error:
        raise TrainingDiverged(f"{place}: {error}") from error
    if found:
        raise TrainingDiverged(
            f"{place}: {found}. Lower the learning rate, or look for extreme features and weights in the data and the model."
        )


def check_parameters(module: Trainable, place: str) -> None:
    """Stop at a step that leaves a parameter infinite or not a number: codes made of it would hide it from the loss.

    Raises:
        TrainingDiverged: names the first one.
    """
    for name, parameter in module.trained():
        if not torch.isfinite(parameter).all():
            raise TrainingDiverged(
                f"{place}: {name} is no longer finite after the step. Lower the learning rate, or look for extreme features "
                "and weights in the data and the model."
            )


def first_not_finite(module: Trainable, batch: Structure) -> str:
    """Which value of a forward pass is the first with an element that is not finite; empty if none is."""
    found: list[str] = []

    def watch(value: Value, tensor: Tensor) -> None:
        if not found and not torch.isfinite(tensor).all():
            found.append(f"the first value that is not finite is {value.place}")

    with torch.no_grad():
        module(batch, watch)
    return found[0] if found else ""
