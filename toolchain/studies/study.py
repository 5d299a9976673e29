"""Study: a table of rows, each named by keys and measured once; what is measured already is not measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from toolchain.errors import ArtifactError, RecipeError
from toolchain.output_path import check_parent
from toolchain.studies.row_file import RowFile

Key = tuple[Any, ...]
Found = Mapping[str, Any]
REPEATED = ("seed", "fold")  # keys that repeat a measurement; tables give the mean over them
MOST_FOLDS = 10


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of a study is run.

    Attributes:
        seeds, folds: 0 up to these.
        models: those of the study that are run.
        data_root: folder of the data sets, or None for a study that needs none.
    """

    seeds: int
    folds: int
    models: tuple[str, ...]
    data_root: Path | None = None


class Wanted(Protocol):
    """Names all rows of a scope, in the order in which they are measured."""

    def __call__(self, scope: Scope, settings: Any) -> Iterable[Key]: ...


class Measure(Protocol):
    """Measures rows one after the other: for each key, in order, the values. Consecutive keys may share preparations."""

    def __call__(self, keys: Sequence[Key], scope: Scope, settings: Any) -> Iterator[Found]: ...


@dataclass(frozen=True, slots=True)
class Study:
    """How one table is made.

    Attributes:
        keys: columns that tell a row from the others. The same seed and fold mean the same data and weights in every row, so
            that rows are paired.
        values: columns of what is measured.
        shown: columns of `values` whose mean the table gives.
        paired: pairs (column, column it is compared with) whose mean difference the table gives.
        settings: a frozen dataclass of what all rows have in common, with defaults; `epochs` among them is the main training.
        models: all models; `default_models` those that are run unless others are named.
        seeds, folds: run by default; folds 0: the study has none.
        data_sets: read below the data root.
    """

    name: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    settings: type[Any]
    wanted: Wanted
    measure: Measure
    shown: tuple[str, ...]
    paired: tuple[tuple[str, str], ...] = ()
    models: tuple[str, ...] = ()
    default_models: tuple[str, ...] = ()
    seeds: int = 3
    folds: int = 0
    data_sets: tuple[str, ...] = ()

    def scope(
        self, *, seeds: int | None = None, folds: int | None = None, models: Sequence[str] = (),
        data_root: Path | None = None,
    ) -> Scope:  # fmt: skip
        """What is to be run; what is not stated is as the study has it.

        Raises:
            RecipeError: folds of a study without any, an unknown model, or no folder for the data sets that are needed.
        """
        if folds is not None and not self.folds:
            raise RecipeError(f"folds: {self.name} has none; it repeats its rows by seed. Leave --folds out.")
        if folds is not None and not 1 <= folds <= MOST_FOLDS:
            raise RecipeError(f"folds: {folds}, expected 1 to {MOST_FOLDS}, of which there are {MOST_FOLDS}.")
        unknown = [model for model in models if model not in self.models]
        if unknown:
            raise RecipeError(f"model {unknown[0]!r}: {self.name} has {', '.join(self.models)}.")
        if self.data_sets and data_root is None:
            raise RecipeError(
                f"data_root: {self.name} reads {' and '.join(self.data_sets)}. Pass --data-root, the folder that holds "
                f"{self.data_sets[0]}/raw or that PyG may download it to."
            )
        return Scope(
            self.seeds if seeds is None else seeds, self.folds if folds is None else folds,
            tuple(models) or self.default_models or self.models, data_root,
        )  # fmt: skip

    def settings_with(self, changes: Mapping[str, Any]) -> Any:
        """The settings with some values changed.

        Raises:
            RecipeError: an unknown name, or a value of another type.
        """
        known = {f.name: getattr(self.settings(), f.name) for f in fields(self.settings)}
        for name, value in changes.items():
            if name not in known:
                raise RecipeError(f"{name}: no setting of {self.name}, which has {', '.join(known)}.")
            kind = int if known[name] is None else type(known[name])
            if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
                raise RecipeError(f"{name}: {value!r}, expected {kind.__name__} as in {known[name]!r}.")
        return self.settings(**changes)

    def row_file(
        self, path: Path, settings: Any, command: str, resume: bool = False, overwrite: bool = False
    ) -> RowFile:
        """The csv of a run: empty, or with `resume` the rows that it has already.

        Raises:
            ArtifactError: it exists, and neither `resume` nor `overwrite` says what to do; or it cannot be written.
            RecipeError: the rows in it were made with other settings.
        """
        if path.is_dir():
            raise ArtifactError(
                f"{path}: is a folder, expected the name of a csv file. Choose another name with --output."
            )
        check_parent(path)
        if path.exists() and not (resume or overwrite):
            raise ArtifactError(
                f"{path}: already exists. Pass --resume to go on with it, or --overwrite to start again."
            )
        text = " ".join(f"{f.name}={getattr(settings, f.name)}" for f in fields(settings))
        if overwrite:
            path.unlink(missing_ok=True)
        return RowFile(path, self.keys, self.values, command, text)


@dataclass(slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        present: rows that were there before.
        total: rows in all.
        row: the last one that was measured.
    """

    present: int
    total: int
    done: int = 0
    row: Mapping[str, Any] = field(default_factory=dict)


def run(
    study: Study, rows: RowFile, scope: Scope, settings: Any, progress: Callable[[Progress], None] = lambda state: None
) -> None:
    """Measure the rows that are missing, and write each as soon as it is known.

    Args:
        progress: called once before the first row, and after every row.
    """
    wanted = [dict(zip(study.keys, key, strict=True)) for key in study.wanted(scope, settings)]
    missing = [key for key in wanted if not rows.has(**key)]
    state = Progress(len(wanted) - len(missing), len(wanted))
    progress(state)
    found = study.measure([tuple(key.values()) for key in missing], scope, settings)
    for key, values in zip(missing, found, strict=True):
        rows.add(**key, **values)
        state.done, state.row = state.done + 1, {**key, **values}
        progress(state)
