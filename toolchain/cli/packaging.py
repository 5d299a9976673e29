"""package: a C artifact in, a ready CMake, Arduino, Zephyr, Android or iOS project out."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.artifact import Artifact
from toolchain.cli import options
from toolchain.cli.console import Console
from toolchain.errors import ArtifactError, OutsideContract
from toolchain.inputs import GraphInputs

KINDS = ("cmake", "arduino", "zephyr", "android", "ios")


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--for", "kind", type=click.Choice(KINDS), required=True, help="The build system.")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write; it must not exist."
)
@click.option(
    "--graphs", metavar="MODEL", help="File with get_graphs(): the self-test runs the first graph that the artifact takes. "
    "Without it, it runs a small random graph."
)  # fmt: skip
@click.option(
    "--with", "others", metavar="ARTIFACT", multiple=True, type=click.Path(path_type=Path),
    help="The same model in another format, beside the C one (android: onnx, executorch, litert; ios: coreml). Repeat for several.",
)  # fmt: skip
@options.seed
@options.common
def package(
    console: Console, artifact: Path, kind: str, folder: Path, graphs: str | None, others: tuple[Path, ...], seed: int
) -> None:
    """Write a project around the C files of an artifact, with a self-test that repeats a run recorded on this machine.

    \b
    pocketgnn export int8.pgnn --to c --to onnx --graphs model.py -o out
    pocketgnn package out/model-c-static-int8 --for cmake --to my-model
    pocketgnn package out/model-c-static-int8 --for android --with out/model-onnx-static-int8 --to my-app
    pocketgnn package out/model-c-float32 --for ios --with out/model-coreml-float32 --to my-package
    """
    import runtimes
    from toolchain.c_artifact import c_sources
    from toolchain.exporters.packages import Companion, Sample, check_companions, synthetic_graph, write_package

    if folder.exists() or folder.is_symlink():  # said before anything is compiled
        raise ArtifactError(f"{folder}: already exists. Choose another folder, or delete it first.")
    loaded = Artifact.load(artifact)
    c_sources(loaded)
    beside = [Artifact.load(other) for other in others]
    check_companions(kind, beside)
    with console.progress() as progress:
        progress("compiling the model")
        runtime = runtimes.load(loaded)
        progress("recording a run")
        given = synthetic_graph(loaded, seed) if graphs is None else _first_graph(graphs, loaded, seed)
        graph = runtime.checked(given.x if loaded.contract.fixed_graph else given)
        sample = Sample(graph, runtime.run(graph))
        companions = [
            # a file that cannot run here is recorded with what the C model computed
            Companion(o, sample.outputs if o.format in runtimes.RUN_ELSEWHERE else runtimes.load(o).run(graph))
            for o in beside
        ]
        progress(f"writing {folder}")
        write_package(loaded, kind, folder, sample, companions)
    data = {"path": str(folder), "for": kind, "nodes": graph.num_nodes, "edges": graph.num_edges}
    console.result({"package": data}, f"{folder}  self-test: {graph.num_nodes} nodes, {graph.num_edges} edges")


def _first_graph(graphs: str, artifact: Artifact, seed: int) -> GraphInputs:
    """The first of the user's graphs that lies in the contract."""
    from toolchain.model_source import ModelSource, parts_of

    refusal: OutsideContract | None = None
    for data in parts_of(ModelSource(graphs).graphs(), seed).train:
        graph = GraphInputs.from_pyg(data)
        topologies = graph.prepare(artifact.contract.topologies).topologies
        try:
            artifact.contract.check(graph)
            artifact.contract.check_edges(max((t.num_edges for t in topologies), default=0))
            artifact.contract.check_degree(max((int(t.in_degree.max()) for t in topologies), default=0))
        except OutsideContract as error:
            refusal = refusal or error
            continue
        return graph
    raise refusal or OutsideContract(f"{graphs}: get_graphs() has no training graph. Leave out --graphs.")
