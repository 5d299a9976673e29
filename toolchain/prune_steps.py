"""The prune steps of a recipe: one strict schema per method, chosen by the key `method`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from toolchain.schema import STRICT, problem

OpenShare = Annotated[float, Field(gt=0, lt=1)]
Scope = Literal["layer", "global"]


class PruneStep(BaseModel):
    """What the steps of all methods have in common.

    `density`, the share of weights that stays, may be given instead of `amount`, the share that goes.
    """

    model_config = STRICT

    method: str
    targets: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_density(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "density" not in data:
            return data
        density = data["density"]
        if "amount" in data:
            raise ValueError(
                f"amount {data['amount']!r} and density {density!r} contradict each other; give one of them"
            )
        if not isinstance(density, int | float) or isinstance(density, bool) or not 0 < density < 1:
            raise ValueError(f"density: {density!r}, expected a share in (0, 1) such as 0.1, which prunes 90 %")
        return {**{key: value for key, value in data.items() if key != "density"}, "amount": 1 - density}


class _Rounds(PruneStep):
    """Methods that may run in rounds, with `epochs` epochs of training between two of them."""

    scope: Scope
    include_head: bool = False
    rounds: Annotated[int, Field(ge=1)] = 1
    epochs: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _check_rounds(self) -> _Rounds:
        if (self.rounds > 1) != (self.epochs > 0):
            raise ValueError(
                f"rounds {self.rounds} and epochs {self.epochs} contradict each other: epochs are trained between rounds. "
                "Give both, or neither"
            )
        return self


class Prune(_Rounds):
    """Set the smallest weights to zero (compression.L1Unstructured, in rounds Iterative)."""

    method: Literal["l1"] = "l1"
    amount: OpenShare = 0.2
    scope: Scope = "layer"


class PruneBlocks(_Rounds):
    """Set the smallest blocks of consecutive inputs to zero (compression.L1Blocks)."""

    method: Literal["blocks"]
    amount: OpenShare = 0.5
    scope: Scope = "layer"
    block: Annotated[int, Field(ge=2)] = 4


class PruneSnip(_Rounds):
    """Keep the weights that the loss is most sensitive to (compression.SNIP)."""

    method: Literal["snip"]
    amount: OpenShare = 0.9
    scope: Scope = "global"
    batches: Annotated[int, Field(ge=1)] = 1
    at_initialization: bool = False


class PruneEcs(PruneStep):
    """Train for `epochs`, then keep the weights that are large or have a large gradient (compression.ECS)."""

    method: Literal["ecs"]
    amount: OpenShare = 0.9
    scope: Scope = "global"
    include_head: bool = False
    batches: Annotated[int, Field(ge=1)] = 1
    epochs: Annotated[int, Field(ge=1)] = 1
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 64


class PruneBogp(PruneStep):
    """Search the relational mask that is best on the validation graphs (compression.BoGP).

    `amounts` and `alpha` trade accuracy against sparsity; otherwise half of the weights go, or `amount`. With `epochs` every
    trial is trained for as many before it is judged.
    """

    method: Literal["bogp"]
    amount: OpenShare | None = None
    amounts: Annotated[list[OpenShare], Field(min_length=2)] | None = None
    alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    include_head: bool = False
    nodes: Annotated[int, Field(ge=2)] | None = None
    database: Annotated[int, Field(ge=1)] = 200
    trials: Annotated[int, Field(ge=1)] = 30
    initial: Annotated[int, Field(ge=1)] = 10
    epochs: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _check_trade_off(self) -> PruneBogp:
        if self.amount is not None and self.amounts is not None:
            raise ValueError(
                f"amount {self.amount:g} and amounts {self.amounts} contradict each other; give one of them"
            )
        if self.alpha is not None and self.amounts is None:
            raise ValueError(
                f"alpha: {self.alpha:g} weighs sparsity against accuracy, but one amount fixes the sparsity. Give several "
                "amounts, or no alpha"
            )
        return self


class PruneChannels(PruneStep):
    """Remove whole channels, so that the Graph becomes smaller (compression.StructuredChannels)."""

    method: Literal["channels"]
    amount: OpenShare | None = None
    channels: Annotated[int, Field(ge=1)] | None = None
    importance: Literal["l1", "l2", "batch_norm", "random"] = "l1"
    heads: Literal["channels", "heads"] = "channels"

    @model_validator(mode="after")
    def _check_size(self) -> PruneChannels:
        if (self.amount is None) == (self.channels is None):
            raise ValueError(
                f"amount {self.amount} and channels {self.channels}: give one of them, a share of each group or a number"
            )
        return self


METHODS: dict[str, type[PruneStep]] = {
    "l1": Prune, "blocks": PruneBlocks, "snip": PruneSnip, "ecs": PruneEcs, "bogp": PruneBogp, "channels": PruneChannels,
}  # fmt: skip


def read_prune_step(options: Any, place: str) -> PruneStep:
    """Check the options of a prune step against the schema of its method.

    Raises:
        ValueError: an unknown method, a key that the method does not have, or a value that does not fit; each with its place.
    """
    method = options.get("method", "l1") if isinstance(options, dict) else "l1"
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"{place}.method: {method!r} is no method, expected one of {', '.join(METHODS)}")
    schema = METHODS[method]
    for key in options if isinstance(options, dict) else ():
        owners = [name for name, other in METHODS.items() if key in other.model_fields]
        if owners and method not in owners:
            raise ValueError(f"{place}.{key}: belongs to method {' and '.join(owners)}, not to {method}")
    try:
        return schema.model_validate(options)
    except ValidationError as error:
        raise ValueError("; ".join(problem(e, place) for e in error.errors())) from error
