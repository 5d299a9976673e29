"""main: arguments in, exit status out. The verbs, and how every error becomes one line."""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from toolchain.cli.freed_memory import keep_freed_memory
from toolchain.errors import GateFailed, PocketGnnError, RecipeError

OK, FAILURE, USAGE, GATE, INTERRUPTED = 0, 1, 2, 3, 130
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# verb → (module, command). Modules are imported when their verb is used, so that --help needs no torch.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("toolchain.cli.demo", "demo"),
    "inspect": ("toolchain.cli.inspection", "inspect"),
    "prune": ("toolchain.cli.compressing", "prune"),
    "share": ("toolchain.cli.compressing", "share"),
    "quantize": ("toolchain.cli.compressing", "quantize"),
    "export": ("toolchain.cli.exporting", "export"),
    "package": ("toolchain.cli.packaging", "package"),
    "verify": ("toolchain.cli.checking", "verify"),
    "bench": ("toolchain.cli.checking", "bench"),
    "devices": ("toolchain.cli.devices", "devices"),
    "compare": ("toolchain.cli.comparing", "compare"),
    "tune": ("toolchain.cli.tuning", "tune"),
    "run": ("toolchain.cli.running", "run"),
    "report": ("toolchain.cli.reporting", "report"),
    "study": ("toolchain.cli.studying", "study"),
}  # fmt: skip

TRAINING = ("demo", "prune", "share", "quantize", "run", "study")  # verbs that may train


class _Verbs(click.Group):
    """The verbs in the order in which they are used."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, command = VERBS[name]
        return getattr(importlib.import_module(module), command)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pocketgnn", prog_name="pocketgnn")
@click.pass_context
def cli(context: click.Context) -> None:
    """Take a trained PyTorch Geometric model to a device: prune, share, quantize, export, verify, measure.

    A MODEL is a Python file or module that defines get_model(), which returns the trained torch module, and get_graphs(),
    which returns labelled Data objects: a list, or a mapping with train, validation and test. Name other functions as
    model.py:make_model, and give weights with --checkpoint. What prune, share and quantize write (.pgnn) goes where a
    MODEL goes.

    \b
    Discover    pocketgnn demo                                      everything once, on handwritten digits
                pocketgnn inspect model.py                          does every layer lower, and what does it cost?
    Build       pocketgnn prune model.py --fine-tune 20 -o pruned.pgnn
                pocketgnn share model.py --clusters 16 --fine-tune 20 -o shared.pgnn
                pocketgnn quantize pruned.pgnn --graphs model.py -o int8.pgnn
                pocketgnn export int8.pgnn --to onnx --to executorch --graphs model.py -o out
    Measure     pocketgnn verify out/model-onnx-static-int8 --model model.py --min-agreement 0.98
                pocketgnn bench out/model-onnx-static-int8 --model model.py --quick
    Choose      pocketgnn tune model.py -d ssh:pi4 -o recipe.yaml   format, lowering, order, precision: by measuring
    All at once pocketgnn run recipe.yaml -o out
    Reproduce   pocketgnn study digits-bogp --seeds 3

    Results go to stdout (--format json for programs), progress to stderr.
    Exit status: 0 done, 1 failed, 2 wrong usage, 3 a stated gate is not met, 130 interrupted.
    """
    if context.invoked_subcommand in TRAINING:
        keep_freed_memory()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; nothing is raised."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(given, prog_name="pocketgnn", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        print("interrupted; nothing half-written was left behind.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # the one place that turns whatever happened into a line and a status
        if _wants_traceback(given):
            traceback.print_exc()
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return GATE if isinstance(error, GateFailed) else USAGE if isinstance(error, RecipeError) else FAILURE
    return OK


def _one_line(error: Exception) -> str:
    if isinstance(error, PocketGnnError):
        text = str(error)
    elif isinstance(error, OSError) and error.errno in FULL_DISK:
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}the disk is full or the file too large ({error.strerror}); nothing was written. Make room and run again."
    elif isinstance(error, OSError):
        text = str(error)
    else:
        text = f"unexpected {type(error).__name__}: {error} (-vv shows where)"
    return " ".join(text.split())


def _wants_traceback(arguments: Sequence[Any]) -> bool:
    return sum(a.count("v") for a in arguments if a.startswith("-v") and set(a[1:]) == {"v"}) >= 2
