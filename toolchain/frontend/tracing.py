"""Running a model on symbols: a copy whose layers lower themselves when called, and graph functions that see symbols.

The user's model is copied, so it is never touched. In the copy each layer's instance gets a subclass of its class, with
another `__call__`; so `isinstance`, attributes and containers work as before. PyG and torch_scatter functions are plain
Python and may be imported under any name, so each reference to them in a loaded module is replaced while forward runs.
"""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch
import torch_geometric
from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from toolchain.errors import UnsupportedModule
from toolchain.frontend.calls import LayerCall
from toolchain.frontend.message_passing import methods_on_symbols
from toolchain.frontend.registry import REFUSED, layer_lowering
from toolchain.frontend.symbols import find_symbols, symbolic_isinstance

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering

_PATCHING = threading.RLock()  # functions are replaced for the whole process; without symbols they work as before

# Modules of torch whose own forward runs on symbols, so that only what they call needs a lowering; PyG's all do.
TRANSPARENT: tuple[type, ...] = (nn.Sequential,)


def checked_copy(model: nn.Module) -> nn.Module:
    """A float32 copy of a model on the CPU in eval mode, its caches dropped.

    Raises:
        UnsupportedModule: lazily initialized layers, hooks, other dtypes, or a model that cannot be copied.
    """
    for path, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise UnsupportedModule(
                f"{path.rpartition('.')[0]}: not initialized (in_channels=-1); run one forward pass first."
            )
    for path, module in model.named_modules():
        _refuse_hooks(path, module)
    try:
        duplicate = copy.deepcopy(model).cpu().eval()
    except RuntimeError as error:  # what torch raises for a tensor that is the result of a computation
        raise UnsupportedModule(
            f"{type(model).__name__}: cannot be copied ({error}). Keep no computed tensors in the model: detach them, "
            "and make pruned or parametrized weights permanent first."
        ) from error
    for path, tensor in (*duplicate.named_parameters(), *duplicate.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            raise UnsupportedModule(f"{path}: dtype {tensor.dtype}, expected torch.float32. Call model.float() first.")
    drop_caches(duplicate)
    return duplicate


def drop_caches(model: nn.Module) -> None:
    """Forget cached normalizations and propagations, which belong to one graph."""
    for module in model.modules():
        for name in vars(module):
            if name.startswith("_cached_"):
                setattr(module, name, None)


def _refuse_hooks(path: str, module: nn.Module) -> None:
    for name, hooks in vars(module).items():
        if "forward" in name and name.endswith("_hooks") and hooks:
            raise UnsupportedModule(
                f"{path or type(module).__name__}: has {name.strip('_')}, which would be lost. Remove them first "
                "(for torch.nn.utils.prune: prune.remove(module, 'weight'))."
            )


@contextmanager
def symbolic_calls(model: nn.Module, lowering: Lowering) -> Iterator[None]:
    """Let `model`, a copy, run on symbols inside the context."""
    with _PATCHING:
        yield from _patched(model, lowering)


def _patched(model: nn.Module, lowering: Lowering) -> Iterator[None]:
    wrapped = _wrapped_functions(lowering)
    for path, module in list(model.named_modules()):
        for name, held in list(vars(module).items()):
            if type(held) is FunctionType and held in wrapped:  # pyg.Sequential keeps functions as attributes
                object.__setattr__(module, name, wrapped[held])
        _make_symbolic(path, module, lowering)
    replaced: list[tuple[dict[str, Any], str, FunctionType]] = []
    seeing: list[dict[str, Any]] = []
    try:
        for loaded in [m for m in list(sys.modules.values()) if isinstance(m, ModuleType)]:
            for name, held in list(vars(loaded).items()):
                if type(held) is FunctionType and held in wrapped:
                    vars(loaded)[name] = wrapped[held]
                    replaced.append((vars(loaded), name, held))
        for namespace in _namespaces(model):
            namespace["isinstance"] = symbolic_isinstance
            seeing.append(namespace)
        yield
    finally:
        for namespace in seeing:
            del namespace["isinstance"]
        for namespace, name, held in replaced:
            namespace[name] = held


def _namespaces(model: nn.Module) -> list[dict[str, Any]]:
    """Globals of the modules that define the model's classes, torch's excepted: their `isinstance` is to see tensors."""
    names = {cls.__module__ for module in model.modules() for cls in type(module).__mro__}
    loaded = [vars(sys.modules[name]) for name in sorted(names) if name.partition(".")[0] not in ("torch", "builtins")
              and name in sys.modules]  # fmt: skip
    return [namespace for namespace in loaded if "isinstance" not in namespace]


def _wrapped_functions(lowering: Lowering) -> dict[FunctionType, Callable[..., Any]]:
    """Every public graph function of PyG and torch_scatter, with the wrapper that lowers or refuses it on symbols."""
    packages = [torch_geometric.utils, pyg]
    if "torch_scatter" in sys.modules:
        packages.append(sys.modules["torch_scatter"])
    functions = {
        held
        for package in packages
        for name, held in vars(package).items()
        if isinstance(held, FunctionType) and not name.startswith("_")
    }
    return {function: _wrap(function, lowering) for function in {*functions, gcn_norm}}


def _wrap(function: FunctionType, lowering: Lowering) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if next(find_symbols((args, kwargs)), None) is None:
            return function(*args, **kwargs)
        return lowering.call_graph_function(function, args, kwargs)

    return call


def _make_symbolic(path: str, module: nn.Module, lowering: Lowering) -> None:
    """Give one instance a `__call__` that lowers a known layer, refuses an unknown layer of torch, or runs its forward."""
    cls = type(module)
    is_conv = issubclass(cls, pyg.MessagePassing)
    known = layer_lowering(cls)
    runs_itself = is_conv and not issubclass(cls, tuple(REFUSED))
    known = None if runs_itself and lowering.traces_layers else known

    def run(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if issubclass(cls, pyg.aggr.Aggregation):  # its __call__ counts the groups, and checks shapes
            kwargs = {**dict(zip(_AGGREGATED, args, strict=False)), **kwargs}
            return cls.forward(self, **{"dim": -2, **kwargs})
        return cls.__call__(self, *args, **kwargs)

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        caller, lowering.scope = lowering.scope, path
        if known is not None:
            result = _lower_or_run(lowering, known, run if runs_itself else None, self, cls, args, kwargs)
        elif _is_opaque(cls):
            raise lowering.refuse_layer(cls)
        else:
            result = run(self, *args, **kwargs)
        lowering.scope = caller  # not restored on errors: the message then names the innermost module
        return result

    members: dict[str, Any] = {"__call__": call, "__module__": cls.__module__}
    if is_conv:
        members |= methods_on_symbols(lowering)
    object.__setattr__(module, "__class__", type(cls.__name__, (cls,), members))


_AGGREGATED = ("x", "index", "ptr", "dim_size", "dim")


def _lower_or_run(
    lowering: Lowering, known: Any, run: Any, layer: nn.Module, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A layer's lowering; what it refuses runs the layer's own forward, whose refusal is not the one that is told."""
    before, scope = lowering.snapshot(), lowering.scope
    try:
        return known(LayerCall(lowering, layer, cls, args, kwargs))
    except UnsupportedModule:
        if run is None:
            raise
        refused_at = lowering.scope
        lowering.restore(before)
        lowering.scope = scope
        try:
            return run(layer, *args, **kwargs)
        except Exception:  # the layer fails in any way it likes on symbols; the first refusal says why it got here
            lowering.scope = refused_at
        raise


def _is_opaque(cls: type) -> bool:
    """Whether a module without lowering is a layer of torch, whose forward must not run on symbols."""
    return cls not in TRANSPARENT and cls.__module__.partition(".")[0] == "torch"
