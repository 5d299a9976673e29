"""Stopwatch: artifacts in processes of their own on this machine, which take turns on several graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from device_benchmarks.graph_file import write_graph
from device_benchmarks.measurement import Scope
from device_benchmarks.measuring_child import MeasuringChild
from device_benchmarks.protocol import Protocol, Window
from toolchain.artifact import Artifact
from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs

# Sixteen rounds of short windows: what a busy moment of the machine slows is one round of all, not all rounds of one.
SHORT = Protocol("short", samples=160, seconds=0.4, warmup_samples=3, warmup_seconds=0.1, rounds=16)
LONG = Protocol("long", samples=320, seconds=0.8, warmup_samples=3, warmup_seconds=0.1, rounds=32)
TOLD = 4  # times that a measurement says how far it is

Rounds = list[np.ndarray]  # microseconds of each inference, one array for each round


@dataclass(slots=True)
class Stopwatch:
    """Times prepared inferences of artifacts. A context: leaving it ends every process.

    Attributes:
        graphs: what is timed; each result has one entry for each.
    """

    graphs: Sequence[GraphInputs]
    threads: int = 1
    progress: Callable[[str], None] = lambda line: None
    _stack: ExitStack = field(default_factory=ExitStack, init=False)
    _children: dict[str, MeasuringChild] = field(default_factory=dict, init=False)
    _files: list[Path] = field(default_factory=list, init=False)

    def __enter__(self) -> Stopwatch:
        scratch = Path(self._stack.enter_context(TemporaryDirectory(prefix="pocketgnn-stopwatch-")))
        for number, graph in enumerate(self.graphs):
            write_graph(graph, path := scratch / f"graph-{number}.npz")
            self._files.append(path)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def measure(
        self, artifacts: Mapping[str, Artifact], protocol: Protocol, positions: Sequence[int] | None = None
    ) -> tuple[dict[str, list[Rounds]], dict[str, str]]:
        """Time artifacts by name, all in turns. A process stays for the next time that its name is given.

        Args:
            positions: of the graphs to be timed; all of them where None.

        Returns:
            The rounds for each of these graphs, and for an artifact that failed, why.
        """
        failed: dict[str, str] = {}

        def ask(name: str, message: Mapping[str, Any] | None, seconds: float) -> Any:
            """The answer to a message, or to the one that was told last; None from now on where it is an error."""
            if name in failed:
                return None
            child = self._children[name]
            try:
                return child.answer(seconds) if message is None else child.ask(message, seconds)
            except MeasurementError as error:
                failed[name] = str(error)
                return None

        new = [name for name in artifacts if name not in self._children]
        for name in new:
            self._start(name, artifacts[name])
        for name in new:
            self.progress(f"opening {name}")
            ask(name, None, 0.0)
            ask(name, {"command": "open", "warmup": asdict(protocol.warmup)}, protocol.warmup_seconds)
        files = [self._files[number] for number in (range(len(self._files)) if positions is None else positions)]
        rounds: dict[str, list[Rounds]] = {name: [[] for _ in files] for name in artifacts}
        sizes = {"window": asdict(protocol.window), "warmup": asdict(Window(protocol.warmup_samples, 0.0))}
        for position, file in enumerate(files):
            for name in artifacts:
                ask(name, {"command": "graph", "graph": str(file)}, 0.0)
            for turn in range(protocol.rounds):
                if turn % (protocol.rounds // TOLD) == 0:
                    done = (position + turn / protocol.rounds) / len(files)
                    self.progress(f"measuring {len(artifacts)} plans: {done:.0%}")
                for name in artifacts:
                    window = {"command": "window", "scope": Scope.MODEL.value, **sizes}
                    answer = ask(name, window, protocol.window.seconds)
                    if answer is not None:
                        rounds[name][position].append(np.load(answer["samples"], allow_pickle=False) / 1e3)
        for name in failed:
            rounds.pop(name, None)
        return rounds, failed

    def _start(self, name: str, artifact: Artifact) -> None:
        folder = self._files[0].parent / f"child-{len(self._children)}"
        child = self._stack.enter_context(MeasuringChild(name, folder, self.threads))
        self._children[name] = child
        subject = {"kind": "artifact", "path": str(Path(artifact.path).resolve())}
        child.tell(
            {
                "command": "import", "subject": subject, "graph": str(self._files[0]), "threads": self.threads,
                "folder": str(folder),
            }
        )  # fmt: skip


def median_us(rounds: Rounds) -> float:
    """The median inference of all rounds."""
    return float(np.median(np.concatenate(rounds)))


def ratio(rounds: Rounds, reference: Rounds) -> float:
    """How many times as long as the reference: the median over the rounds of the ratio of both medians in the round."""
    pairs = zip(rounds, reference, strict=True)
    return float(np.median([np.median(a) / np.median(b) for a, b in pairs]))
