"""Knowledge distillation: the class probabilities of a float teacher as targets beside the labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.torch_module import GraphModule
from toolchain.torch_structure import TorchGraph


@dataclass(frozen=True, slots=True, eq=False)
class Distillation:
    """Adds weight * temperature^2 * cross entropy between the teacher's and the student's softened class probabilities.

    It counts every row of the output: all nodes of a node task, labelled or not, and all graphs of a training batch otherwise.

    Attributes:
        teacher: a float Graph of the same task; None: the one that is quantized.
        temperature: divides the logits on both sides.

    Source: Hinton et al. 2015 (arXiv:1503.02531).
    """

    teacher: Graph | None
    weight: float = 10.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.teacher is not None and any(v.type.dtype.is_integer for v in self.teacher.values):
            raise RecipeError(f"teacher: {self.teacher.name} is quantized. Give the float graph.")
        if not self.weight > 0:
            raise RecipeError(f"weight: {self.weight}, expected a positive number, such as 10.")
        if not self.temperature > 0:
            raise RecipeError(f"temperature: {self.temperature}, expected a positive number, such as 1.")


class Teacher:
    """The teacher of one training, with its answer to the last batch: a node task has only one."""

    def __init__(self, method: Distillation) -> None:
        if method.teacher is None:
            raise RecipeError(
                "teacher: none given, and nothing is quantized that could be one. Pass Distillation(graph)."
            )
        self._method = method
        self._module = GraphModule(method.teacher).eval()
        self._last: tuple[TorchGraph, Tensor] | None = None

    def loss(self, student: Tensor, batch: TorchGraph) -> Tensor:
        """The term to be added to the loss of the task.

        Args:
            student: logits, or log-probabilities, [rows, C].

        Raises:
            RecipeError: the teacher has other classes.
        """
        expected = self._probabilities(batch)
        if expected.shape != student.shape:
            raise RecipeError(
                f"teacher: gives {list(expected.shape)}, the student {list(student.shape)}. Both need the same task and classes."
            )
        heat = self._method.temperature
        return self._method.weight * heat**2 * functional.cross_entropy(student / heat, expected)

    def _probabilities(self, batch: TorchGraph) -> Tensor:
        if self._last is None or self._last[0] is not batch:
            prepared = batch.prepared.inputs.prepare(self._module.graph.topologies)
            with torch.no_grad():
                logits = self._module(TorchGraph.of(prepared))[0]
            self._last = batch, torch.softmax(logits / self._method.temperature, dim=1)
        return self._last[1]
