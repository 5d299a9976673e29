"""How a model is called: its forward's parameter names decide which fields of a graph it gets."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.nn import Sequential

from toolchain.errors import UnsupportedModule

FIELD_NAMES = ("x", "edge_index", "edge_weight", "edge_attr", "batch", "batch_size", "ptr", "edge_type")
_ABSENT_AS_NONE = ("pos", "y", "time")  # what Data answers None for where a graph lacks it


class GraphFields:
    """Stands for the `data` argument of forward(data): only the fields of a graph, None for those it lacks."""

    def __init__(self, fields: Mapping[str, Any], present: frozenset[str]) -> None:
        self._fields, self._present = fields, present

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return self._fields[name]
        if name in self._present or (hasattr(Data, name) and name not in _ABSENT_AS_NONE and not name.startswith("_")):
            readable = ", ".join(self._fields)
            raise UnsupportedModule(f"data.{name}: not a field that a model may read; available: {readable}.")
        if name in _ABSENT_AS_NONE:
            return None
        raise AttributeError(f"the data object has no attribute {name!r}")

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None


def forward_arguments(
    model: torch.nn.Module, fields: Mapping[str, Any], present: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Arguments of `model.forward` by name: the fields it asks for, or `data` for a model that takes one object.

    Args:
        present: names of everything in the graph; reading one through `data` that is not a field is refused.

    Raises:
        UnsupportedModule: forward requires something that is not a field of a graph.
    """
    arguments: dict[str, Any] = {}
    for name, required in _parameters(model):
        if name == "data":
            arguments[name] = GraphFields(fields, present)
        elif name in FIELD_NAMES:
            if fields[name] is not None or required:
                arguments[name] = fields[name]
        elif required:
            raise UnsupportedModule(
                f"forward: takes {name!r}; a model is called with {', '.join(FIELD_NAMES)} by name, or with a single "
                "`data`. Rename the argument, or wrap the model in a module that takes these."
            )
    return arguments


def run_model(model: torch.nn.Module, data: Data) -> tuple[np.ndarray, ...]:
    """Run a PyG model, which must be in eval mode, on one graph: what its lowered Graph is compared with.

    Returns:
        One float32 array per output.
    """
    with torch.no_grad():
        outputs = model(**call_arguments(model, data))
    if not isinstance(outputs, tuple | list):
        outputs = (outputs,)
    if not all(isinstance(output, torch.Tensor) for output in outputs):
        kinds = ", ".join(type(output).__name__ for output in outputs)
        raise UnsupportedModule(f"forward: returns ({kinds}); expected a tensor or a tuple of tensors.")
    return tuple(output.detach().to(torch.float32).cpu().numpy() for output in outputs)


def call_arguments(model: torch.nn.Module, data: Data) -> dict[str, Any]:
    """Keyword arguments with which a model runs on a Data or Batch."""
    if [name for name, _ in _parameters(model)] == ["data"]:
        return {"data": data}
    fields = {name: data.get(name) for name in FIELD_NAMES}
    if fields["batch"] is not None and fields["batch_size"] is None:
        fields["batch_size"] = int(getattr(data, "num_graphs", 0)) or int(fields["batch"].max()) + 1
    return forward_arguments(model, fields)


def _parameters(model: torch.nn.Module) -> list[tuple[str, bool]]:
    """Name of each argument of forward, and whether it has to be given."""
    if isinstance(model, Sequential):  # its own forward may be (*args, **kwargs)
        return [(name, True) for name in model.signature.param_dict]
    listed = []
    for name, parameter in inspect.signature(model.forward).parameters.items():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            raise UnsupportedModule(f"forward: takes *{name}; name its arguments: {', '.join(FIELD_NAMES)}, or `data`.")
        if parameter.kind is not Parameter.VAR_KEYWORD:
            listed.append((name, parameter.default is Parameter.empty))
    return listed
