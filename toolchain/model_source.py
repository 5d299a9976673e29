"""ModelSource: where a user's model and graphs come from, in words that another process can follow."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from toolchain.errors import PocketGnnError, RecipeError


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A function that makes a model, by name.

    Attributes:
        target: "model.py" or "package.module", with get_model() in it, or with ":name" another function or class.
        arguments: keyword arguments of that function, JSON values.
        checkpoint: weights to load into the model, or None.
    """

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None

    def model(self) -> Any:
        """Make the torch module, load its weights, and put it in eval mode.

        Raises:
            RecipeError: the file, the module or the function does not exist, takes other arguments, or gives no torch module.
        """
        import torch

        place, name = _split_target(self.target, "get_model")
        function = _function(place, name)
        _check_arguments(f"{place}: {name}()", function, self.arguments)
        made = function(**self.arguments)
        if not isinstance(made, torch.nn.Module):
            raise RecipeError(f"{place}: {name}() returned {type(made).__name__}, expected a torch.nn.Module.")
        if self.checkpoint is None:
            return made.eval()
        from toolchain.checkpoints import load_checkpoint

        return load_checkpoint(made, self.checkpoint)

    def import_module(self) -> None:
        """Import the file or module alone, so that a benchmark can tell its cost from the model's."""
        _module(_split_target(self.target, "get_model")[0])

    def graphs(self) -> Any:
        """What get_graphs() of the same file returns: Data objects with labels y."""
        place, _ = _split_target(self.target, "get_model")
        return _function(place, "get_graphs")()

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target, "arguments": dict(self.arguments),
            "checkpoint": None if self.checkpoint is None else str(Path(self.checkpoint).resolve()),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelSource:
        checkpoint = data["checkpoint"]
        return cls(data["target"], data["arguments"], None if checkpoint is None else Path(checkpoint))


@dataclass(frozen=True, slots=True)
class GraphParts:
    """The graphs for training, for calibration and choices, and for the figures that are reported."""

    train: Sequence[Any]
    validation: Sequence[Any]
    test: Sequence[Any]


def parts_of(graphs: Any, seed: int = 0) -> GraphParts:
    """Bring what get_graphs() returned into three parts.

    Args:
        graphs: a list of Data, cut 80 / 10 / 10 by seed; one Data with train_mask, val_mask and test_mask; or anything
            with `train`, `validation` and `test` as keys or attributes.

    Raises:
        RecipeError: the value is none of these, or a part is empty.
    """
    if isinstance(graphs, Mapping) and {"train", "validation", "test"} <= set(graphs):
        parts = GraphParts(*(list(graphs[name]) for name in ("train", "validation", "test")))
    elif all(hasattr(graphs, name) for name in ("train", "validation", "test")):
        parts = GraphParts(list(graphs.train), list(graphs.validation), list(graphs.test))
    elif hasattr(graphs, "edge_index"):
        parts = GraphParts([graphs], [graphs], [graphs])
    elif isinstance(graphs, Sequence) and len(graphs) > 0 and all(hasattr(g, "edge_index") for g in graphs):
        if len(graphs) < 10:  # a handful of graphs is an example, not a data set: use it for everything
            return GraphParts(graphs, graphs, graphs)
        from toolchain.datasets import split

        cut = split(graphs, seed=seed)
        parts = GraphParts(cut.train, cut.validation, cut.test)
    else:
        raise RecipeError(
            f"get_graphs() returned {type(graphs).__name__}, expected a list of torch_geometric Data, one Data, "
            "or a mapping with train, validation and test."
        )
    if not (parts.train and parts.validation and parts.test):
        raise RecipeError("get_graphs(): train, validation and test must each hold at least one graph.")
    return parts


def _split_target(target: str, default: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    if not colon or len(place) == 1:  # no colon, or only the one of a Windows drive
        return target, default
    return place, name or default


def _check_arguments(what: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "none"
        raise RecipeError(f"{what} cannot be called with the arguments given ({given}): {error}.") from error
    except ValueError:
        return  # a builtin that does not tell its signature


def _function(place: str, name: str) -> Callable[..., Any]:
    found = getattr(_module(place), name, None)
    if not callable(found):
        raise RecipeError(
            f"{place}: has no function {name}(). Define get_model() and get_graphs(), or name one as {place}:name."
        )
    return found


def _module(place: str) -> ModuleType:
    """Import a .py file by its path, or a module by its name.

    Raises:
        RecipeError: it does not exist, or its own code fails.
    """
    path = Path(place)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise RecipeError(
            f"{place}: no such file. Pass a Python file or module that defines get_model() and get_graphs()."
        )
    folder = str(path.resolve().parent if is_file else Path.cwd())
    if folder not in sys.path:  # as when the file is run: what lies beside it can be imported
        sys.path.insert(0, folder)
    try:
        return _import_file(path.resolve()) if is_file else importlib.import_module(place)
    except PocketGnnError:
        raise
    except Exception as error:  # the user's own code may raise anything; say where it was
        raise RecipeError(f"{place}: importing it failed with {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> ModuleType:
    """Run a .py file as a module, once per process: a second call gets the same module and so the same classes."""
    name = f"pocketgnn_model_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
