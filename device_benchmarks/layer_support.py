"""Which convolutions of PyTorch Geometric lower, and run in which format and precision with which error: by running it.

    python -m device_benchmarks.layer_support                      # every layer through every format and precision
    python -m device_benchmarks.layer_support --layer GENConv      # one of them
    python -m device_benchmarks.layer_support --write LAYERS.md    # and the table of the documentation

Each layer of `layer_zoo` gets random weights, is lowered with one graph and run on three others: with isolated nodes, with a
single node and edge, and with 150 nodes. The error is the largest difference relative to the largest output or 1, from PyTorch
Geometric in float32 and from the reference interpreter otherwise. ExecuTorch's compiler takes most of an hour for all of them,
so --json keeps the rows after each layer and --with goes on from there.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click
from rich.console import Console

from device_benchmarks.layer_check import FORMATS, Support, check
from device_benchmarks.layer_table import SHORT, markdown, shares, terminal_table
from device_benchmarks.layer_zoo import CASES, RELATIONAL, LayerCase, homogeneous_classes
from toolchain.recipe import Precision

WANTED = {"onnx": 0.85, "litert": 0.75, "executorch": 0.75, "c": 0.75}  # shares of the homogeneous classes in float32

Rows = dict[tuple[str, str, str, str], Support]


@click.command()
@click.option("--layer", "layers", multiple=True, help="A class name; may be given several times. All by default.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), help="All by default.")
@click.option(
    "--precision", "precisions", multiple=True, type=click.Choice(get_args(Precision)), help="All by default."
)
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as markdown.")
@click.option(
    "--with",
    "earlier",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows of an earlier run (its --json) that this run does not measure again; the last file counts.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every row as JSON, after each layer.",
)
def main(
    layers: tuple[str, ...],
    formats: tuple[str, ...],
    precisions: tuple[Precision, ...],
    write: Path | None,
    earlier: tuple[Path, ...],
    json_path: Path | None,
) -> None:
    """Print which convolutions run in which format and precision. Exit status 3: fewer than wanted do in float32."""
    cases = (*CASES, *RELATIONAL)
    unknown = set(layers) - {case.layer for case in cases}
    if unknown:
        raise click.UsageError(f"no layer is called {', '.join(sorted(unknown))}.")
    chosen = [case for case in cases if not layers or case.layer in layers]
    known = {row.key: row for path in earlier for row in _read(path)}
    wanted, narrow = formats or FORMATS, precisions or tuple(SHORT)
    rows: list[Support] = []
    for number, case in enumerate(chosen, 1):
        rows += _measured(case, f"[{number}/{len(chosen)}]", wanted, narrow, known)
        if json_path is not None:
            json_path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    console = Console()
    console.print(terminal_table(rows, wanted))
    if layers:
        return
    if write is not None:
        write.write_text(markdown(rows, wanted))
    if "float32" not in narrow:
        return
    total, too_few = len(homogeneous_classes()), False
    for format, good in shares(rows, wanted).items():
        console.print(f"{format}: {good} of {total} homogeneous classes, {good / total:.1%}{_wanted(format)}")
        too_few |= good < WANTED.get(format, 0) * total
    if too_few:
        raise SystemExit(3)


def _measured(
    case: LayerCase, place: str, formats: Sequence[str], precisions: Sequence[Precision], known: Rows
) -> list[Support]:
    """The rows of one layer; those that are not known yet are measured and added to the known ones."""
    for precision in precisions:
        missing = [format for format in formats if (case.layer, case.variant, format, precision) not in known]
        if not missing:
            continue
        Console(stderr=True).print(f"{place} {case.name} {precision}", highlight=False, markup=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.export and of PyG, about what they will change
            known |= {row.key: row for row in check(case, missing, precision)}
    return [known[case.layer, case.variant, format, precision] for precision in precisions for format in formats]


def _wanted(format: str) -> str:
    return f" (wanted {WANTED[format]:.0%})" if format in WANTED else ""


def _read(path: Path) -> list[Support]:
    """The rows that an earlier run wrote."""
    try:
        return [Support(**row) for row in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise click.UsageError(f"{path}: not written by --json of this command ({error}).") from error


if __name__ == "__main__":
    logging.getLogger("pocketgnn").setLevel(
        logging.ERROR
    )  # what static int8 warns of concerns data, and these are random
    main()
