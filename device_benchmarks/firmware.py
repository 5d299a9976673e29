"""build_firmware: a C artifact and a target in, an image with start-up code, the protocol and the model out."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from device_benchmarks.elf_image import ElfImage, Symbol, read_elf
from device_benchmarks.target import Target
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_name, c_sources
from toolchain.errors import ArtifactError, DoesNotFit, MissingDependency
from toolchain.inputs import GraphInputs

CompilerName = Literal["zig", "gcc"]

# Value-safe flags only: floats are bit-equal on every target, so nothing may be contracted or reordered.
COMMON_FLAGS = (
    "-std=c99", "-ffp-contract=off", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables", "-fno-exceptions", "-fno-stack-protector", "-fomit-frame-pointer",
)  # fmt: skip
COMPILER_FLAGS = {
    "zig": ("-fno-sanitize=all",),
    "gcc": ("-fipa-pta", "-fno-tree-loop-distribute-patterns"),  # the latter: no call of memset inside memset
}
SIZE_FLAGS = ("-Os",)
MIN_STACK_BYTES = 256
PAINT_BYTES = 16384  # of the stack at most: a model takes some hundred bytes of it
BLOCK_BYTES = {True: 2048, False: 32}  # of the input in one line: with an operating system, and without
IMAGE = "image.elf"
BUILD_SECONDS = 600  # zig builds its run-time library at the first link for a processor
FIRMWARE = Path(__file__).parent.parent / "runtimes" / "c" / "firmware"
INCLUDES = (FIRMWARE, FIRMWARE / "freestanding")
_ROOM = 1 << 26  # of each memory at the link; what really fits is checked afterwards, with the names of what is large


@dataclass(frozen=True, slots=True)
class FirmwareImage:
    """A built image.

    Attributes:
        model: the <name> of gnn_<name>_run.
        compiler: its name and version; flags: those of the model's sources.
        build: first 8 bytes of the sha256 of model.c, which the image tells its host.
    """

    target: Target
    elf: ElfImage
    model: str
    compiler: str
    flags: tuple[str, ...]
    build: bytes

    @property
    def stack_room_bytes(self) -> int:
        """RAM that is left for the stack."""
        return self.target.ram_bytes - self.elf.ram_bytes


def build_firmware(
    artifact: Artifact, target: Target, folder: Path, *, compiler: CompilerName | None = None,
    sparse_features: GraphInputs | None = None, model_flags: Sequence[str] | None = None,
) -> FirmwareImage:  # fmt: skip
    """Compile and link an image.

    Args:
        folder: where the sources, objects and image.elf go; it must exist.
        compiler: "gcc" is the target's cross compiler, "zig" that of the ziglang package; by default gcc where installed.
        sparse_features: the graph whose features are stored in the image, for a model that reads sparse features.
        model_flags: optimization of the model and its kernels, instead of those of the target. The rest is compiled for size.

    Raises:
        DoesNotFit: the image or its data are larger than the target's memories.
        ArtifactError: not an artifact for this target, or its sources do not compile.
        MissingDependency: the compiler is not installed.
    """
    if artifact.format not in target.formats:
        raise ArtifactError(
            f"{artifact.path}: format {artifact.format!r}, {target.name} runs {', '.join(target.formats)}. "
            "Export the model with --to c."
        )
    name, sources = c_name(artifact), c_sources(artifact)
    build = hashlib.sha256(sources[artifact.model_file]).digest()[:8]
    chosen = compiler or default_compiler(target)
    command = compiler_command(chosen, target)
    model_flags = model_flags or target.compile.optimize
    header = model_header(artifact, target.board.name, BLOCK_BYTES[target.board.is_hosted], build)
    generated = {"firmware_model.h": header.encode()}
    if artifact.provenance.get("sparse_features"):
        generated["firmware_features.c"] = _features_source(artifact, sparse_features).encode()
    for file, content in {**sources, **generated}.items():
        (folder / file).write_bytes(content)
    select = getattr(target.compile, chosen)
    common = [
        *command,
        *select,
        *COMMON_FLAGS,
        *COMPILER_FLAGS[chosen],
        *(f"-I{path}" for path in (folder.resolve(), *INCLUDES)),
    ]
    own = [
        FIRMWARE / f"{stem}.c" for stem in ("protocol", "memory", target.board.startup, f"boards/{target.board.serial}")
    ]
    included = {
        name.decode() for name in re.findall(rb'^#include "(\w+\.c)"', sources[artifact.model_file], flags=re.M)
    }
    files = [name for name in (*sources, *generated) if name.endswith(".c") and name not in included]
    units: list[tuple[str, Sequence[str]]] = [(f"./{name}", (*model_flags, "-DGNN_ONE_FILE")) for name in files]
    units += [(str(path), (*SIZE_FLAGS, f"-DFIRMWARE_UART=0x{target.board.serial_address:X}u")) for path in own]

    def compiled(numbered: tuple[int, tuple[str, Sequence[str]]]) -> str:
        number, (file, flags) = numbered
        output = f"{number:03d}-{Path(file).stem}.o"
        run_compiler([*common, *flags, "-c", file, "-o", output], folder, Path(file).name)
        return output

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compiled, enumerate(units)))
    _link(chosen, [*command, *select], target, objects, folder)
    image = FirmwareImage(
        target, read_elf(folder / IMAGE), name, f"{chosen} {compiler_version(tuple(command))}",
        (*select, *COMMON_FLAGS, *model_flags), build,
    )  # fmt: skip
    check_fit(image)
    return image


def check_fit(image: FirmwareImage) -> None:
    """Compare an image with the memories of its target.

    Raises:
        DoesNotFit: what is needed, what there is, and the largest constants or objects.
    """
    target, elf = image.target, image.elf
    if elf.flash_bytes > target.flash_bytes:
        raise DoesNotFit(
            f"{image.model} needs {elf.flash_bytes:,} B of flash, {target.name} has {target.flash_bytes:,} B. Largest constants: "
            f"{_largest(elf.largest_constants())}. Use fewer bits for the weights, prune, or choose a larger target."
        )
    needed = elf.ram_bytes + (0 if target.board.is_hosted else MIN_STACK_BYTES)
    if needed > target.ram_bytes:
        objects = [s for s in elf.distinct_symbols() if s.section.startswith((".bss", ".data"))]
        raise DoesNotFit(
            f"{image.model} needs {needed:,} B of RAM ({MIN_STACK_BYTES} B of it for the stack), {target.name} has "
            f"{target.ram_bytes:,} B. Largest objects: {_largest(objects[:4])}. Export with a smaller max_nodes or max_edges, or "
            "choose a larger target."
        )


def default_compiler(target: Target) -> CompilerName:
    """The target's gcc where it is installed, else zig."""
    return "gcc" if shutil.which(target.compile.gcc_command) else "zig"


def compiler_command(compiler: CompilerName, target: Target) -> tuple[str, ...]:
    """How a compiler is called.

    Raises:
        MissingDependency: it is not installed.
    """
    if compiler == "gcc":
        path = shutil.which(target.compile.gcc_command)
        if path is None:
            raise MissingDependency(
                f"{target.compile.gcc_command} is not installed. Install it with your system's packages, or use --compiler zig."
            )
        return (path,)
    return zig_command()


def zig_command() -> tuple[str, ...]:
    """How the cross compiler of the ziglang package is called.

    Raises:
        MissingDependency: it is not installed.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise MissingDependency(
            "ziglang is not installed; it compiles for other processors. Install it with: pip install 'pocketgnn[native]'."
        )
    return (sys.executable, "-m", "ziglang", "cc")


def model_header(artifact: Artifact, board: str, block_bytes: int, build: bytes) -> str:
    """firmware_model.h: what the firmware must know at compile time, and the manifest knows.

    Args:
        board: how the image calls it; block_bytes: of the input in one line.
        build: first 8 bytes of the sha256 of model.c.
    """
    if artifact.contract.edge_type and not artifact.contract.fixed_graph:
        raise ArtifactError(
            f"{artifact.path}: reads edge_type, which the protocol of the firmware does not carry. Export with a fixed graph."
        )
    name, contract, is_sparse = c_name(artifact), artifact.contract, bool(artifact.provenance.get("sparse_features"))
    macro = f"GNN_{name.upper()}"
    values = {
        "MODEL": f"gnn_{name}_model",
        "NAMES": f'"{name}\\0{board}"',
        "BUILD": "{" + ", ".join(str(byte) for byte in build) + "}",
        "BLOCK": f"{block_bytes}u",
        "ARENA_BYTES": f"{macro}_ARENA_BYTES",
        "MAX_NODES": f"{macro}_MAX_NODES",
        "MAX_EDGES": f"{macro}_MAX_EDGES",
        "FEATURES": "0" if is_sparse else f"{macro}_FEATURES",
        "EDGE_FEATURES": f"{macro}_EDGE_FEATURES",
        "EDGE_WEIGHT": int(contract.edge_weight and not contract.fixed_graph),
        "BATCH": int((contract.max_graphs or 1) > 1 and not contract.fixed_graph),
        "FIXED_GRAPH": int(contract.fixed_graph),
        "X_POINTER": "firmware_x_pointer" if is_sparse else "NULL",
        "X_INDEX": "firmware_x_index" if is_sparse else "NULL",
    }
    lines = ['#include "model.h"', *(f"#define FIRMWARE_{key} {value}" for key, value in values.items())]
    if is_sparse:
        lines.append("extern const uint32_t firmware_x_pointer[];\nextern const uint16_t firmware_x_index[];")
    return "\n".join(lines) + "\n"


def _features_source(artifact: Artifact, graph: GraphInputs | None) -> str:
    """firmware_features.c: where a graph's binary features are 1."""
    if graph is None:
        raise ArtifactError(
            f"{artifact.path}: reads sparse features, which are stored in the image. Pass the graph that they belong to."
        )
    pointer, index = graph.sparse_x.pointer, graph.sparse_x.ones()
    return (
        '#include "firmware_model.h"\n'
        f"const uint32_t firmware_x_pointer[] = {{{', '.join(map(str, pointer.tolist()))}}};\n"
        f"const uint16_t firmware_x_index[] = {{{', '.join(map(str, index.tolist())) or '0'}}};\n"
    )


def _link(compiler: CompilerName, command: Sequence[str], target: Target, objects: Sequence[str], folder: Path) -> None:
    script: list[str] = []
    if not target.board.is_hosted:
        template = string.Template((FIRMWARE / "image.ld").read_text(encoding="utf-8"))
        (folder / "image.ld").write_text(
            template.substitute(
                flash_origin=hex(target.board.flash_origin), ram_origin=hex(target.board.ram_origin), room=hex(_ROOM),
                ram_bytes=hex(target.ram_bytes), paint_bytes=hex(PAINT_BYTES),
            )
        )  # fmt: skip
        script = ["-T", "image.ld"]
    line = [*command, "-nostdlib", "-Wl,--gc-sections", "-Wl,-e,reset_handler", *script, *objects, "-o", IMAGE]
    if compiler == "gcc":
        run_compiler([*line, "-lgcc"], folder, IMAGE)
        return
    try:
        run_compiler(line, folder, IMAGE)
    except ArtifactError:  # zig builds its run-time library once for every processor, so only where one is needed
        run_compiler([*line, "-Os", "-g", "-lcompiler_rt"], folder, IMAGE)


def run_compiler(command: Sequence[str], folder: Path, what: str) -> None:
    """Run a compiler in a folder.

    Raises:
        ArtifactError: it fails; with `what` was to be built and the first telling line of its own.
    """
    result = subprocess.run(
        command, cwd=folder, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"}, timeout=BUILD_SECONDS
    )
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").splitlines()
        telling = (line for line in lines if "error:" in line.lower() or "undefined" in line)
        first = next(telling, lines[0] if lines else "no message")
        raise ArtifactError(f"{what} cannot be built by {Path(command[0]).name} ({first.strip()[:300]}).")


@cache
def compiler_version(command: tuple[str, ...]) -> str:
    """The compiler's own version; that of `zig cc` is of the clang in it."""
    command = (*command[:-1], "version") if command[-1] == "cc" else (*command, "--version")
    result = subprocess.run(command, capture_output=True, check=False, text=True)
    found = re.search(r"\d+\.\d+(\.\d+)?", result.stdout)
    return found.group() if found else "of unknown version"


def _largest(symbols: Sequence[Symbol]) -> str:
    return ", ".join(f"{symbol.name} ({symbol.size:,} B)" for symbol in symbols) or "none"
