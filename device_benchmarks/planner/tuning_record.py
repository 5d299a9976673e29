"""TuningRecord: what a run of the planner has found so far, on disk, so that an interrupted one need not measure it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolchain.errors import ArtifactError
from toolchain.graph_file import write_atomically

SCHEMA_VERSION = 2
Found = dict[str, Any]  # of one attempt, see `Attempt.found`


@dataclass(slots=True)
class TuningRecord:
    """Batches in the order in which they were measured: plans that took turns, and what was found of each.

    A search asks for the same batches again as long as it is told the same, so what is asked for next is the next batch of the
    record, or something has changed and the rest of the record is of no use.

    Attributes:
        origin: everything that the times follow from.
    """

    path: Path
    origin: Mapping[str, str]
    _batches: list[dict[str, Any]] = field(default_factory=list, init=False)
    _used: int = field(default=0, init=False)

    @classmethod
    def open(cls, path: Path, origin: Mapping[str, str], *, resume: bool, overwrite: bool) -> TuningRecord:
        """Take up what is there, or start with nothing.

        Raises:
            ArtifactError: there is a record, and it is not to be resumed or not that of this run.
        """
        record = cls(path, dict(origin))
        if not path.exists() or (overwrite and not resume):
            return record
        if not resume:
            raise ArtifactError(
                f"{path}: is the record of an interrupted run. Pass --resume to go on after it, or --overwrite to start again."
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema version {data['schema_version']}, expected {SCHEMA_VERSION}")
            differing = [name for name, value in record.origin.items() if data["origin"].get(name) != value]
            record._batches = list(data["batches"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{path}: not a readable record ({error}). Pass --overwrite to start again.") from error
        if differing:
            raise ArtifactError(
                f"{path}: was made with other {' and '.join(differing)}. Choose another file with -o, or pass --overwrite to start "
                "again."
            )
        return record

    def known(self, names: Sequence[str], is_final: bool) -> dict[str, Found] | None:
        """What was found of these plans when they took turns before; None where that is still to be done."""
        if self._used < len(self._batches):
            batch = self._batches[self._used]
            if list(batch["found"]) == list(names) and batch["final"] == is_final:
                self._used += 1
                return batch["found"]
            self._batches = self._batches[: self._used]
        return None

    def add(self, found: Mapping[str, Found], is_final: bool) -> None:
        """Keep what was found of plans that took turns."""
        self._batches.append({"final": is_final, "found": dict(found)})
        self._used = len(self._batches)
        document = {"schema_version": SCHEMA_VERSION, "origin": dict(self.origin), "batches": self._batches}
        write_atomically(self.path, (json.dumps(document, indent=1) + "\n").encode())
