"""Console: results to stdout, everything else to stderr; a spinner on a terminal, plain lines otherwise."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console as RichConsole

Progress = Callable[[str], None]
Bar = Callable[[int, int, str], None]


@dataclass(slots=True)
class Console:
    """What a command talks through.

    Attributes:
        verbosity: -1 errors and warnings only, 0 progress and steps, 1 debugging, 2 also tracebacks.
        is_json: results are one JSON document on stdout instead of text.
    """

    verbosity: int = 0
    is_json: bool = False
    _out: RichConsole = field(default_factory=lambda: _output(), init=False)
    _err: RichConsole = field(
        default_factory=lambda: RichConsole(stderr=True, highlight=False, soft_wrap=True), init=False
    )

    def start(self) -> None:
        """Route the package's log to stderr, and libraries' warnings away unless they were asked for."""
        logger = logging.getLogger("pocketgnn")
        logger.handlers = [_StderrHandler()]
        logger.propagate = False
        logger.setLevel({-1: logging.WARNING, 0: logging.INFO}.get(self.verbosity, logging.DEBUG))
        if self.verbosity < 1:
            warnings.simplefilter("ignore")
            for library in ("torch", "torch.utils._pytree", "torchao", "executorch", "onnxscript"):
                logging.getLogger(library).setLevel(logging.ERROR)

    def result(self, data: Mapping[str, Any], *texts: Any) -> None:
        """Print a result: `data` as JSON, or the texts and rich tables."""
        if self.is_json:
            print(json.dumps(data, indent=1, ensure_ascii=False))
            return
        for text in texts:
            if isinstance(text, str):
                self._out.print(text, markup=False)
            else:
                self._out.print(text, soft_wrap=False)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A function that tells what is going on now."""
        if self.verbosity < 0:
            yield lambda line: None
        elif self._err.is_terminal:
            with self._err.status("") as status:
                yield lambda line: status.update(f"{line} …")
        else:
            yield lambda line: print(line, file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, title: str) -> Iterator[Bar]:
        """A function that tells how many of how many are done, and what the last one gave."""
        if self.verbosity < 0:
            yield lambda done, total, line: None
        elif self._err.is_terminal:
            from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

            with Progress(
                *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), console=self._err
            ) as bars:
                task = bars.add_task(title, total=None)

                def tell(done: int, total: int, line: str) -> None:
                    if line:
                        bars.console.print(line, markup=False)
                    bars.update(task, completed=done, total=total)

                yield tell
        else:
            yield lambda done, total, line: print(f"[{done}/{total}] {line}".rstrip(), file=sys.stderr, flush=True)


def _output() -> RichConsole:
    """Stdout; where it is no terminal, as wide as a table likes, since a log has no edge."""
    return RichConsole(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


class _StderrHandler(logging.Handler):
    """Writes to the stderr of this moment, so that it also works where stderr is replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        print(prefix + record.getMessage(), file=sys.stderr, flush=True)
