"""MeasuringChild: the parent's end of a measuring process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolchain.errors import MeasurementError

SECONDS_BEYOND_WINDOW = 300.0  # to import, load and warm up; a process that needs longer counts as hung


class MeasuringChild:
    """A `device_benchmarks.child` process. Leaving the context ends it, whatever happened."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name, self.folder = name, folder
        folder.mkdir()
        self._log = open(folder / "stderr.txt", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # closed in __exit__
        count = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "device_benchmarks.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, encoding="utf-8",
            # Read by OpenMP, MKL and OpenBLAS when they load, before any call could set the number of threads.
            env={**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count},
        )  # fmt: skip

    def ask(self, message: Mapping[str, Any], expected_seconds: float) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            MeasurementError: the process reports an error, dies, hangs, or answers nonsense.
        """
        self.tell(message)
        return self.answer(expected_seconds)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a command; `answer` waits for what comes back."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError:  # the process has died; `answer` says with which words
            pass

    def answer(self, expected_seconds: float) -> dict[str, Any]:
        """The answer to the oldest command that has none yet."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(expected_seconds * 10 + SECONDS_BEYOND_WINDOW, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise MeasurementError(
                f"{self.name}: the measuring process ended with status {self._process.wait()}. {self._last_words()}"
            )
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise MeasurementError(
                f"{self.name}: the measuring process answered {line[:80]!r}, expected JSON."
            ) from error
        if "error" in answer:
            raise MeasurementError(f"{self.name}: {answer['type']}: {answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        """End the process: first by asking, then by force."""
        if self._process.poll() is None:
            try:
                self._process.communicate('{"command": "close"}\n', timeout=5)
            except (subprocess.TimeoutExpired, OSError):
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None and not stream.closed:
                with contextlib.suppress(BrokenPipeError):  # closing sends what a process that died never read
                    stream.close()

    def __enter__(self) -> MeasuringChild:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:
            self._process.kill()
        self.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        return " ".join(self._log.read()[-400:].split())
