"""Which layer classes and functions lower, and how: two tables that the modules of this package fill."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

LayerLowering = Callable[..., Any]
FunctionLowering = Callable[..., Any]

LAYERS: dict[type, LayerLowering] = {}  # layer class -> lowering(call), see calls.LayerCall
FUNCTIONS: dict[str, FunctionLowering] = {}  # torch function or tensor method, by name -> lowering(lowering, ...)
GRAPH_FUNCTIONS: dict[str, FunctionLowering] = {}  # PyG and torch_scatter functions, by "package.name"

REFUSED: set[type] = set()  # layer classes whose lowering says why there is none

# What a subclass may define and still compute the same as the layer it derives from.
_INERT_NAMES = frozenset({
    "__module__", "__doc__", "__init__", "__repr__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__parameters__", "__orig_bases__", "__qualname__", "__static_attributes__",
    "__firstlineno__", "extra_repr", "reset_parameters",
})  # fmt: skip
_GENERATED_NAMES = ("propagate", "collect", "edge_updater", "edge_collect")


def lowers(*layers: type) -> Callable[[LayerLowering], LayerLowering]:
    """Register a lowering for layer classes: a function of one LayerCall that returns the layer's output symbol."""

    def register(lowering: LayerLowering) -> LayerLowering:
        LAYERS.update(dict.fromkeys(layers, lowering))
        return lowering

    return register


def lowers_function(*names: str) -> Callable[[FunctionLowering], FunctionLowering]:
    """Register a lowering for torch functions and tensor methods; it takes torch's own parameter names."""

    def register(lowering: FunctionLowering) -> FunctionLowering:
        FUNCTIONS.update(dict.fromkeys(names, lowering))
        return lowering

    return register


def lowers_graph_function(*names: str) -> Callable[[FunctionLowering], FunctionLowering]:
    """Register a lowering for Python functions of PyG and torch_scatter, named as "torch_geometric.scatter"."""

    def register(lowering: FunctionLowering) -> FunctionLowering:
        GRAPH_FUNCTIONS.update(dict.fromkeys(names, lowering))
        return lowering

    return register


def layer_lowering(layer_type: type) -> LayerLowering | None:
    """The lowering of a class: its own, or its parent's where it changes nothing (another forward is another layer)."""
    for cls in layer_type.__mro__:
        if cls in LAYERS:
            return LAYERS[cls]
        if any(name not in _INERT_NAMES and not _is_generated(cls, name) for name in vars(cls)):
            return None
    return None


def _is_generated(cls: type, name: str) -> bool:
    """Whether PyG's own code generation put a method on a message-passing class when its first instance was made."""
    if name.startswith(("_orig_", "_jinja_")):
        return True
    module = getattr(vars(cls)[name], "__module__", None) or ""
    return name in _GENERATED_NAMES and module.startswith(f"{cls.__module__}_{cls.__name__}_")


def graph_function_name(function: FunctionType) -> str:
    """Name under which a PyG or torch_scatter function is registered, whatever module of the package defines it."""
    return f"{function.__module__.partition('.')[0]}.{function.__name__}"


def supported_layers() -> str:
    """Names of all layers that lower, for messages."""
    from toolchain.frontend.tracing import TRANSPARENT

    names = {_display_name(cls) for cls in (*LAYERS, *TRANSPARENT) if cls not in REFUSED}
    return (
        ", ".join(sorted(names)) + ", and layers of PyTorch Geometric and your own that are made of supported functions"
    )


def supported_functions() -> str:
    """Names of all functions that lower, for messages."""
    names = {name.removesuffix("_") for name in FUNCTIONS} | set(GRAPH_FUNCTIONS)
    return ", ".join(sorted(names))


def _display_name(cls: type) -> str:
    package = cls.__module__.partition(".")[0]
    return f"{'torch.nn' if package == 'torch' else package}.{cls.__name__}"
