"""Exported C against whoever means it harm: hostile graphs, hostile names, strict compilers, two models and threads at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import runtimes
from tests.c_tools import STRICT, ZIG, compile_objects, host_compilers, private_cache, run, sanitizing_compiler
from tests.fuzz import libfuzzer
from tests.fuzz.hostile_graphs import Finding, build, compile_runner, feed
from tests.fuzz.models import BOUNDS, NAMES, fuzzed_graph
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_name
from toolchain.errors import InvalidInput
from toolchain.exporters import export
from toolchain.exporters.c import literals
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.ir.ops import Const

FUZZ = Path(__file__).parent.parent / "fuzz"
HOSTILE = {
    "the end of a comment": "*/ int escaped = 1; /*",
    "an end in pieces": "*\\\n/ int escaped = 1;",
    "a trigraph": "??/",
    "a trigraph before a line's end": "??/\n#error escaped",
    "a continued line": "a\\",
    "a directive": "\n#error escaped\n",
    "other line ends": "a\r#error\u2028#error\x0b\x0c\x85",
    "quotes": '"\'`"); int escaped(void) { return 0; } //',
    "an attribute": "__attribute__((constructor))",
    "a keyword": "int",
    "a macro": "__FILE__ NULL GNN_OK",
    "a format": "%s%n%99999d{}{0}",
    "unicode": "naïve ☃ 𝔘 \u202ereversed",
    "control characters": "\x00\x07\x1b[31m",
    "10,000 characters": "x" * 10_000,
    "10,000 comment ends": "*/" * 5_000,
    "nothing": "",
}
# names that our own headers and functions have in them
OUR_NAMES = ("kernels", "fixed", "state", "math", "prepare", "run", "model", "gnn", "graph", "linear_s8", "status")
QUICK = next(command for name in ("gcc", "clang", "zig") if (command := host_compilers().get(name)))
# objects for Linux that are not relocated
QUICK_LINUX = (*(("-target", "x86_64-linux-musl") if QUICK == ZIG else ()), "-fno-pic", "-fno-pie")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        private_cache(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs are built, so that they share objects."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Every fuzzed model as C."""
    folder = tmp_path_factory.mktemp("hostile")
    made = {}
    for name in NAMES:
        graph, sparse = fuzzed_graph(name)
        made[name] = export(graph, "c", folder / name, bounds=BOUNDS, sparse_features=sparse)
    return made


def sources_of(artifacts: Iterable[Artifact]) -> list[Path]:
    """model.c of each artifact, and every kernel once."""
    paths = [path for artifact in artifacts for path in sorted(artifact.path.glob("*.c"))]
    kernels = {path.name: path for path in paths if path.name != "model.c"}
    return [*(path for path in paths if path.name == "model.c"), *kernels.values()]


# --- hostile graphs ---


@pytest.mark.parametrize("name", NAMES)
def test_hostile_graphs_get_a_status_and_others_the_outputs_of_the_interpreter(name: str, folder: Path) -> None:
    """Under AddressSanitizer and UndefinedBehaviorSanitizer; `python -m tests.fuzz.hostile_graphs` runs a million."""
    tally = feed(build(name, folder), 3_000, seed=1, chunk_size=1_000)

    assert tally.inputs == 3_000
    assert tally.compared > 1_000
    met = {int(status.split()[1]) for status in tally.statuses}
    assert met >= {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11}


@pytest.mark.parametrize(
    ("file", "text", "sabotage"),
    [
        ("gnn_prepare_topology.c", "source >= num_nodes || target >= num_nodes", "0"),
        ("gnn_prepare_topology.c", "degree > max_degree", "0"),
        ("gnn_prepare_graphs.c", "g < previous || g >= graph->num_graphs", "0"),
        ("gnn_run_start.c", "state->model != gnn_seal(state, id)", "0"),
        ("model.c", "{\n    0x", "{\n    -0x"),
    ],
)
def test_the_harness_notices_a_missing_check_and_a_wrong_number(
    file: str, text: str, sabotage: str, folder: Path, tmp_path: Path
) -> None:
    graph, _ = fuzzed_graph("weighted")
    artifact = export(graph, "c", tmp_path / "weighted", bounds=BOUNDS)
    whole = (artifact.path / file).read_text()
    assert text in whole
    (artifact.path / file).write_text(whole.replace(text, sabotage))
    command = sanitizing_compiler()
    if command is None:
        pytest.skip("no compiler with AddressSanitizer (gcc, or clang with its runtime)")
    program = compile_runner(artifact, graph, folder / "sabotaged.run", (*command, "-Wno-unused"))

    with pytest.raises(Finding):
        feed(program, 4_000, seed=3, chunk_size=1_000)


def test_coverage_guided_inputs_find_nothing(folder: Path) -> None:
    if not libfuzzer.is_there():
        pytest.skip("clang with libFuzzer and AddressSanitizer is not installed")

    assert "DONE" in libfuzzer.fuzz("sparse", folder, seconds=2)


# --- strict compilers, no state ---


@pytest.mark.parametrize("compiler", sorted(host_compilers()))
def test_generated_code_compiles_without_a_warning(
    compiler: str, artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    """Alone, and as one file with its kernels, which their own tests compile as well."""
    models = [artifact.model_path for artifact in artifacts.values()]
    command = [*host_compilers()[compiler], *STRICT, "-pedantic", "-O1"]

    compile_objects(command, models, tmp_path)
    compile_objects([*command, "-DGNN_ONE_FILE"], models, tmp_path)


def test_nothing_is_kept_between_calls(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    """No object has memory that can be written. Without -fPIC, so that constant pointers need no relocation."""
    written = {}
    for path in compile_objects([*QUICK, *QUICK_LINUX, *STRICT, "-O1"], sources_of(artifacts.values()), tmp_path):
        with open(path, "rb") as stream:
            for section in ELFFile(stream).iter_sections():
                if section["sh_flags"] & 1 and section["sh_flags"] & 2 and section["sh_size"]:  # SHF_WRITE, SHF_ALLOC
                    written[f"{path.stem} {section.name}"] = section["sh_size"]
    assert written == {}


# --- many models ---


def recorded(name: str, artifact: Artifact, prefix: str) -> str:
    """A run of a model as C arrays, with what the built library computes for it."""
    rng = np.random.default_rng(5)
    edges = np.stack([rng.integers(0, 9, 16), np.arange(16) % 9])
    x = rng.standard_normal((9, artifact.contract.features), np.float32)
    weight = rng.uniform(0.5, 1, 16).astype(np.float32) if artifact.contract.edge_weight else None
    graph = GraphInputs(x, edges, weight)
    (output,) = runtimes.load(artifact).run(graph)
    arrays = {"source": edges[0].astype(np.uint16), "target": edges[1].astype(np.uint16), "x": x, "expected": output}
    if weight is not None:
        arrays["weight"] = weight
    text = [literals.array(f"{prefix}_{key}", array) for key, array in arrays.items()]
    weights = f"{prefix}_weight" if weight is not None else "NULL"
    text += [
        f"static const gnn_graph {prefix}_graph = {{9, 16, 1, {prefix}_source, {prefix}_target, NULL, {weights}, NULL}};",
        f"static const gnn_features {prefix}_features = {{{prefix}_x, NULL, NULL, NULL}};",
        f"extern const gnn_model gnn_{c_name(artifact)}_model;",
        f"#define {prefix.upper()} {{&gnn_{c_name(artifact)}_model, &{prefix}_graph, &{prefix}_features, {prefix}_expected, "
        f"{output.size}, 0}}",
    ]
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("as_one_file", [False, True], ids=["kernels linked once", "kernels of their own"])
def test_two_models_in_one_program_run_on_threads_at_once(
    as_one_file: bool, artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    """ThreadSanitizer, where it is, sees whether anything is shared."""
    first, second = artifacts["weighted"], artifacts["integer"]
    (tmp_path / "jobs.h").write_text(recorded("weighted", first, "first") + recorded("integer", second, "second"))
    sanitizing = sanitizing_compiler()
    common = [
        *(QUICK if sanitizing is None else (*sanitizing, "-fsanitize=thread")),
        "-std=c99",
        "-O1",
        "-ffp-contract=off",
        *(["-DGNN_ONE_FILE"] if as_one_file else []),
    ]
    sources = [first.model_path, second.model_path] if as_one_file else sources_of((first, second))
    objects = compile_objects(common, sources, tmp_path)
    run(
        [*common, "-pthread", "-I", tmp_path, "-I", first.path, FUZZ / "two_models.c", *objects, "-o", "program"],
        tmp_path,
    )

    assert run([tmp_path / "program"], tmp_path) == ""


def test_an_arena_of_one_model_is_refused_by_another(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    """Both take the same features; only the mark on the arena tells them apart."""
    graph, _ = fuzzed_graph("integer")
    other = export(
        replace(graph, name="other", values=graph.values),
        "c",
        artifacts["integer"].path.parent / "other",
        bounds=BOUNDS,
    )
    mine, theirs = runtimes.load(artifacts["integer"]), runtimes.load(other)
    inputs = GraphInputs(np.ones((3, other.contract.features), np.float32), np.array([[0, 1], [1, 2]]))
    feeds = mine.prepare(inputs)

    with pytest.raises(InvalidInput, match="holds no prepared graph"):
        theirs.run_feeds(dict(feeds))


# --- hostile names ---


def without_comments(artifact: Artifact) -> str:
    """model.c and model.h as a compiler reads them, apart from the model's id. The text has no character that hides a comment."""
    text = "".join((artifact.path / file).read_text() for file in ("model.h", "model.c"))
    assert "\\" not in text and "??" not in text and "'" not in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r'("[^"\n]*")|/\*.*?\*/', lambda found: found[1] or " ", text, flags=re.DOTALL)
    assert "//" not in text
    return " ".join(re.sub(r"\bMODEL_ID \d+u", "MODEL_ID", text).split())


def renamed(graph: Graph, text: str) -> Graph:
    """Every module path and stored tensor of a graph called by hostile text."""
    constants = {f"{text}{i}": array for i, array in enumerate(graph.constants.values())}
    names = dict(zip(graph.constants, constants, strict=True))
    values = tuple(
        replace(v, scope=text, op=replace(v.op, name=names[v.op.name]) if isinstance(v.op, Const) else v.op)
        for v in graph.values
    )
    return replace(graph, values=values, constants=constants)


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("model", ["attributed", "integer"])
def test_names_of_layers_stay_in_comments(model: str, what: str, tmp_path: Path) -> None:
    """-std=c99 reads trigraphs. Whatever layers are called, the code between the comments is the same."""
    graph, _ = fuzzed_graph(model)
    plain = export(graph, "c", tmp_path / "plain", bounds=BOUNDS)
    hostile = export(renamed(graph, HOSTILE[what]), "c", tmp_path / "hostile", bounds=BOUNDS)

    text = (hostile.path / "model.c").read_bytes()
    assert text.isascii()
    assert max(map(len, text.split(b"\n"))) < 400
    assert without_comments(hostile) == without_comments(plain)
    run([*QUICK, *STRICT, "-Wcomment", "-Wtrigraphs", "-O0", "-c", hostile.path / "model.c", "-o", "model.o"], tmp_path)


@pytest.mark.parametrize("name", [*HOSTILE.values(), *OUR_NAMES], ids=[*HOSTILE, *OUR_NAMES])
def test_names_of_models_become_identifiers_of_their_own(name: str, tmp_path: Path) -> None:
    graph, _ = fuzzed_graph("integer")
    artifact = export(replace(graph, name=name), "c", tmp_path / "named", bounds=BOUNDS)

    assert re.fullmatch(r"[a-z][a-z0-9_]{0,47}", c_name(artifact))
    run([*QUICK, *STRICT, "-O0", "-c", artifact.path / "model.c", "-o", "model.o"], tmp_path)


def test_a_model_with_a_hostile_name_runs(tmp_path: Path) -> None:
    graph, _ = fuzzed_graph("integer")
    artifact = export(replace(graph, name=HOSTILE["quotes"]), "c", tmp_path / "named", bounds=BOUNDS)
    inputs = GraphInputs(np.ones((3, artifact.contract.features), np.float32), np.array([[0, 1], [1, 2]]))

    for ours, theirs in zip(runtimes.load(artifact).run(inputs), interpret(graph, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
