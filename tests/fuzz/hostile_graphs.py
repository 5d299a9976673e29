"""Feed exported C models with hostile graphs under sanitizers, and hold every status and output against numpy.

    python -m tests.fuzz.hostile_graphs --count 1000000
    python -m tests.fuzz.hostile_graphs --engine libfuzzer --seconds 60

A run is repeated exactly with the same --seed. It fails at the first crash, sanitizer report, unexpected status or output.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.c_tools import ZIG, compile_objects, run, sanitizing_compiler
from tests.fuzz.expectations import NOT_PREPARED, OK, Expected, expect
from tests.fuzz.hostile_inputs import MAX_OUTPUTS, Chunk, Flag, Limits, make_chunk
from tests.fuzz.models import BOUNDS, NAMES, fuzzed_graph
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_name
from toolchain.exporters import export
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret

HERE = Path(__file__).parent
CHUNK = 10_000
FLOAT_TOLERANCE = 1e-5
UNDEFINED = ("-fsanitize=undefined,float-cast-overflow", "-fno-sanitize-recover=all")


class Finding(Exception):
    """Something that must not happen, and the input that makes it happen."""


@dataclass(slots=True)
class Program:
    """A model compiled together with the runner."""

    artifact: Artifact
    graph: Graph
    path: Path
    sanitizers: str
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits.of(self.artifact, int(self.artifact.provenance["arena_bytes"]))


@dataclass(slots=True)
class Tally:
    """What a run met."""

    inputs: int = 0
    compared: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)


def build(name: str, folder: Path, compiler: Sequence[str] | None = None) -> Program:
    """Export a model and compile it with the runner: AddressSanitizer and UndefinedBehaviorSanitizer where they are.

    Models that are built in one folder share the objects of their kernels.
    """
    graph, sparse = fuzzed_graph(name)
    artifact = export(graph, "c", folder / name, bounds=BOUNDS, sparse_features=sparse)
    return compile_runner(artifact, graph, folder / f"{name}.run", compiler)


def compile_runner(artifact: Artifact, graph: Graph, output: Path, compiler: Sequence[str] | None = None) -> Program:
    """An artifact's files as they are now, with the runner."""
    command = tuple(compiler) if compiler is not None else sanitizing_compiler()
    if command is not None:
        flags: tuple[str, ...] = ("-DHAS_SANITIZER", "-fsanitize=address", *UNDEFINED)
        sanitizers = f"{command[0]} address, undefined"
    else:
        command, flags, sanitizers = ZIG, UNDEFINED, "zig undefined"
    compile_with((*command, *flags), artifact, HERE / "runner.c", output)
    return Program(artifact, graph, output, sanitizers)


def compile_with(command: Sequence[str], artifact: Artifact, harness: Path, output: Path) -> None:
    """The artifact's sources and a harness as one program."""
    common = [*command, "-std=c99", "-O1", "-g1", "-fno-omit-frame-pointer", "-ffp-contract=off"]
    sources = sorted(path for path in artifact.path.iterdir() if path.suffix == ".c")
    objects = compile_objects(common, sources, output.parent)
    macros = [f"-DMODEL=gnn_{c_name(artifact)}_model", *(f"-D{flag.name}={flag.value}u" for flag in Flag)]
    run([*common, *macros, "-I", artifact.path, harness, *objects, "-o", output], output.parent)


def feed(program: Program, count: int, seed: int, chunk_size: int = CHUNK) -> Tally:
    """Run `count` inputs.

    Raises:
        Finding: a crash, a sanitizer's report, a status that is not allowed, or an output that differs.
    """
    tally, started = Tally(), time.monotonic()
    with subprocess.Popen(
        program.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as runner:
        for first in range(0, count, chunk_size):
            rng = np.random.default_rng([seed, first])
            chunk = make_chunk(program.limits, min(chunk_size, count - first), rng)
            expected = expect(program.limits, chunk)
            place = f"seed {seed}, chunk at {first}"
            try:
                _send(runner, program.limits, chunk, expected)
                statuses = _receive(runner, 8 * len(chunk.records)).view(np.int32).reshape(-1, 2)
                widths = [output.channels for output in program.artifact.signature.outputs]
                floats = _receive(runner, 4 * int((expected.rows * widths).sum())).view(np.float32)
            except (BrokenPipeError, EOFError):
                runner.stdin.close()  # type: ignore[union-attr]  # it is a pipe
                words = runner.stderr.read().decode(errors="replace")  # type: ignore[union-attr]
                raise Finding(f"{place}: the program ended with {runner.wait()}.\n{words}") from None
            _check_statuses(chunk, expected, statuses, place)
            tally.compared += _check_outputs(program, chunk, expected, floats, widths, place)
            tally.inputs += len(statuses)
            tally.statuses.update(Counter(f"prepare {s}" for s in statuses[:, 0].tolist()))
            tally.statuses.update(Counter(f"run {s}" for s in statuses[:, 1].tolist()))
    if runner.returncode != 0:
        raise Finding(f"seed {seed}: the program ended with {runner.returncode}.")
    tally.seconds = time.monotonic() - started
    return tally


def _send(runner: subprocess.Popen[bytes], limits: Limits, chunk: Chunk, expected: Expected) -> None:
    assert runner.stdin is not None
    records = chunk.records.copy()
    records["rows"][:, : expected.rows.shape[1]] = expected.rows
    assert expected.rows.shape[1] <= MAX_OUTPUTS
    parts = [np.uint32(len(records)).tobytes(), records.tobytes()]
    for section in chunk.sections(limits.sparse):
        parts += [np.uint64(section.nbytes).tobytes(), section.tobytes()]
    runner.stdin.write(b"".join(parts))
    runner.stdin.flush()


def _receive(runner: subprocess.Popen[bytes], size: int) -> np.ndarray:
    assert runner.stdout is not None
    data = runner.stdout.read(size)
    if len(data) != size:
        raise EOFError
    return np.frombuffer(data, np.uint8)


def _check_statuses(chunk: Chunk, expected: Expected, statuses: np.ndarray, place: str) -> None:
    skipped = (chunk.records["flags"] & Flag.SKIP_PREPARE.value) != 0
    for step, made, allowed in (("prepare", statuses[:, 0], expected.prepare), ("run", statuses[:, 1], expected.run)):
        known = (made >= 0) & (made <= NOT_PREPARED)
        fine = known & allowed[np.arange(len(made)), np.where(known, made, 0)]
        if step == "prepare":
            fine |= skipped
        if not fine.all():
            number = int(np.flatnonzero(~fine)[0])
            raise Finding(
                f"{place}, input {number}: {step} gave status {made[number]}, allowed are {np.flatnonzero(allowed[number])}.\n"
                f"{chunk.records[number]}, faults {chunk.faults[number]}; {int((~fine).sum())} such inputs in the chunk."
            )


def _check_outputs(
    program: Program, chunk: Chunk, expected: Expected, floats: np.ndarray, widths: list[int], place: str
) -> int:
    """Compare all accepted inputs at once: they lie side by side as one batch. Integers exactly, floats by the largest."""
    accepted = np.flatnonzero(expected.accepted)
    if not len(accepted):
        return 0
    graph = _side_by_side(program.limits, chunk, accepted)
    with np.errstate(over="ignore", invalid="ignore"):  # huge values, which are not compared as floats
        wanted = interpret(program.graph, graph)
    exact = program.artifact.precision == "static-int8"
    comparable = chunk.is_comparable | (exact and not program.limits.sparse)  # codes are clamped, whatever x is
    at, made = 0, [[] for _ in widths]  # type: list[list[np.ndarray]]
    for rows in expected.rows[accepted].tolist():
        for output, (count, width) in enumerate(zip(rows, widths, strict=True)):
            made[output].append(floats[at : at + count * width])
            at += count * width
    for output, width in enumerate(widths):
        ours = np.concatenate(made[output]).reshape(-1, width)
        theirs = wanted[output]
        compared = np.repeat(comparable[accepted], expected.rows[accepted, output])
        if exact:
            wrong = (ours.view(np.uint32) != theirs.view(np.uint32)).any(1)
        else:
            largest = np.abs(theirs[compared]).max(initial=1e-6)
            with np.errstate(invalid="ignore"):  # infinities of the huge
                wrong = ~(np.abs(ours - theirs) <= FLOAT_TOLERANCE * largest).all(1)
        if (wrong & compared).any():
            row = int(np.flatnonzero(wrong & compared)[0])
            number = int(accepted[np.searchsorted(np.cumsum(expected.rows[accepted, output]), row, side="right")])
            raise Finding(
                f"{place}, input {number}: output {output} is {ours[row]}, expected {theirs[row]}.\n"
                f"{chunk.records[number]}, faults {chunk.faults[number]}"
            )
    return int(comparable[accepted].sum())


def _side_by_side(limits: Limits, chunk: Chunk, accepted: np.ndarray) -> GraphInputs:
    chosen = np.zeros(len(chunk.records), bool)
    chosen[accepted] = True
    records, node_owner, edge_owner = chunk.records, chunk.node_owner, chunk.edge_owner
    nodes, edges = chosen[node_owner], chosen[edge_owner]
    first_node = np.cumsum(np.where(chosen, records["num_nodes"], 0).astype(np.int64)) - records["num_nodes"]
    first_graph = np.cumsum(np.where(chosen, records["num_graphs"], 0).astype(np.int64)) - records["num_graphs"]
    owner = edge_owner[edges]
    edge_index = np.stack([chunk.source[edges], chunk.target[edges]]).astype(np.int64) + first_node[owner]
    batch = np.where(records["flags"][node_owner[nodes]] & Flag.NO_BATCH.value, 0, chunk.batch[nodes]).astype(np.int64)
    weight = chunk.weight[edges] if limits.weighted else None
    attr = chunk.edge_attr[edges] if limits.edge_features else None
    types = chunk.edge_type[edges] if limits.typed else None
    total = int(records["num_graphs"][accepted].sum())
    return GraphInputs(
        chunk.dense[nodes], edge_index, weight, attr, batch + first_graph[node_owner[nodes]], total, types
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs over all models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=NAMES, action="append", help="by default all")
    parser.add_argument("--engine", choices=("numpy", "libfuzzer"), default="numpy")
    parser.add_argument("--seconds", type=int, default=60, help="of libfuzzer, over all models")
    options = parser.parse_args(arguments)
    names = options.model or list(NAMES)
    from tests.fuzz import libfuzzer  # builds on this file

    if options.engine == "libfuzzer" and not libfuzzer.is_there():
        parser.error(
            "clang does not link libFuzzer and AddressSanitizer here: install clang and libclang-rt-VERSION-dev"
        )
    with tempfile.TemporaryDirectory(prefix="pocketgnn-fuzz-") as scratch:
        for name in names:
            if options.engine == "libfuzzer":
                seconds = options.seconds // len(names) or 1
                print(f"{name}: {libfuzzer.fuzz(name, Path(scratch), seconds, options.seed)}", flush=True)
                continue
            program = build(name, Path(scratch))
            try:
                tally = feed(program, -(-options.count // len(names)), options.seed)
            except Finding as finding:
                print(f"{name}: {finding}", file=sys.stderr)
                return 1
            print(
                f"{name} ({program.sanitizers}): {tally.inputs:,} inputs in {tally.seconds:.0f} s, none crashed; "
                f"{tally.statuses[f'run {OK}']:,} accepted, outputs of {tally.compared:,} compared. "
                + ", ".join(f"{status}: {n:,}" for status, n in sorted(tally.statuses.items())),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
