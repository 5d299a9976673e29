"""HostBoard: the firmware's protocol and a model compiled for this machine, on a pseudo-terminal; its times are real ones."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
import tty
from pathlib import Path

from device_benchmarks.firmware import FIRMWARE, model_header, run_compiler
from runtimes.compiler import find_compiler
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_name, c_sources

SOURCE = Path(__file__).with_name("host_board.c")
BLOCK_BYTES = 32


def build_host_board(artifact: Artifact, folder: Path) -> Path:
    """The program of an artifact; `folder` must exist."""
    sources = c_sources(artifact)
    build = hashlib.sha256(sources[artifact.model_file]).digest()[:8]
    header = model_header(artifact, "host", BLOCK_BYTES, build)
    for name, content in {**sources, "firmware_model.h": header.encode()}.items():
        (folder / name).write_bytes(content)
    included = {
        found.decode() for found in re.findall(rb'^#include "(\w+\.c)"', sources[artifact.model_file], flags=re.M)
    }
    files = [f"./{name}" for name in sources if name.endswith(".c") and name not in included]
    command = [
        *find_compiler().command,
        "-std=gnu99",
        "-O2",
        "-ffp-contract=off",
        "-DGNN_ONE_FILE",
        "-I.",
        f"-I{FIRMWARE}",
    ]
    run_compiler(
        [*command, *files, str(FIRMWARE / "protocol.c"), str(SOURCE), "-lm", "-o", "board"], folder, c_name(artifact)
    )
    return folder / "board"


class HostBoard:
    """A running board.

    Attributes:
        port: of this machine, for -d serial:PORT.
        process: what plays the board.
    """

    def __init__(self, program: Path, *arguments: str) -> None:
        self._command = [str(program), *arguments]
        self._line, self._port = pty.openpty()
        tty.setraw(self._port)
        self.port = os.ttyname(self._port)
        self.process = self._started()

    def reset(self) -> None:
        """Start anew, with nothing in memory; what lies on the line stays there."""
        self.process.kill()
        self.process.wait()
        self.process = self._started()

    def unplug(self) -> None:
        """Take the board away: the port goes with it."""
        self.process.kill()
        self.process.wait()
        for end in (self._line, self._port):
            os.close(end)
        self._line = self._port = -1

    def close(self) -> None:
        """End it."""
        if self._line != -1:
            self.unplug()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=self._line, stdout=self._line)
