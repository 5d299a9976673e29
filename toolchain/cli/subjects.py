"""What a verb works on: a model file to lower, or a .pgnn file that an earlier verb wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from toolchain.errors import RecipeError
from toolchain.graph_file import SUFFIX, SavedGraph, load_graph
from toolchain.model_source import GraphParts, ModelSource, parts_of


@dataclass(slots=True)
class Subject:
    """A MODEL argument.

    Attributes:
        source: the model file; None for a .pgnn file without --graphs.
        saved: the Graph of a .pgnn file; None for a model file.
    """

    source: ModelSource | None
    saved: SavedGraph | None
    seed: int
    _parts: GraphParts | None = None
    _model: Any = None

    @property
    def parts(self) -> GraphParts:
        """The user's graphs.

        Raises:
            click.UsageError: a .pgnn file was given without --graphs.
        """
        if self.source is None:
            raise click.UsageError("this step needs graphs; pass --graphs MODEL, the file with get_graphs().")
        if self._parts is None:
            self._parts = parts_of(self.source.graphs(), self.seed)
        return self._parts

    @property
    def model(self) -> Any:
        """The PyG model."""
        if self.source is None:
            raise click.UsageError("this step needs the PyG model; pass the file with get_model().")
        if self._model is None:
            self._model = self.source.model()
        return self._model

    def graph(self, name: str, progress: Callable[[str], None]) -> SavedGraph:
        """The Graph of the file, or the lowered model."""
        if self.saved is None:
            from toolchain.frontend import lower

            progress("lowering the model")
            self.saved = SavedGraph(lower(self.model, self.parts.train[0], name=name), ("lowering",))
        return self.saved


def subject(model: str, *, graphs: str | None = None, checkpoint: Path | None = None, seed: int = 0) -> Subject:
    """Open a MODEL argument."""
    if model.endswith(SUFFIX):
        if checkpoint is not None:
            raise click.UsageError(f"--checkpoint belongs to a model file; {model} has its weights in it.")
        return Subject(None if graphs is None else ModelSource(graphs), load_graph(model), seed)
    if graphs is not None:
        raise click.UsageError(f"--graphs belongs to a {SUFFIX} file; {model} has get_graphs() itself.")
    if Path(model).is_dir():
        raise RecipeError(f"{model}: is a folder, expected a Python file, a module or a {SUFFIX} file.")
    return Subject(ModelSource(model, checkpoint=checkpoint), None, seed)
