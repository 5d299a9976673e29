"""Which weights a method changes: those of the convolutions, or those that the user names."""

from __future__ import annotations

from toolchain.errors import RecipeError
from toolchain.ir import Graph, Value
from toolchain.ir.ops import Const, Dropout, Linear, LogSoftmax
from toolchain.ir.types import Domain


def selected_weights(
    graph: Graph, targets: tuple[str, ...] | None, include_head: bool, *, step: str = "prune"
) -> list[str]:
    """Names of the weights to prune or share, each once, in graph order.

    Args:
        targets: take exactly the weights whose name or module path starts with one of these. None: every Linear weight of
            the convolutions (GIN's MLPs included), which is all but the head.
        include_head: without targets, take the head as well.
        step: what the errors call the caller.

    Raises:
        RecipeError: a target that names no weight, or no weight at all.
    """
    if isinstance(targets, str):
        raise RecipeError(f"targets: {targets!r}, expected several, such as ({targets!r},).")
    linears = [v for v in graph.values if isinstance(v.op, Linear) and v.type.dtype.is_integer is False]
    names: dict[str, str] = {}
    for linear in linears:
        weight = graph.values[linear.inputs[1]]
        if not isinstance(weight.op, Const) or weight.op.is_table or weight.type.dtype.is_integer:
            continue
        if targets is None and not include_head and is_head(graph, linear):
            continue
        names[weight.op.name] = linear.scope
    for target in targets or ():
        if not any(_is_named(target, *item) for item in names.items()):
            raise RecipeError(f"targets: {target!r} names no weight. Weights: {', '.join(names) or 'none'}.")
    if targets is not None:
        names = {n: s for n, s in names.items() if any(_is_named(t, n, s) for t in targets)}
    if not names:
        raise RecipeError(
            f"{step}: the graph has no float convolution weights. {step.capitalize()} before quantizing, or set "
            "include_head=True."
        )
    return list(names)


def _is_named(target: str, name: str, scope: str) -> bool:
    return name.startswith(target) or scope.startswith(target)


def is_head(graph: Graph, linear: Value) -> bool:
    """Whether a Linear belongs to the head: it reads one row per graph, or its result is an output up to a softmax."""
    if linear.type.domain is Domain.GRAPH:
        return True
    users = graph.users()
    value = linear
    while value.id not in graph.outputs:
        following = users[value.id]
        if len(following) != 1 or not isinstance(graph.values[following[0]].op, LogSoftmax | Dropout):
            return False
        value = graph.values[following[0]]
    return True
