"""The `qat` part of a quantize step: quantization-aware training as a recipe states it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from toolchain.schema import STRICT

Probability = Annotated[float, Field(ge=0, le=1)]
Bits = Literal[1, 2, 3, 4, 5, 6, 7, 8, 16]


class DegreeMasks(BaseModel):
    """Protective masks (compression.DegreeQuant).

    `linears: false` leaves out what Linears read and write, as published for GIN.
    """

    model_config = STRICT

    p_min: Probability = 0.0
    change: Probability = 0.1
    linears: bool = True


class RowScales(BaseModel):
    """Steps and widths of groups of nodes, for values that only linear layers read (compression.A2Q).

    Groups are of in-degrees, or of pairs of step and width of which each row takes the one that reaches nearest to its largest
    magnitude. `mean_bits` lets the widths learn, and presses their mean towards it; `local` lets steps and widths follow the
    rounding error of their own rows instead of the loss.
    """

    model_config = STRICT

    choice: Literal["degree", "nearest"] = "degree"
    bits: Annotated[float, Field(ge=1, le=8)] = 4
    groups: Annotated[int, Field(ge=1)] | list[Annotated[int, Field(ge=0)]] = 8
    mean_bits: Annotated[float, Field(ge=1, le=8)] | None = None
    penalty: Annotated[float, Field(ge=0)] = 0.1
    local: bool = False

    @model_validator(mode="after")
    def _check_groups(self) -> RowScales:
        if isinstance(self.groups, list) and self.choice == "nearest":
            raise ValueError("groups are bounds of in-degrees; choice nearest takes their number")
        if isinstance(self.groups, list) and self.groups != sorted(set(self.groups)):
            raise ValueError(f"groups {self.groups} do not ascend")
        if "penalty" in self.model_fields_set and self.mean_bits is None:
            raise ValueError("penalty belongs to mean_bits; without it widths stay")
        return self


class Distill(BaseModel):
    """The float model that enters the step as a teacher (compression.Distillation)."""

    model_config = STRICT

    weight: Annotated[float, Field(gt=0)] = 10.0
    temperature: Annotated[float, Field(gt=0)] = 1.0


class Limits(BaseModel):
    """The most that the quantized model may take once it is exported to `format`.

    `size_bytes` is of its file (of C: of its constants), `memory_bytes` the working memory of C for twice the largest graph, and
    `latency_us` the median time of an inference of a validation graph on this machine.
    """

    model_config = STRICT

    format: Literal["torchscript", "onnx", "executorch", "litert", "c"] = "c"
    size_bytes: Annotated[int, Field(ge=1)] | None = None
    memory_bytes: Annotated[int, Field(ge=1)] | None = None
    latency_us: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check_any(self) -> Limits:
        if self.size_bytes is None and self.memory_bytes is None and self.latency_us is None:
            raise ValueError("limits nothing; give size_bytes, memory_bytes or latency_us")
        if self.memory_bytes is not None and self.format != "c":
            raise ValueError(f"memory_bytes is known of c only, and the format is {self.format}")
        return self


class Search(BaseModel):
    """Choose the bits of every value and weight before (compression.MixedPrecision).

    `budget` is a share of the float model's cost, "relaxed" has a penalty instead. `widths` are the candidates, for all or by
    name or pattern. "optuna" also tries to remove the shares of `channels`, and stays within `limits` of the exported model;
    then `budget` counts only where it is stated. A `storage` file keeps its trials; an interrupted search goes on with it, and
    `workers` processes share it.
    """

    model_config = STRICT

    method: Literal["sensitivity", "relaxed", "optuna"] = "sensitivity"
    budget: Annotated[float, Field(gt=0, le=1)] = 0.25
    accounting: Literal["bit_operations", "bops", "storage"] = "bit_operations"
    widths: dict[str, Annotated[list[Bits], Field(min_length=1)]] = {"*": [2, 4, 8]}
    penalty: Annotated[float, Field(ge=0)] = 1.0
    probe_epochs: Annotated[int, Field(ge=1)] = 10
    finalists: Annotated[int, Field(ge=1)] = 3
    trials: Annotated[int, Field(ge=1)] = 30
    storage: str | None = None
    workers: Annotated[int, Field(ge=1)] = 1
    channels: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=1)] = [0.0]
    limits: Limits | None = None

    @field_validator("widths", mode="before")
    @classmethod
    def _read_widths(cls, widths: Any) -> Any:
        """Turn [2, 4] into {"*": [2, 4]}."""
        return {"*": widths} if isinstance(widths, list) else widths

    @model_validator(mode="after")
    def _check_method(self) -> Search:
        for name, methods in (
            ("budget", ("sensitivity", "optuna")), ("penalty", ("relaxed",)), ("probe_epochs", ("sensitivity",)),
            ("finalists", ("sensitivity",)), ("trials", ("optuna",)), ("storage", ("optuna",)), ("workers", ("optuna",)),
            ("channels", ("optuna",)), ("limits", ("optuna",)),
        ):  # fmt: skip
            if name in self.model_fields_set and self.method not in methods:
                raise ValueError(f"{name} belongs to method {' or '.join(methods)}; this search has {self.method}")
        if self.workers > 1 and self.storage is None:
            raise ValueError(f"workers: {self.workers} without a storage; they meet in its file. Give storage: FILE")
        if self.accounting == "bops" and self.method != "optuna":
            raise ValueError(
                f"accounting bops does not add up over slots, which {self.method} needs; take method optuna"
            )
        if self.accounting == "storage" and self.method == "optuna":
            raise ValueError("accounting storage is not that of optuna; take bit_operations or bops")
        return self


class Training(BaseModel):
    """Train the static int8 variant through its own integer arithmetic (compression.QAT).

    `estimator` says where scales come from: "fixed" from calibration, "observed" from what training sees, as `observer` follows
    it, "learned" by gradient. `bits` gives single values and weights, by name or pattern, another width: {"*": 8, "conv1.*": 4};
    the last pattern that fits counts; `search` chooses them instead. `a2q` gives groups of nodes steps and widths of their own,
    in every value that can have them and that `bits` names by no pattern but "*". `dropout` is of values: {"x": 0.5}.
    `keep_best` takes the epoch with the highest validation accuracy.
    """

    model_config = STRICT

    epochs: Annotated[int, Field(ge=1)] = 10
    lr: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    estimator: Literal["fixed", "observed", "learned"] = "fixed"
    observer: Literal["momentum", "minmax", "percentile"] = "momentum"
    gradient: Literal["clipped", "straight-through"] = "clipped"
    bits: dict[str, Bits] = {}
    scale_lr: Annotated[float, Field(gt=0)] = 1e-2
    degree_quant: DegreeMasks | None = None
    a2q: RowScales | None = None
    dropout: dict[str, Annotated[float, Field(ge=0, lt=1)]] = {}
    distill: Distill | None = None
    keep_best: bool = False
    search: Search | None = None

    @model_validator(mode="after")
    def _check_estimator(self) -> Training:
        for name, estimators in (
            ("observer", ("observed",)),
            ("gradient", ("fixed", "observed")),
            ("scale_lr", ("learned",)),
        ):
            has_own = name == "scale_lr" and self.a2q is not None
            if name in self.model_fields_set and self.estimator not in estimators and not has_own:
                raise ValueError(
                    f"{name} belongs to estimator {' or '.join(estimators)}; this step has {self.estimator}"
                )
        if self.a2q is not None and self.degree_quant is not None:
            raise ValueError("degree_quant stands beside a2q: nodes are protected by their degree or grouped by it")
        for name in ("bits", "observer", "gradient", "a2q") if self.search is not None else ():
            if name in self.model_fields_set:
                raise ValueError(
                    f"{name} stands beside search, which chooses bits and learns scales. Leave one of them out"
                )
        return self
