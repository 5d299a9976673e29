"""Parity: how far an artifact's answers are from the PyG model's on a data set, and which step causes the distance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import runtimes
from toolchain.artifact import Artifact
from toolchain.errors import GateFailed, InvalidInput
from toolchain.frontend import run_model
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret

Array = np.ndarray
QUANTIZATION = "quantization"
BACKEND = "backend"
DEPLOYMENT = "deployment"
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Gates:
    """What the total of a parity report must reach. None: not asked for.

    Attributes:
        min_agreement: smallest share of equal classes, in [0, 1].
        max_accuracy_drop: largest accuracy of the PyG model minus that of the artifact, in [0, 1].
        max_abs: largest difference of any output.
    """

    min_agreement: float | None = None
    max_accuracy_drop: float | None = None
    max_abs: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StageParity:
    """One comparison of two ways to compute the same outputs.

    Attributes:
        stage: the step between the two: "lowering", "compression", "quantization" or "backend"; "deployment" is all
            that comes after the last float Graph, "total" is everything.
        reference, candidate: what was compared, in words.
        max_abs: largest difference of any output value; `max_relative` is it over the largest reference value.
        agreement: share of rows (graphs, or the labelled nodes) with the same class. None for outputs of one channel, and where y
            are real numbers: then the errors count.
        accuracy_before, accuracy_after: of the reference and of the candidate. None without labels.
        errors: [graphs] largest difference within each graph, in the order given.
        agrees: [graphs] share of rows with the same class within each graph; empty without classes.
    """

    stage: str
    reference: str
    candidate: str
    rows: int
    max_abs: float
    max_relative: float
    agreement: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    errors: Array
    agrees: Array

    @property
    def worst(self) -> int:
        """Position of the graph with the largest difference."""
        return int(self.errors.argmax())

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage, "reference": self.reference, "candidate": self.candidate, "rows": self.rows,
            "max_abs": _finite(self.max_abs), "max_relative": _finite(self.max_relative),
            "agreement": self.agreement,
            "accuracy_before": self.accuracy_before, "accuracy_after": self.accuracy_after,
            "worst_graph": self.worst, "errors": [_finite(e) for e in self.errors.tolist()],
            "agrees": self.agrees.tolist(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParityReport:
    """An artifact against the PyG model, through the artifact's own runtime: each step on its own, then all of them."""

    artifact: str
    graphs: int
    stages: tuple[StageParity, ...]

    @property
    def total(self) -> StageParity:
        return self.stages[-1]

    @property
    def steps(self) -> tuple[StageParity, ...]:
        """The single steps, without "deployment" and "total"."""
        return tuple(stage for stage in self.stages if stage.stage not in (DEPLOYMENT, TOTAL))

    def stage(self, name: str) -> StageParity | None:
        return next((stage for stage in self.stages if stage.stage == name), None)

    def failures(self, gates: Gates) -> list[str]:
        """The gates that the total does not meet, in words."""
        total, failed = self.total, []
        if gates.min_agreement is not None:
            if total.agreement is None:
                failed.append("agreement is undefined for outputs that are no classes; --max-abs bounds their error")
            elif total.agreement < gates.min_agreement:
                failed.append(f"agreement {total.agreement:.2%} is below {gates.min_agreement:.2%}")
        if gates.max_accuracy_drop is not None:
            if total.accuracy_before is None or total.accuracy_after is None:
                failed.append("accuracy is undefined without labels y")
            elif total.accuracy_before - total.accuracy_after > gates.max_accuracy_drop:
                failed.append(
                    f"accuracy fell from {total.accuracy_before:.2%} to {total.accuracy_after:.2%}, "
                    f"more than {gates.max_accuracy_drop:.2%}"
                )
        if gates.max_abs is not None and not total.max_abs <= gates.max_abs:
            failed.append(f"largest error {total.max_abs:.3g} is above {gates.max_abs:.3g} (graph {total.worst})")
        return failed

    def check(self, gates: Gates) -> None:
        """Raise where a gate is not met.

        Raises:
            GateFailed: lists every gate that failed and the step with the largest error.
        """
        failed = self.failures(gates)
        if failed:
            steps = ", ".join(f"{s.stage} {s.max_abs:.3g}" for s in self.steps)
            raise GateFailed(
                f"{self.artifact}: {'; '.join(failed)}. Largest error by step: {steps or 'not told apart'}."
            )

    def summary(self) -> dict[str, Any]:
        """For the manifest of the artifact."""
        total = self.total
        return {
            "graphs": self.graphs, "rows": total.rows, "agreement": total.agreement, "max_abs": _finite(total.max_abs),
            "accuracy_reference": total.accuracy_before, "accuracy": total.accuracy_after,
            "max_abs_by_stage": {s.stage: _finite(s.max_abs) for s in self.steps},
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {"artifact": self.artifact, "graphs": self.graphs, "stages": [stage.to_json() for stage in self.stages]}


@dataclass(slots=True)
class ParityCheck:
    """Compares artifacts with one PyG model on one data set; what the model and each Graph answer is computed once.

    Args:
        model: torch module in eval mode.
        data: torch_geometric Data objects; y, where there, are class labels.
        batch_size: graphs that are fed side by side.
        mask: node classifiers are judged on the nodes that this attribute selects, where the data has it.
    """

    model: Any
    data: Sequence[Any]
    batch_size: int = 1
    mask: str = "test_mask"
    progress: Callable[[str], None] = lambda line: None
    _batches: list[_Batch] = field(default_factory=list, init=False)
    _answers: dict[int, tuple[object, list[tuple[Array, ...]]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not self.data:
            raise InvalidInput("parity: no graphs given, expected at least one labelled graph. Check get_graphs().")
        step = max(self.batch_size, 1)
        self._batches = [_batch(self.data[i : i + step], i, self.mask) for i in range(0, len(self.data), step)]

    def report(
        self, artifact: Artifact | str | Path, graphs: Sequence[tuple[str, Graph]] = (), threads: int = 1
    ) -> ParityReport:
        """Run an artifact and compare.

        Args:
            graphs: the Graphs on the way from the model to the artifact, each with the step that made it, such as
                ("lowering", g0), ("compression", g1), ("quantization", g2). "backend" is what comes after the last.

        Raises:
            OutsideContract: a graph of the data set is not one that the artifact takes.
        """
        runtime = runtimes.load(artifact, threads=threads)
        name = Path(runtime.artifact.path).name
        self.progress(f"running {name} on {len(self.data)} graphs")
        answers = [runtime.run(batch.inputs) for batch in self._batches]
        runtime.close()
        steps = [("PyG", "PyG model", self._model_answers())]
        steps += [(stage, f"Graph after {stage}", self._graph_answers(graph)) for stage, graph in graphs]
        steps += [(BACKEND, f"{runtime.artifact.format} runtime", answers)]
        pairs = itertools.pairwise(steps) if graphs else ()
        stages = [self._compare(after[0], before, after) for before, after in pairs]
        if graphs:
            last_float = max(i for i, step in enumerate(steps[:-1]) if step[0] != QUANTIZATION)
            stages.append(self._compare(DEPLOYMENT, steps[last_float], steps[-1]))
        return ParityReport(name, len(self.data), (*stages, self._compare(TOTAL, steps[0], steps[-1])))

    def _model_answers(self) -> list[tuple[Array, ...]]:
        return self._once(self.model, lambda: [_rows(run_model(self.model, batch.data)) for batch in self._batches])

    def _graph_answers(self, graph: Graph) -> list[tuple[Array, ...]]:
        return self._once(graph, lambda: [interpret(graph, batch.inputs) for batch in self._batches])

    def _once(self, key: object, compute: Callable[[], list[tuple[Array, ...]]]) -> list[tuple[Array, ...]]:
        if id(key) not in self._answers:  # the object itself is kept too, so that its id stays its own
            self._answers[id(key)] = (key, compute())
        return self._answers[id(key)][1]

    def _compare(self, stage: str, before: _Step, after: _Step) -> StageParity:
        errors, top, same, right_before, right_after = np.zeros(len(self.data)), 0.0, [], [], []
        hits, counts = np.zeros(len(self.data)), np.zeros(len(self.data))
        for batch, reference, candidate in zip(self._batches, before[2], after[2], strict=True):
            for a, b in zip(reference, candidate, strict=True):
                if a.shape != b.shape:
                    raise InvalidInput(f"{after[1]}: output of shape {b.shape}, {before[1]} gives {a.shape}.")
                wide = np.abs(a.astype(np.float64) - b).reshape(a.shape[0], -1).max(axis=1, initial=0.0)  # [rows]
                with np.errstate(invalid="ignore"):  # what is not finite is to be carried on, not warned of
                    np.maximum.at(errors, batch.owners(a.shape[0]), wide)
                top = max(top, float(np.abs(a).max(initial=0.0)))
            a, b, owners = reference[0], candidate[0], batch.owners(reference[0].shape[0])
            if a.ndim != 2 or a.shape[1] < 2 or batch.has_numbers:
                continue
            rows = batch.rows if batch.rows is not None and len(batch.rows) == len(a) else np.ones(len(a), bool)
            class_a, class_b, owners = _classes(a)[rows], _classes(b)[rows], owners[rows]
            np.add.at(hits, owners, class_a == class_b)
            np.add.at(counts, owners, 1)
            same.append(class_a == class_b)
            if batch.labels is not None and len(batch.labels) == len(a):
                right_before.append(class_a == batch.labels[rows])
                right_after.append(class_b == batch.labels[rows])
        return StageParity(
            stage, before[1], after[1], sum(map(len, same)) or len(self.data), float(errors.max()),
            float(errors.max() / top) if top else 0.0, _mean(same), _mean(right_before), _mean(right_after),
            errors, hits / counts.clip(min=1) if same else np.array([]),
        )  # fmt: skip


_Step = tuple[str, str, list[tuple[Array, ...]]]  # stage, what computed it, outputs of each batch


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Some graphs side by side: as PyG data, as checked inputs, with labels and the rows that count."""

    data: Any
    inputs: GraphInputs
    first: int
    labels: Array | None
    rows: Array | None
    has_numbers: bool = False

    def owners(self, rows: int) -> Array:
        """Position in the data set of the graph that each output row belongs to."""
        if rows == self.inputs.num_graphs:
            return self.first + np.arange(rows)
        if rows == self.inputs.num_nodes:
            return self.first + self.inputs.graph_index
        return np.full(rows, self.first)


def _batch(part: Sequence[Any], first: int, mask: str) -> _Batch:
    data = part[0]
    if len(part) > 1:
        from torch_geometric.data import Batch

        data = Batch.from_data_list(list(part))
    labels, rows = getattr(data, "y", None), getattr(data, mask, None)
    labels = None if labels is None else np.asarray(labels).reshape(-1)
    has_numbers = labels is not None and labels.dtype.kind == "f"
    labels = labels if labels is not None and labels.dtype.kind in "iu" else None  # a number has no accuracy
    return _Batch(
        data,
        GraphInputs.from_pyg(data),
        first,
        labels,
        None if rows is None else np.asarray(rows, dtype=bool),
        has_numbers,
    )


def _rows(outputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Outputs as a Graph has them: [rows] becomes [rows, 1]."""
    return tuple(output[:, None] if output.ndim == 1 else output for output in outputs)


def _classes(output: Array) -> Array:
    """[rows] the class of each row; -1 where a value is not finite, which agrees with no class."""
    return np.where(np.isfinite(output).all(axis=1), output.argmax(axis=1), -1)


def _finite(value: float) -> float | None:
    """JSON has no number for infinity or "not a number"."""
    return value if np.isfinite(value) else None


def _mean(parts: list[Array]) -> float | None:
    return float(np.concatenate(parts).mean()) if parts else None
