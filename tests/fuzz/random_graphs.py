"""Graphs drawn at random, each exported to every format and compared with the interpreter: what no list of models would contain.

    python -m tests.fuzz.random_graphs --count 200 [--seed 0] [--format onnx --format c ...] [--precision static-int8]

draws Graphs of 8 to 24 ops over one to three topologies: any op in any order that its types allow. Each runs on graphs of several
sizes, one without edges among them. A difference beyond the limit of its precision ends in the seed and the text of the Graph,
and the program exits with 1. A format may refuse what it cannot do (an ExportError), which is counted; anything else is a defect.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

import runtimes
from tests.every_op import random_inputs
from toolchain.compression import DynamicInt8, Float16, StaticInt8, quantize
from toolchain.errors import ExportError, QuantizationRefused
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, interpret, ops
from toolchain.ir.attributes import PROPAGATED, End, Extent, Function, Reduce, Role, RowFactor
from toolchain.ir.types import Domain, TensorType, edge, node
from toolchain.topology import LoopAttributes, Normalization, SelfLoops, TopologySpec

FORMATS = ("onnx", "litert", "torchscript", "c", "executorch")
LIMITS = {
    "float32": 1e-4,
    "float16": 1e-4,
    "dynamic-int8": 0.1,
    "static-int8": 0.1,
}  # of the largest magnitude of an output
BOUNDS = Bounds(nodes=80, edges=400, graphs=3, degree=60)
SHAPES = ((9, 24, 1), (40, 90, 1), (12, 30, 3), (5, 0, 1), (1, 0, 1))  # nodes, edges, graphs
SMOOTH = (
    Function.RELU,
    Function.LEAKY_RELU,
    Function.ELU,
    Function.GELU,
    Function.GELU_TANH,
    Function.SIGMOID,
    Function.TANH,
)


class Draft:
    """A Graph that grows by ops drawn at random."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.builder = GraphBuilder(tuple(self.topology() for _ in range(self.draw.randint(1, 3))))
        self.values = [self.builder.add(ops.Input(Role.X, node(4)))]
        with_attributes = [
            number
            for number, spec in enumerate(self.builder.topologies)
            if spec.loop_attributes is not LoopAttributes.NONE
        ]
        self.values += [self.builder.add(ops.Input(Role.EDGE_ATTR, edge(3, number))) for number in with_attributes]

    def topology(self) -> TopologySpec:
        loops = self.draw.choice(list(SelfLoops))
        return TopologySpec(
            loops,
            self.draw.choice((Normalization.NONE, Normalization.SYMMETRIC, Normalization.SYMMETRIC_OUT)),
            weighted=self.draw.random() < 0.4,
            loop_weight=self.draw.choice((1.0, 1.0, 2.0)),
            loop_attributes=LoopAttributes.MEAN if loops is SelfLoops.REPLACE else LoopAttributes.NONE,
            reversed=self.draw.random() < 0.3,
        )

    def const(self, *shape: int, positive: bool = False) -> int:
        values = self.numbers.normal(size=shape) / np.sqrt(shape[-1] if len(shape) > 1 else 1)
        name = f"c{len(self.builder.values)}"
        return self.builder.const(name, np.abs(values) + 0.5 if positive else values, trainable=not positive)

    def pick(self, *domains: Domain) -> int | None:
        """A value of these domains, more likely a late one."""
        found = [value for value in self.values if self.builder.type(value).domain in domains]
        return found[min(int(self.draw.expovariate(0.7)), len(found) - 1) * -1 - 1] if found else None

    def add(self, op: ops.Op, *operands: int) -> int:
        return self.builder.add(op, *operands)

    def grow(self) -> None:
        """One more op, if there is a value that it takes."""
        kinds = [name for name in dir(self) if name.startswith("draw_")]
        kind = self.draw.choice([*kinds, "draw_linear", "draw_linear", "draw_propagate", "draw_propagate"])
        value: int | None = getattr(self, kind)()
        if value is None:
            return
        if self.draw.random() < 0.5:  # values stay in a range that 8 bits can hold
            value = self.add(ops.Activation(Function.TANH), value)
        self.values.append(value)

    def draw_linear(self) -> int | None:
        x = self.pick(Domain.NODE, Domain.NODE, Domain.EDGE, Domain.GRAPH)
        if x is None:
            return None
        kind, outputs = self.builder.type(x), self.draw.choice((1, 2, 4, 8, 13, 16))
        factor = None
        if kind.domain is Domain.NODE and self.draw.random() < 0.2:
            factor = RowFactor(self.draw.randrange(len(self.builder.topologies)), self.draw.choice(list(End)))
        bias = [self.const(outputs)] if self.draw.random() < 0.6 else []
        activation = self.draw.choice((None, Function.RELU))
        return self.add(ops.Linear(activation, factor), x, self.const(outputs, kind.channels), *bias)

    def draw_propagate(self) -> int | None:
        x = self.pick(Domain.NODE)
        assert x is not None
        topology, names = self.draw.randrange(len(self.builder.topologies)), []
        channels, operands = self.builder.type(x).channels, [x]
        weights = [value for value in self.values if self.fits_heads(self.builder.type(value), topology, channels)]
        if weights and self.draw.random() < 0.6:
            names, operands = [*names, "weight"], [*operands, self.draw.choice(weights)]
        for name, shape in (("self_scale", 1), ("bias", channels)):
            if self.draw.random() < 0.4:
                names, operands = [*names, name], [*operands, self.const(shape)]
        activation = self.draw.choice((None, Function.RELU))
        return self.add(ops.Propagate(topology, self.draw.choice(PROPAGATED), tuple(names), activation), *operands)

    @staticmethod
    def fits_heads(kind: TensorType, topology: int, channels: int) -> bool:
        return kind.domain is Domain.EDGE and kind.topology == topology and channels % kind.channels == 0

    def draw_gather(self) -> int | None:
        x = self.pick(Domain.NODE)
        assert x is not None
        return self.add(ops.Gather(self.draw.randrange(len(self.builder.topologies)), self.draw.choice(list(End))), x)

    def draw_aggregate(self) -> int | None:
        x = self.pick(Domain.EDGE)
        reduce = self.draw.choice((*PROPAGATED, *PROPAGATED, Reduce.PRODUCT))
        return None if x is None else self.add(ops.Aggregate(reduce, self.draw.choice(list(End))), x)

    def draw_edge_softmax(self) -> int | None:
        x = self.pick(Domain.EDGE)
        return None if x is None else self.add(ops.EdgeSoftmax(), x)

    def draw_heads(self) -> int | None:
        x = self.pick(Domain.NODE, Domain.EDGE)
        assert x is not None
        channels = self.builder.type(x).channels
        heads = self.draw.choice([h for h in (1, 2, 4) if channels % h == 0])
        if self.draw.random() < 0.5:
            return self.add(ops.HeadMean(heads), x)
        return self.add(ops.HeadDot(), x, self.const(heads, channels // heads))

    def draw_pool(self) -> int | None:
        x = self.pick(Domain.NODE)
        assert x is not None
        return self.add(ops.Pool(self.draw.choice(PROPAGATED)), x)

    def draw_broadcast(self) -> int | None:
        x = self.pick(Domain.GRAPH)
        return None if x is None else self.add(ops.Broadcast(), x)

    def draw_binary(self) -> int | None:
        a = self.pick(Domain.NODE, Domain.EDGE, Domain.GRAPH)
        assert a is not None
        kind = self.builder.type(a)
        partners = [value for value in self.values if self.goes_with(self.builder.type(value), kind)]
        op = self.draw.choice((ops.Add(), ops.Add(Function.RELU), ops.Sub(), ops.Mul(), ops.Maximum(), ops.Div()))
        if isinstance(op, ops.Div):
            return self.add(op, a, self.const(self.draw.choice((1, kind.channels)), positive=True))
        other = self.draw.choice(partners) if self.draw.random() < 0.8 else self.const(kind.channels)
        return self.add(op, *((a, other) if self.draw.random() < 0.5 else (other, a)))

    @staticmethod
    def goes_with(kind: TensorType, other: TensorType) -> bool:
        same = (kind.domain, kind.topology) == (other.domain, other.topology)
        return same and (kind.channels == other.channels or 1 in (kind.channels, other.channels))

    def draw_activation(self) -> int | None:
        x = self.pick(Domain.NODE, Domain.EDGE, Domain.GRAPH)
        assert x is not None
        return self.add(ops.Activation(self.draw.choice(SMOOTH), self.draw.choice((0.01, 0.2))), x)

    def draw_rows(self) -> int | None:
        """What looks at all channels of a row: softmax, norms, slices, concatenation."""
        x = self.pick(Domain.NODE, Domain.EDGE, Domain.GRAPH)
        assert x is not None
        kind, choice = self.builder.type(x), self.draw.randrange(5)
        affine = (self.const(kind.channels), self.const(kind.channels))
        if choice == 0:
            return self.add(ops.LogSoftmax(log=self.draw.random() < 0.5), x)
        if choice == 1:
            extent = self.draw.choice(list(Extent)) if kind.domain is Domain.NODE else Extent.ROW
            return self.add(ops.LayerNorm(eps=0.1, extent=extent, eps_outside=self.draw.random() < 0.5), x, *affine)
        if choice == 2:
            statistics = self.const(kind.channels), self.const(kind.channels, positive=True)
            return self.add(ops.BatchNorm(), x, *affine, *statistics)
        if choice == 3 and kind.channels > 1:
            start = self.draw.randrange(kind.channels - 1)
            return self.add(ops.Slice(start, self.draw.randint(start + 1, kind.channels)), x)
        same = [
            v for v in self.values if (t := self.builder.type(v)).domain is kind.domain and t.topology == kind.topology
        ]
        return self.add(ops.Concat(), x, *self.draw.choices(same, k=self.draw.randint(1, 2)))


def random_graph(seed: int) -> Graph:
    """The Graph of a seed."""
    draft = Draft(seed)
    for _ in range(draft.draw.randint(8, 24)):
        draft.grow()
    used = {operand for value in draft.builder.values for operand in value.inputs}
    outputs = [value for value in draft.values[1:] if value not in used]  # all that was drawn is computed
    return replace(draft.builder.finish(outputs or draft.values[-1:]), name=f"random_{seed}")


def inputs_of(graph: Graph, seed: int) -> list[GraphInputs]:
    """One graph of each shape; without edges where no output is a value of edges."""
    has_edge_outputs = any(graph.values[output].type.domain is Domain.EDGE for output in graph.outputs)
    shapes = [shape for shape in SHAPES if shape[1] or not has_edge_outputs]
    return [random_inputs(n, e, graphs=g, seed=seed) for n, e, g in shapes]


@dataclass(frozen=True, slots=True)
class Finding:
    """One Graph in one precision and format: "equal", "refused", "OFF" or "FAILED"."""

    seed: int
    precision: str
    format: str
    verdict: str
    text: str
    worst: float = 0.0


def compressed(graph: Graph, precision: str, seed: int) -> Graph:
    """In a precision; widths of static int8 vary with the seed."""
    if precision == "float32":
        return graph
    if precision == "float16":
        return quantize(graph, Float16(least=1))
    if precision == "dynamic-int8":
        return quantize(graph, DynamicInt8())
    draw = random.Random(seed)
    calibration = [random_inputs(n, 3 * n, seed=n) for n in range(8, 40, 4)] + inputs_of(graph, seed)
    method = StaticInt8(
        calibration, mode=draw.choice(("int8", "sums-int16", "all-int16")), min_agreement=0.0, calibration="minmax",
        edge_arithmetic=draw.choice(("float", "integer")), max_degree=100,
    )  # fmt: skip
    return quantize(graph, method)


def differences(graph: Graph, format: str, seed: int, folder: Path) -> Iterator[float]:
    """Largest difference from the interpreter over the largest magnitude, for every output and input.

    Magnitudes below 0.1 count as 0.1: such an output is what is left of larger numbers that cancel.
    """
    options = {"bounds": BOUNDS} if format in ("c", "executorch") else {}
    runtime = runtimes.load(export(graph, format, folder / "model", overwrite=True, **options))
    for inputs in inputs_of(graph, seed):
        for ours, expected in zip(runtime.run(inputs), interpret(graph, inputs), strict=True):
            if not np.isfinite(ours).all() or ours.shape != expected.shape:
                yield np.inf
            else:
                yield float(np.abs(ours - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 0.1))


def compared(seed: int, precision: str, formats: tuple[str, ...], folder: Path) -> Iterator[Finding]:
    """What each format makes of the Graph of a seed."""
    try:
        graph = compressed(random_graph(seed), precision, seed)
    except QuantizationRefused as error:
        yield Finding(seed, precision, "", "refused", str(error))
        return
    except Exception as error:  # whatever it is, it is what we look for
        yield Finding(seed, precision, "", "FAILED", f"{type(error).__name__}: {error}")
        return
    for format in formats:
        try:
            worst = max(differences(graph, format, seed, folder), default=0.0)
        except ExportError as error:
            yield Finding(seed, precision, format, "refused", str(error))
        except Exception as error:  # as above
            yield Finding(seed, precision, format, "FAILED", f"{type(error).__name__}: {error}\n{graph}")
        else:
            verdict = "equal" if worst <= LIMITS[precision] else "OFF"
            yield Finding(seed, precision, format, verdict, str(graph) if verdict == "OFF" else "", worst)


@click.command(help=__doc__)
@click.option("--count", default=100, show_default=True, help="Graphs per format and precision.")
@click.option("--seed", "first", default=0, show_default=True, help="Of the first graph.")
@click.option("--format", "formats", type=click.Choice(FORMATS), multiple=True, default=FORMATS[:4], show_default=True)
@click.option("--precision", "precisions", type=click.Choice(list(LIMITS)), multiple=True, default=tuple(LIMITS))
def main(count: int, first: int, formats: tuple[str, ...], precisions: tuple[str, ...]) -> None:
    found: dict[tuple[str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="pocketgnn-random-") as folder:
        for seed, precision in itertools.product(range(first, first + count), precisions):
            for finding in compared(seed, precision, formats, Path(folder)):
                found.setdefault((precision, finding.format, finding.verdict), []).append(finding.worst)
                if finding.verdict != "equal":
                    click.echo(
                        f"{finding.verdict} seed {seed} {precision} {finding.format} {finding.worst:.2g} {finding.text}"
                    )
    for (precision, format, verdict), worst in sorted(found.items()):
        click.echo(f"{precision:12s} {format:12s} {verdict:8s} {len(worst):5d}, largest difference {max(worst):.1e}")
    sys.exit(any(verdict.isupper() for _, _, verdict in found))


if __name__ == "__main__":
    main()
