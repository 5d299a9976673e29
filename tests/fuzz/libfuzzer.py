"""Coverage-guided hostile inputs: libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, where clang links them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tests.fuzz.hostile_graphs import HERE, UNDEFINED, compile_with
from tests.fuzz.models import BOUNDS, fuzzed_graph
from toolchain.exporters import export

FLAGS = ("-fsanitize=fuzzer,address", *UNDEFINED)
LONGEST_INPUT = 4096


def is_there() -> bool:
    """Whether clang is here with its fuzzer and sanitizers."""
    if shutil.which("clang") is None:
        return False
    text = b"int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { (void)d; (void)n; return 0; }"
    command = ["clang", *FLAGS, "-x", "c", "-", "-o", "/dev/null"]
    return subprocess.run(command, input=text, capture_output=True, check=False).returncode == 0


def fuzz(name: str, folder: Path, seconds: int, seed: int = 0) -> str:
    """Fuzz one model for a while; returns libFuzzer's last line.

    Raises:
        RuntimeError: something was found; the message has the report.
    """
    graph, sparse = fuzzed_graph(name)
    artifact = export(graph, "c", folder / f"{name}-libfuzzer", bounds=BOUNDS, sparse_features=sparse)
    program = folder / f"{name}.libfuzzer"
    compile_with(("clang", *FLAGS), artifact, HERE / "libfuzzer.c", program)
    with tempfile.TemporaryDirectory(dir=folder) as corpus:
        _plant(Path(corpus), np.random.default_rng(seed))
        command = [
            program,
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST_INPUT}",
            f"-seed={seed + 1}",
            "-rss_limit_mb=1024",
        ]
        result = subprocess.run([*command, corpus], cwd=corpus, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{name}: libFuzzer ended with {result.returncode}.\n{result.stderr[-6000:]}")
    done = re.findall(r"^(?:#\d+\s+DONE.*|Done .*)$", result.stderr, re.MULTILINE)
    return "; ".join(" ".join(line.split()) for line in done)


def _plant(corpus: Path, rng: np.random.Generator) -> None:
    """Inputs that are accepted, to start from: small graphs in the target's own layout."""
    for number in range(16):
        nodes, edges = int(rng.integers(1, BOUNDS.nodes + 1)), int(rng.integers(0, 12))  # type: ignore[operator]  # bounded
        ends = rng.integers(0, nodes, 2 * edges).astype("<u2").tobytes()
        head = bytes([0, 0, 0, nodes, edges, 1])
        values = np.abs(rng.normal(0, 1, 600)).astype("<f4").tobytes()
        (corpus / f"accepted-{number}").write_bytes(head + ends + bytes(2 * nodes) + values)
