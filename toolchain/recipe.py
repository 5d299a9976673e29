"""Recipe: the whole flow of a model as data, read from YAML. Unknown keys are errors, with their place in the file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_serializer, model_validator

from toolchain import strict_yaml
from toolchain.errors import RecipeError
from toolchain.prune_steps import METHODS, Prune, PruneStep, read_prune_step
from toolchain.qat_step import Training
from toolchain.recipe_devices import Device, read_device
from toolchain.schema import STRICT, problem
from toolchain.seeds import END

__all__ = [
    "STEPS", "Bench", "Export", "FineTune", "Prune", "PruneStep", "Quantize", "Recipe", "ShareWeights", "Step", "Verify",
    "read_step", "step_name",
]  # fmt: skip

NAME = re.compile(r"\w[\w .+=@-]*")  # a part of file names: no separators, no way up
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["float32", "float16", "dynamic-int8", "static-int8"]
Format = Literal["torchscript", "onnx", "executorch", "litert", "c"]
Side = Literal["aggregate-first", "transform-first"]


class _Strict(BaseModel):
    model_config = STRICT


class FineTune(_Strict):
    """Train the float Graph further; pruned weights stay zero."""

    epochs: Annotated[int, Field(ge=1)] = 10
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 64


class ShareWeights(_Strict):
    """Let weights share k values (compression.KMeans); a fine_tune step afterwards trains the values."""

    clusters: Annotated[int, Field(ge=2)] = 16
    scope: Literal["layer", "module", "global"] = "layer"
    init: Literal["linear", "k-means++", "density"] = "linear"
    targets: Annotated[list[str], Field(min_length=1)] | None = None
    include_head: bool = True


class Quantize(_Strict):
    """Make a variant of the Graph for each precision; "float32" keeps the Graph as it is.

    `weight_bits` are those of static int8; below 8 a model usually needs training through its own integer arithmetic: `qat`, or
    for short `qat_epochs` and `qat_lr`. `edge_arithmetic: integer` makes attention and values of edges integer too,
    for targets without a floating-point unit.
    """

    precisions: Annotated[list[Precision], Field(min_length=1)] = ["static-int8"]
    mode: Literal["auto", "int8", "sums-int16", "all-int16"] = "auto"
    calibration: Literal["percentile", "minmax"] = "percentile"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.9
    calibration_graphs: Annotated[int, Field(ge=1)] = 400
    min_agreement: Share = 0.98
    weight_bits: Literal[8, 4, 2] = 8
    edge_arithmetic: Literal["float", "integer"] = "float"
    qat_epochs: Annotated[int, Field(ge=0)] = 0
    qat_lr: Annotated[float, Field(gt=0)] = 1e-4
    qat: Training | None = None
    batch_size: Annotated[int, Field(ge=1)] = 64

    @property
    def training(self) -> Training | None:
        """What `qat` says, or its short form."""
        return Training(epochs=self.qat_epochs, lr=self.qat_lr) if self.qat_epochs else self.qat

    @model_validator(mode="after")
    def _check_contradictions(self) -> Quantize:
        stated = [f for f in type(self).model_fields if getattr(self, f) != type(self).model_fields[f].get_default()]
        _check_once("precisions", self.precisions)
        for name in stated:
            if name != "precisions" and "static-int8" not in self.precisions:
                value = getattr(self, name)
                said = name if isinstance(value, BaseModel) else f"{name}: {value!r}"
                raise ValueError(
                    f"{said} is of static-int8, but precisions are {', '.join(self.precisions)}. Add static-int8, or leave "
                    f"{name} out"
                )
            if name in ("qat_lr", "batch_size") and self.training is None:
                raise ValueError(
                    f"{name}: {getattr(self, name)!r} is of training, but qat_epochs is 0. Give qat_epochs, or leave {name} out"
                )
            if name in ("qat_lr", "qat_epochs") and self.qat is not None:
                raise ValueError(
                    f"{name}: {getattr(self, name)!r} stands beside qat. Give it inside: qat: {{{name[4:]}: ...}}"
                )
        if self.calibration == "minmax" and "percentile" in stated:
            raise ValueError(
                f"percentile: {self.percentile:g} cuts ranges, but calibration minmax takes them whole. Leave one of them out"
            )
        return self


class Export(_Strict):
    """Write an artifact per variant and format.

    `max_nodes`, `max_edges`, `max_degree` (both self-loops included) and `max_graphs` bound files that plan memory
    ahead; by default twice the largest of the data, one graph at a time. `options` go to the exporter of a format:
    {torchscript: {lite: true}}.
    """

    formats: Annotated[list[Format], Field(min_length=1)] = ["onnx"]
    max_nodes: Annotated[int, Field(ge=1)] | None = None
    max_edges: Annotated[int, Field(ge=1)] | None = None
    max_graphs: Annotated[int, Field(ge=1)] | None = None
    max_degree: Annotated[int, Field(ge=1)] | None = None
    options: dict[Format, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _check_contradictions(self) -> Export:
        _check_once("formats", self.formats)
        for format in self.options:
            if format not in self.formats:
                raise ValueError(
                    f"options.{format}: formats are {', '.join(self.formats)}. Add {format} to formats, or leave its options out"
                )
        return self


class Verify(_Strict):
    """Compare every artifact with the PyG model on the test graphs; a gate that is not met ends the run, status 3."""

    min_agreement: Share | None = None
    max_accuracy_drop: Share | None = None
    max_abs: Annotated[float, Field(ge=0)] | None = None
    graphs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 1


class Bench(_Strict):
    """Measure every artifact and, with `rivals`, PyG eager and the default ONNX exports."""

    quick: bool = False
    threads: Annotated[int, Field(ge=1)] = 1
    rivals: bool = True


Step = PruneStep | FineTune | ShareWeights | Quantize | Export | Verify | Bench
STEPS: dict[str, type[BaseModel]] = {
    "prune": Prune, "fine_tune": FineTune, "share": ShareWeights, "quantize": Quantize, "export": Export, "verify": Verify,
    "bench": Bench,
}  # fmt: skip
_NAMES = {cls: name for name, cls in STEPS.items()} | dict.fromkeys(METHODS.values(), "prune")


def step_name(step: Step) -> str:
    """The key of a step in a recipe."""
    return _NAMES[type(step)]


class Recipe(_Strict):
    """A model, and the steps it goes through in this order.

    Attributes:
        model: "model.py", "package.module" or either with ":function"; relative to the recipe file.
        arguments: keyword arguments of the model's function.
        checkpoint: weights of the model, relative to the recipe file.
        order: the side of a Linear on which aggregations run, (A X) W or A (X W); by default the one with fewer channels.
        devices: name → the way to a device, for `bench -d NAME --recipe FILE` and `verify`; `run` reaches none.
    """

    version: Literal[1]
    model: str | None = None
    arguments: dict[str, Any] = {}
    checkpoint: str | None = None
    name: str = "model"
    seed: Annotated[int, Field(ge=0, lt=END)] = 0
    order: Side | None = None
    devices: dict[str, Annotated[Any, Field()]] = {}
    steps: list[Annotated[Any, Field()]]

    @model_validator(mode="before")
    @classmethod
    def _read_steps(cls, data: Any) -> Any:
        """Turn {"prune": {...}} or the bare name "prune" into a Prune."""
        if not isinstance(data, dict) or not isinstance(data.get("steps"), list):
            return data
        return {**data, "steps": [_step(index, entry) for index, entry in enumerate(data["steps"])]}

    @model_validator(mode="before")
    @classmethod
    def _read_devices(cls, data: Any) -> Any:
        """Turn {"pi": {"ssh": ...}} into an SshDevice."""
        if not isinstance(data, dict) or not isinstance(data.get("devices"), dict):
            return data
        devices: dict[str, Device] = {name: read_device(name, entry) for name, entry in data["devices"].items()}
        return {**data, "devices": devices}

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} becomes part of file names, expected letters, digits, spaces and any of _.+=@-")
        return name

    @model_validator(mode="after")
    def _check_order(self) -> Recipe:
        names = [step_name(step) for step in self.steps]
        if not names:
            raise ValueError("steps: empty, expected at least one of " + ", ".join(STEPS))
        for name in ("quantize", "export"):
            if names.count(name) > 1:
                raise ValueError(f"steps: {name} stands there {names.count(name)} times, expected at most once")
        for earlier, later in itertools.combinations(STEPS, 2):
            free = {earlier, later} in ({"prune", "fine_tune"}, {"fine_tune", "share"}, {"verify", "bench"})
            if not free and later in names and earlier in names[names.index(later) :]:
                raise ValueError(f"steps: {later} comes before {earlier}; put {earlier} first")
        for name in ("verify", "bench"):
            if name in names and "export" not in names:
                raise ValueError(f"steps: {name} needs artifacts; put an export step before it")
        _check_codebooks(self.steps)
        _check_kernels([(index, step) for index, step in enumerate(self.steps) if isinstance(step, Quantize | Export)])
        _check_amounts([(index, step) for index, step in enumerate(self.steps) if isinstance(step, PruneStep)])
        return self

    @model_serializer(mode="plain")
    def _write(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in ("steps", "devices")}
        devices = {name: device.model_dump(exclude_none=True) for name, device in self.devices.items()}
        return {
            **own,
            **({"devices": devices} if devices else {}),
            "steps": [{step_name(step): step.model_dump()} for step in self.steps],
        }

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a YAML file.

        Raises:
            RecipeError: the file is missing, is no YAML, or does not fit the schema; every problem with its place.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read ({error}). Pass a recipe in YAML.") from error
        try:
            data = strict_yaml.load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise RecipeError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from error
        return cls.parse(data, place=str(path))

    @classmethod
    def parse(cls, data: Any, *, place: str = "recipe") -> Recipe:
        """Check data of the shape of a recipe file."""
        if not isinstance(data, dict):
            raise RecipeError(f"{place}: holds {type(data).__name__}, expected a mapping with version: 1 and steps.")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise RecipeError(f"{place}: {'; '.join(problem(e) for e in error.errors())}.") from error


def _step(index: int, entry: Any) -> Step:
    if isinstance(entry, BaseModel):
        return entry  # type: ignore[return-value]  # only the step classes reach this point
    options: Any = {}
    name = entry
    if isinstance(entry, dict) and len(entry) == 1:
        name, options = next(iter(entry.items()))
    if not isinstance(name, str) or name not in STEPS:
        raise ValueError(f"steps.{index}: {name!r} is no step, expected one of {', '.join(STEPS)}")
    return read_step(name, options if options is not None else {}, f"steps.{index}.{name}")


def read_step(name: str, options: Any, place: str) -> Step:
    """Check the options of one step.

    Raises:
        ValueError: every problem with its place.
    """
    if name == "prune":
        return read_prune_step(options, place)
    try:
        return STEPS[name].model_validate(options)  # type: ignore[return-value]  # only the step classes reach this point
    except ValidationError as error:
        raise ValueError("; ".join(problem(e, place) for e in error.errors())) from error


def _check_once(name: str, given: Sequence[str]) -> None:
    for entry in given:
        if given.count(entry) > 1:
            raise ValueError(f"{name}: {entry} stands there {given.count(entry)} times, expected once")


def _check_kernels(steps: Sequence[tuple[int, Quantize | Export]]) -> None:
    """ExecuTorch's portable kernels have no integer product: said here rather than after the training."""
    precisions = [p for _, step in steps if isinstance(step, Quantize) for p in step.precisions if p != "float32"]
    for index, step in steps:
        if not isinstance(step, Export) or not precisions:
            continue
        if step.options.get("executorch", {}).get("backend") == "portable":
            raise ValueError(
                f"steps.{index}.export.options.executorch.backend: portable has no int8 product, but there is a variant "
                f"{precisions[0]}. Leave backend out, or quantize to float32 only"
            )


def _check_codebooks(steps: Sequence[Step]) -> None:
    """Weights of few bits have few values: a larger codebook would lose some of its own without a word."""
    clusters = [step.clusters for step in steps if isinstance(step, ShareWeights)]
    for step in steps:
        if not isinstance(step, Quantize) or not {"static-int8", "dynamic-int8"} & set(step.precisions):
            continue
        if clusters and max(clusters) > 2**step.weight_bits:
            raise ValueError(
                f"share.clusters: {max(clusters)} values, but quantize.weight_bits {step.weight_bits} holds {2**step.weight_bits}. "
                "Share fewer, or quantize to more bits"
            )


def _check_amounts(steps: list[tuple[int, PruneStep]]) -> None:
    """Masks only grow, so a later step of the same kind has to prune more than an earlier one."""
    for (early, before), (late, after) in itertools.combinations(steps, 2):
        kinds = [
            (s.method, getattr(s, "scope", None), s.targets, getattr(s, "include_head", None)) for s in (before, after)
        ]
        if before.method == "channels" or kinds[0] != kinds[1]:
            continue
        first, second = getattr(before, "amount", None), getattr(after, "amount", None)
        if first is not None and second is not None and second <= first:
            raise ValueError(
                f"steps.{late}.prune.amount: {second:g} prunes nothing more after the {first:g} of steps.{early}; the zeros "
                "that are there count. Give a larger amount, or leave one of the steps out"
            )
