"""FinishedSteps: what the steps of a recipe have made so far, on disk, so that an interrupted run goes on after the last.

Every result stands under a key, the digest of everything that it follows from: the model, the training and validation graphs,
the seed, the versions, and the steps up to its own. A recipe that changed looks for other keys, so it never gets a result of
the old one; a step that comes after the change is done anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolchain.compression import StepReport
from toolchain.compression.data_digest import data_sha256
from toolchain.errors import ArtifactError
from toolchain.exporters.exporting import graph_sha256, library_version
from toolchain.graph_file import SUFFIX, load_graph, save_graph, write_atomically
from toolchain.ir import Graph
from toolchain.model_source import GraphParts
from toolchain.recipe import Bench, Export, Quantize, Recipe, Verify, step_name

RECORD = "steps.json"
SCHEMA_VERSION = 2
LIBRARIES = ("pocketgnn", "torch", "numpy")

Log = Callable[[StepReport], None]


@dataclass(frozen=True, slots=True)
class Result:
    """A Graph that a step makes: its key, and a name such as "2-fine_tune" or "3-quantize-static-int8"."""

    key: str
    name: str


def origin_of(graph: Graph, parts: GraphParts, seed: int) -> dict[str, str]:
    """What every step of a run follows from, in digests and versions."""
    versions = " ".join(f"{library} {library_version(library)}" for library in LIBRARIES)
    return {
        "weights": graph_sha256(graph), "training graphs": data_sha256(parts.train),
        "validation graphs": data_sha256(parts.validation), "seed": str(seed), "versions": versions,
    }  # fmt: skip


def results_of(recipe: Recipe, origin: Mapping[str, str]) -> dict[tuple[int, str], Result]:
    """The results of a recipe by step number and precision; "" where a step has no precisions."""
    key = _digest([SCHEMA_VERSION, *origin.items()])
    found: dict[tuple[int, str], Result] = {}
    for number, step in enumerate(recipe.steps):
        if isinstance(step, Export | Verify | Bench):
            continue
        name, options = step_name(step), step.model_dump()
        if isinstance(step, Quantize):
            for precision in step.precisions:
                own = _digest([key, name, {**options, "precisions": [precision]}])
                found[number, precision] = Result(own, f"{number + 1}-{name}-{precision}")
        else:
            key = _digest([key, name, options])
            found[number, ""] = Result(key, f"{number + 1}-{name}")
    return found


@dataclass(slots=True)
class FinishedSteps:
    """A folder with one Graph file per result and a record of them; both are complete at every moment.

    Attributes:
        entries: for each key the name, the sha256 of the file and the reports of the step.
    """

    folder: Path
    origin: Mapping[str, str]
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(
        cls, folder: Path, origin: Mapping[str, str], results: Iterable[Result], *, resume: bool, overwrite: bool
    ) -> FinishedSteps:
        """Take up what is there, or start with nothing.

        Args:
            results: of the recipe. What else is there belongs to steps that have changed, and is forgotten.
            resume: use what is there.
            overwrite: start again, whatever is there.

        Raises:
            ArtifactError: there are finished steps, and they are not to be resumed or not those of this run.
        """
        steps = cls(folder, dict(origin))
        path = folder / RECORD
        if not path.exists():
            return steps
        if not resume:
            if not overwrite:
                raise ArtifactError(
                    f"{path}: already exists, with the finished steps of an earlier run. Pass --resume to go on after them, or "
                    "--overwrite to start again."
                )
            steps._forget(_read(path)["entries"])
            return steps
        record = _read(path)
        differing = [name for name in steps.origin if record["origin"].get(name) != steps.origin[name]]
        if differing:
            raise ArtifactError(
                f"{path}: the steps in it were made with other {' and '.join(differing)}, so they are not those of this run. "
                "Choose another folder, or pass --overwrite to start again."
            )
        keys = {result.key for result in results}
        if record["entries"] and not keys & set(record["entries"]):
            names = ", ".join(entry["name"] for entry in record["entries"].values())
            raise ArtifactError(
                f"{path}: has {names}, of a recipe that differs in its first step, so nothing of it can be used. Choose another "
                "folder, or pass --overwrite to start again."
            )
        steps.entries = {key: entry for key, entry in record["entries"].items() if key in keys}
        steps._forget({key: entry for key, entry in record["entries"].items() if key not in keys})
        return steps

    def has(self, result: Result) -> bool:
        return result.key in self.entries

    def graph(self, result: Result, make: Callable[[Log], Graph], history: Sequence[str], log: Log) -> Graph:
        """The Graph of a result: as it was saved, or made now and saved.

        Args:
            make: makes it, given where its reports go.
            history: the stages up to this Graph, as a Graph file states them.
            log: called with the reports of the step, those of a saved one included.
        """
        path = self.folder / f"{result.name}{SUFFIX}"
        if self.has(result):
            return self._saved(path, self.entries[result.key], log)
        reports: list[StepReport] = []
        graph = make(reports.append)
        save_graph(graph, history, path, overwrite=True)
        entry = {"name": result.name, "sha256": _file_sha256(path), "reports": [asdict(report) for report in reports]}
        self.entries = {k: e for k, e in self.entries.items() if e["name"] != result.name} | {result.key: entry}
        self._write()
        for report in reports:
            log(report)
        return graph

    def _saved(self, path: Path, entry: Mapping[str, Any], log: Log) -> Graph:
        if not path.is_file() or _file_sha256(path) != entry["sha256"]:
            raise ArtifactError(
                f"{path}: is missing or not the file that was saved. Pass --overwrite to start again instead of --resume."
            )
        for report in entry["reports"]:
            log(StepReport.from_json(report))
        return load_graph(path).graph

    def _forget(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Take results out of the record, then remove their files."""
        self._write()
        for entry in entries.values():
            (self.folder / f"{Path(entry['name']).name}{SUFFIX}").unlink(missing_ok=True)

    def _write(self) -> None:
        document = {"schema_version": SCHEMA_VERSION, "origin": dict(self.origin), "entries": self.entries}
        write_atomically(self.folder / RECORD, (json.dumps(document, indent=1) + "\n").encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        is_known = record["schema_version"] == SCHEMA_VERSION and all(
            {"name", "sha256", "reports"} == set(entry) for entry in record["entries"].values()
        )
        if not is_known or not isinstance(record["origin"], dict):
            raise ValueError(f"not schema version {SCHEMA_VERSION}, or unknown keys")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path}: not a readable record of steps ({type(error).__name__}: {error}). Remove its folder and start again."
        ) from error
    return record


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
