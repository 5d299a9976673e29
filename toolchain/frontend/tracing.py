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
from torch_geometric.nn.models.basic_gnn import GAT, GCN, GIN, GraphSAGE

from toolchain.errors import UnsupportedModule
from toolchain.frontend.calls import LayerCall
from toolchain.frontend.registry import layer_lowering
from toolchain.frontend.symbols import find_symbols

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering

_PATCHING = threading.RLock()  # functions are replaced for the whole process; without symbols they work as before

# Library modules whose own forward runs on symbols, so that only what they call needs a lowering.
TRANSPARENT: tuple[type, ...] = (nn.Sequential, pyg.Sequential, pyg.MLP, GCN, GIN, GraphSAGE, GAT)


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
    for module in duplicate.modules():
        if isinstance(module, pyg.GCNConv):  # a cached normalization belongs to the training graph
            module._cached_edge_index = module._cached_adj_t = None
    return duplicate


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
    try:
        for loaded in [m for m in list(sys.modules.values()) if isinstance(m, ModuleType)]:
            for name, held in list(vars(loaded).items()):
                if type(held) is FunctionType and held in wrapped:
                    vars(loaded)[name] = wrapped[held]
                    replaced.append((vars(loaded), name, held))
        yield
    finally:
        for namespace, name, held in replaced:
            namespace[name] = held


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
    return {function: _wrap(function, lowering) for function in functions}


def _wrap(function: FunctionType, lowering: Lowering) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if next(find_symbols((args, kwargs)), None) is None:
            return function(*args, **kwargs)
        return lowering.call_graph_function(function, args, kwargs)

    return call


def _make_symbolic(path: str, module: nn.Module, lowering: Lowering) -> None:
    """Give one instance a `__call__` that lowers a known layer, refuses an unknown library layer, or runs user code."""
    cls = type(module)
    known = layer_lowering(cls)

    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        caller, lowering.scope = lowering.scope, path
        if known is not None:
            result = known(LayerCall(lowering, self, cls, args, kwargs))
        elif _is_opaque(cls):
            raise lowering.refuse_layer(cls)
        else:
            result = cls.__call__(self, *args, **kwargs)
        lowering.scope = caller  # not restored on errors: the message then names the innermost module
        return result

    object.__setattr__(
        module, "__class__", type(cls.__name__, (cls,), {"__call__": call, "__module__": cls.__module__})
    )


def _is_opaque(cls: type) -> bool:
    """Whether a module without lowering is a library layer or a convolution, whose forward must not run on symbols."""
    if cls in TRANSPARENT:
        return False
    return issubclass(cls, pyg.MessagePassing) or cls.__module__.partition(".")[0] in ("torch", "torch_geometric")
