"""From the `qat` part of a quantize step to the method that compression runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from toolchain.compression import (
    A2Q,
    QAT,
    DegreeQuant,
    Distillation,
    Fixed,
    Learned,
    MinMax,
    Momentum,
    Observed,
    Percentile,
    StaticInt8,
)
from toolchain.compression.bit_search import Budget, MixedPrecision
from toolchain.compression.observers import Observer
from toolchain.compression.quantizers import Quantizer
from toolchain.qat_step import RowScales, Search, Training

OBSERVERS: dict[str, Observer] = {"momentum": Momentum(), "minmax": MinMax(), "percentile": Percentile()}


def training(step: Training, batches: Iterable[Any], static: StaticInt8, validation: Iterable[Any], seed: int) -> QAT:
    """The QAT that a step names."""
    masks, teacher = step.degree_quant, step.distill
    return QAT(
        batches, step.epochs, static, lr=step.lr, weight_decay=step.weight_decay, seed=seed,
        quantizers=_quantizers(step), scale_lr=step.scale_lr,
        degree_quant=None if masks is None else DegreeQuant(masks.p_min, masks.change, masks.linears), dropout=step.dropout,
        distillation=None if teacher is None else Distillation(None, teacher.weight, teacher.temperature),
        validation=validation if step.keep_best else None,
    )  # fmt: skip


def mixed_precision(
    search: Search, qat: QAT, validation: Sequence[Any], limits: tuple[Budget, ...] = ()
) -> MixedPrecision:
    """The search that a step names, with its training. With limits, operations count only where a budget is stated."""
    storage = None if search.storage is None else Path(search.storage)
    budget = 1.0 if limits and "budget" not in search.model_fields_set else search.budget
    return MixedPrecision(
        qat, validation, search.method, budget, search.accounting, search.widths, search.penalty,
        search.probe_epochs, search.finalists, search.trials, storage, search.workers, limits, tuple(search.channels),
    )  # fmt: skip


def _quantizers(step: Training) -> dict[str, Quantizer]:
    """The estimator for every slot, where it is another than what static int8 gives; then the widths that are stated."""
    is_plain = step.estimator == "fixed" and step.gradient == "clipped"
    chosen: dict[str, int | None] = {**({} if is_plain else {"*": None}), **step.bits}
    stated = {pattern: _quantizer(step, bits) for pattern, bits in chosen.items()}
    if step.a2q is None:
        return stated
    others = stated.pop("*", None) or _quantizer(step, None)
    return {"*": _row_scales(step.a2q, others), **stated}


def _row_scales(step: RowScales, others: Quantizer) -> A2Q:
    groups = step.groups if isinstance(step.groups, int) else tuple(step.groups)
    return A2Q(step.bits, step.choice, groups, step.mean_bits, step.penalty, step.local, others=others)


def _quantizer(step: Training, bits: int | None) -> Quantizer:
    if step.estimator == "learned":
        return Learned(bits)
    if step.estimator == "observed":
        return Observed(bits, OBSERVERS[step.observer], step.gradient)
    return Fixed(bits, gradient=step.gradient)
