"""GraphModule: a float Graph as a trainable torch module, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from toolchain.ir import ops
from toolchain.ir.graph import Graph, Value
from toolchain.ir.ops import Const
from toolchain.torch_codebook import Codebook
from toolchain.torch_ops import Call, emit
from toolchain.torch_structure import Structure, TorchGraph

__all__ = ["Call", "GraphModule", "TorchGraph"]


class GraphModule(nn.Module):
    """Runs a Graph op by op on a `Structure`; trainable constants are parameters, all others buffers.

    Constants that name a codebook are looked up in it, and its values are the parameter: see `Codebook`.

    In train mode BatchNorm uses batch statistics and updates the stored ones, and Dropout drops, as in torch. A
    subclass that overrides `emit` gives ops another meaning (fake quantization, integer codes) and keeps the rest.

    Args:
        dtype: of all float constants; the TorchGraph has the same.
    """

    def __init__(self, graph: Graph, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.graph = graph
        self._attributes: dict[str, str] = {}
        self._masks: dict[str, Tensor] = {}
        shared = _shared_constants(graph)
        self.codebooks = nn.ModuleList(
            Codebook({name: graph.constants[name] for name in names}, dtype) for names in shared.values()
        )
        self._codebook_of = {name: number for number, names in enumerate(shared.values()) for name in names}
        for value in graph.values:
            if isinstance(value.op, Const) and value.op.name not in {*self._attributes, *self._codebook_of}:
                self._register(value.op, graph.constants[value.op.name], dtype)

    def _register(self, op: Const, array: np.ndarray, dtype: torch.dtype) -> None:
        # torch forbids dots in attribute names; "a.b" and "a_b" must stay apart, so a repeated name gets a number.
        attribute = "const_" + re.sub(r"\W", "_", op.name)
        attribute += f"_{len(self._attributes)}" if hasattr(self, attribute) else ""
        self._attributes[op.name] = attribute
        if op.type.dtype.is_integer:
            self.register_buffer(attribute, torch.tensor(array))
            return
        tensor = torch.tensor(array, dtype=dtype)
        if op.trainable:
            self.register_parameter(attribute, nn.Parameter(tensor))
        else:
            self.register_buffer(attribute, tensor)
        if op.pruned:
            self._masks[op.name] = tensor != 0

    def constant(self, name: str) -> Tensor:
        """The parameter or buffer of a Const by its name in the Graph, or its values from a codebook."""
        if name in self._codebook_of:
            codebook = self.codebooks[self._codebook_of[name]]
            assert isinstance(codebook, Codebook)
            return codebook.constant(name)
        return getattr(self, self._attributes[name])

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters, by the names of their constants in the Graph; those of codebooks by numbers."""
        for name, attribute in self._attributes.items():
            if isinstance(parameter := getattr(self, attribute), nn.Parameter):
                yield name, parameter
        yield from ((f"codebooks.{name}", parameter) for name, parameter in self.codebooks.named_parameters())

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """For every pruned Const outside codebooks, where its weights are kept (bool): the non-zeros at construction."""
        return self._masks

    @torch.no_grad()
    def apply_masks(self) -> None:
        """Set pruned weights back to zero; to be called after every optimizer step."""
        for name, mask in self._masks.items():
            self.constant(name).mul_(mask.to(self.constant(name).device))

    def emit(self, op: ops.Op, call: Call) -> Tensor:
        """The meaning of one op; override to change it."""
        return emit(op, call)

    def forward(self, batch: Structure, watch: Callable[[Value, Tensor], None] | None = None) -> tuple[Tensor, ...]:
        """One tensor per output of the Graph: rows of nodes, edges or graphs.

        Args:
            watch: called with every value and its tensor.
        """
        tensors: list[Tensor] = []
        for value in self.graph.values:
            operands = tuple(tensors[i] for i in value.inputs)
            types = tuple(self.graph.values[i].type for i in value.inputs)
            tensors.append(self.emit(value.op, Call(value, operands, types, batch, self.constant, self.training)))
            if watch is not None:
                watch(value, tensors[-1])
        return tuple(tensors[o] for o in self.graph.outputs)

    def to_graph(self) -> Graph:
        """The Graph with the present weights and BatchNorm statistics; pruned weights are exactly zero."""
        self.apply_masks()
        changed = {
            name: self.constant(name).detach().cpu().numpy().astype(np.float32)
            for name, array in self.graph.constants.items()
            if array.dtype.kind == "f"
        }
        return self.graph.with_constants(changed)


def _shared_constants(graph: Graph) -> dict[str, list[str]]:
    """Codebook → the trainable float constants that name it, in the order of the graph."""
    shared: dict[str, list[str]] = {}
    for value in graph.values:
        op = value.op
        if isinstance(op, Const) and op.codebook is not None and op.trainable and not op.type.dtype.is_integer:
            names = shared.setdefault(op.codebook, [])
            names += [op.name] * (op.name not in names)
    return shared
