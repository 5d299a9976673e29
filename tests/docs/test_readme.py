"""The README's commands and Python blocks run as printed, in order, in one scratch directory. `make docs-check`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(?P<language>\w+)(?P<flags>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def runnable_blocks() -> list[tuple[str, str]]:
    """(language, body) of every `sh` and `python` block that is not marked `no-run` (installation, boards)."""
    text = (ROOT / "README.md").read_text()
    blocks = [(m["language"], m["flags"], m["body"]) for m in BLOCK.finditer(text)]
    return [
        (language, body) for language, flags, body in blocks if language in ("sh", "python") and "no-run" not in flags
    ]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.docs
@pytest.mark.parametrize(("language", "body"), runnable_blocks(), ids=lambda value: value.strip().splitlines()[0][:60])
def test_readme_block_runs_as_printed(language: str, body: str, scratch: Path) -> None:
    command = ["bash", "-euo", "pipefail", "-c", body] if language == "sh" else [sys.executable, "-c", body]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=scratch, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{body}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
