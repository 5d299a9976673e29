"""DeviceResult: one benchmark of one artifact on one device, with every raw sample, as one JSON file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from device_benchmarks.device_answers import DeviceAnswers
from device_benchmarks.device_facts import Cores, DeviceFacts, DeviceState
from device_benchmarks.graph_file import FIELDS
from device_benchmarks.measurement import TRIMMED, Scope, statistics
from device_benchmarks.protocol import Protocol
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError
from toolchain.inputs import GraphInputs

SCHEMA_VERSION = 1
KIND = "device-benchmark"


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """What one run found.

    Attributes:
        device, transport: how the user called it, and what carried the commands.
        throttled: whether heat or power limited its clock; None where it cannot tell.
        artifact, inputs: what was run on what, with sha256.
        parity: the outputs beside the host's.
        build_seconds: from the connection to the first inference; wall_seconds: all of it.
        scopes: what was timed; checks: further conditions of this kind of device, by name.
        seed: of the split of the data, or of a made-up graph.
    """

    device: str
    transport: str
    facts: DeviceFacts
    before: DeviceState
    after: DeviceState
    throttled: bool | None
    artifact: Mapping[str, Any]
    answers: DeviceAnswers
    parity: Mapping[str, Any]
    protocol: Protocol
    cores: Cores
    inputs: Mapping[str, Any]
    command: str
    started_at: str
    build_seconds: float
    wall_seconds: float
    scopes: tuple[Scope, ...] = tuple(Scope)
    checks: Mapping[str, bool] = field(default_factory=dict)
    seed: int | None = None

    @property
    def measuring_seconds(self) -> float:
        """Time that the device spent in timed inferences and their warm-up."""
        timed = sum(window.elapsed_ns for window in self.answers.windows) / 1e9
        return timed + len(self.answers.windows) * self.protocol.warmup_seconds / self.protocol.rounds

    def samples_us(self, scope: Scope) -> np.ndarray:
        """Every kept sample of a scope in the order taken."""
        parts = [window.samples_ns for window in self.answers.windows if window.scope is scope]
        return np.concatenate(parts).astype(np.float64) / 1e3 if parts else np.zeros(0)

    def median_of_windows_us(self, scope: Scope) -> float:
        """The mean duration of the window in the middle, as MLPerf Tiny takes it."""
        means = [
            window.elapsed_ns / window.inferences / 1e3 for window in self.answers.windows if window.scope is scope
        ]
        return float(np.median(means))

    @property
    def validity(self) -> dict[str, bool | None]:
        """What makes a result count; None where the device cannot tell."""
        windows, share = self.answers.windows, delegation(self.artifact)["delegated_op_fraction"]
        samples = {scope: sum(w.inferences for w in windows if w.scope is scope) for scope in self.scopes}
        seconds = {scope: sum(w.elapsed_ns for w in windows if w.scope is scope) / 1e9 for scope in self.scopes}
        return {
            "min_samples_met": all(count >= self.protocol.samples for count in samples.values()),
            "min_duration_met": all(value >= self.protocol.seconds for value in seconds.values()),
            "outputs_equal": not self.parity["differences"],
            "not_throttled": None if self.throttled is None else not self.throttled,
            "not_emulated": not self.facts.emulated,
            "not_fallen_back": None if share is None else share > 0,
            **self.checks,
        }

    @property
    def is_valid(self) -> bool:
        return all(flag is not False for flag in self.validity.values())

    @property
    def reasons(self) -> list[str]:
        """Why it is not valid."""
        return [name.replace("_", " ") for name, flag in self.validity.items() if flag is False]

    def to_json(self) -> dict[str, Any]:
        first = self.answers.computed[0]
        return {
            "tool": "pocketgnn", "version": metadata.version("pocketgnn"), "kind": KIND, "schema": SCHEMA_VERSION,
            "started_at": self.started_at, "command": self.command, "seed": self.seed,
            "valid": self.is_valid, "validity": self.validity,
            "device": {
                "name": self.device, "transport": self.transport, **self.facts.to_json(),
                "before": self.before.to_json(), "after": self.after.to_json(),
            },
            "artifact": dict(self.artifact),
            "runtime": {
                **self.answers.runtime, "cores": self.cores, "affinity": self._affinity(), **delegation(self.artifact),
                "clock_resolution_ns": self.answers.clock_ns,
            },
            "scopes": [scope.value for scope in self.scopes],
            "inputs": dict(self.inputs), "protocol": asdict(self.protocol), "parity": dict(self.parity),
            "first": {
                "load_us": None if self.answers.load_ns is None else self.answers.load_ns / 1e3,
                "prepare_us": first.prepare_ns / 1e3, "run_us": first.run_ns / 1e3,
            },
            "memory": dict(self.answers.memory),
            "latency_us": {scope.value: self._latency(scope) for scope in self.scopes},
            "seconds": {
                "wall": self.wall_seconds, "build": self.build_seconds, "measuring": self.measuring_seconds,
            },
        }  # fmt: skip

    def _affinity(self) -> list[int] | None:
        """Numbers of the cores that it ran on; None where the system chose."""
        mask = self.facts.core_mask(self.cores)
        return [core for core in range(mask.bit_length()) if mask >> core & 1] or None

    def _latency(self, scope: Scope) -> dict[str, Any]:
        samples = self.samples_us(scope)
        windows = [window for window in self.answers.windows if window.scope is scope]
        found = statistics(samples) if samples.size else {"n": 0, "min": None, "max": None}
        return {
            **found, "trimmed_share": TRIMMED, "median_of_windows": self.median_of_windows_us(scope) if windows else None,
            "windows": [
                {
                    "inferences": window.inferences, "warm_up": window.warm, "stride": window.stride,
                    "seconds": window.elapsed_ns / 1e9, "samples_us": (window.samples_ns / 1e3).tolist(),
                }
                for window in windows
            ],
        }  # fmt: skip

    def write(self, path: Path, *, overwrite: bool = False) -> Path:
        """Write the file; it appears complete or not at all.

        Raises:
            ArtifactError: it exists and `overwrite` is off.
        """
        if path.exists() and not overwrite:
            raise ArtifactError(f"{path}: already exists. Choose another folder, or pass --overwrite.")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        descriptor, staged = tempfile.mkstemp(prefix=".result.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(staged, 0o644)
            os.replace(staged, path)
        except BaseException:
            os.unlink(staged)
            raise
        return path


def artifact_facts(artifact: Artifact) -> dict[str, Any]:
    """What was run, for the record: its sha256 is that of the list of its files' sha256."""
    files = "".join(f"{entry['sha256']}  {name}\n" for name, entry in sorted(artifact.files.items()))
    return {
        "name": Path(artifact.path).name, "format": artifact.format, "precision": artifact.precision,
        "model_bytes": artifact.model_bytes, "sha256": hashlib.sha256(files.encode()).hexdigest(),
        **{name: artifact.provenance.get(name) for name in ("backend", "operators", "delegated_operators")},
    }  # fmt: skip


def delegation(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Who computes for the runtime, and which share of the model's operators, by the `artifact_facts` of what was run.

    None where a format has no delegates, and where the manifest does not count operators: of LiteRT, whose library applies XNNPACK
    by itself and does not tell to what.
    """
    backend, operators = facts.get("backend"), facts.get("operators")
    delegate = backend if facts.get("format") == "executorch" and backend != "portable" else None
    share = facts["delegated_operators"] / operators if delegate and operators else None
    return {"delegate": delegate, "delegated_op_fraction": share}


def graph_sha256(graph: GraphInputs) -> str:
    """Of every array that the graph has, with its name and shape."""
    digest = hashlib.sha256()
    for name in FIELDS:
        array = getattr(graph, name)
        if array is not None:
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
