"""study: a published table run again, as rows of a csv file and a table of means."""

from __future__ import annotations

import logging
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from toolchain.cli import options
from toolchain.cli.console import Console


@click.command()
@click.argument("name", required=False)
@click.option("--list", "is_list", is_flag=True, help="Name the studies.")
@click.option(
    "--data-root", type=click.Path(path_type=Path), help="Folder of the data sets, such as that with PROTEINS/raw."
)
@click.option("--seeds", type=click.IntRange(1), help="Run seeds 0 up to this number.")
@click.option("--folds", type=click.IntRange(1, 10), help="Run the first of the ten folds.")
@click.option("--epochs", type=click.IntRange(1), help="Of the main training.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Run only this model of the study. Repeatable.")
@options.settings("Another setting of the study, such as train_epochs=20.")
@click.option("--resume", is_flag=True, help="Keep the rows that the file has, and run the others.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="csv file to write.  [default: out/studies/NAME.csv]"
)
@options.overwrite
@options.common
def study(
    console: Console, name: str | None, is_list: bool, data_root: Path | None, seeds: int | None, folds: int | None,
    epochs: int | None, models: tuple[str, ...], settings: tuple[str, ...], resume: bool, output: Path | None,
    overwrite: bool,
) -> None:  # fmt: skip
    """Run a study: a table of accuracies over methods, seeds and folds, each row written as soon as it is known.

    Rows of one seed and fold have the same data and weights, so that methods compare in pairs. The file says which command made
    it; the table at the end gives mean ± standard deviation, and of differences mean ± standard error.

    \b
    pocketgnn study --list
    pocketgnn study digits-bogp --seeds 3
    pocketgnn study proteins-pruning --data-root data --folds 10 --resume
    """
    from toolchain.studies.registry import STUDIES
    from toolchain.studies.registry import study as found

    if is_list or name is None:
        if not is_list:
            raise click.UsageError("name a study, or pass --list to see them.")
        console.result({"studies": STUDIES}, *(f"{key:20} {text}" for key, text in STUDIES.items()))
        return
    if resume and overwrite:
        raise click.UsageError("--resume keeps what is there and --overwrite replaces it; give one of them.")
    import torch

    from toolchain.studies.study import run
    from toolchain.studies.summary import summary

    chosen = found(name)
    scope = chosen.scope(seeds=seeds, folds=folds, models=models, data_root=data_root)
    changes = {**options.read_settings(settings), **({} if epochs is None else {"epochs": epochs})}
    path = output or Path("out/studies") / f"{name.replace('-', '_')}.csv"
    rows = chosen.row_file(
        path, chosen.settings_with(changes), _command(name, scope, changes, models), resume, overwrite
    )
    if console.verbosity < 1:
        logging.getLogger("pocketgnn").setLevel(
            logging.ERROR
        )  # a study makes hundreds of models; their logs hide the rows
    torch.set_num_threads(1)  # the sums of training then come out the same on every machine with these libraries
    with console.bar(name) as bar:
        run(
            chosen,
            rows,
            scope,
            chosen.settings_with(changes),
            lambda s: bar(s.present + s.done, s.total, _line(chosen, s)),
        )
    lines = summary(chosen, rows.rows)
    data = {
        "study": name,
        "file": str(path),
        "rows": [_typed(row) for row in rows.rows],
        "summary": [asdict(line) for line in lines],
    }
    console.result(data, _table(chosen, lines), str(path))


def _command(name: str, scope: Any, changes: dict[str, Any], models: tuple[str, ...]) -> str:
    """The command that makes the same rows; where the data lie says nothing about them."""
    parts = ["pocketgnn study", name]
    parts += ["--data-root data"] if scope.data_root is not None else []
    parts += [f"--seeds {scope.seeds}"] + ([f"--folds {scope.folds}"] if scope.folds else [])
    parts += [f"--model {shlex.quote(model)}" for model in models]
    parts += [
        f"--epochs {value}" if key == "epochs" else f"--set {shlex.quote(f'{key}={value}')}"
        for key, value in changes.items()
    ]
    return " ".join(parts)


def _line(study: Any, state: Any) -> str:
    """The last row in words."""
    if not state.row:
        return f"{state.present} of {state.total} rows are there" if state.present else ""
    names = " ".join(str(state.row[key]) for key in study.keys)
    return f"{names}: " + ", ".join(f"{c} {_number(state.row[c])}" for c in study.shown if state.row[c] != "")


def _table(study: Any, lines: list[Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, caption="mean ± standard deviation; of differences mean ± standard error")
    keys = list(lines[0].keys) if lines else []
    for column in (*keys, *study.shown, *(f"{a} - {b}" for a, b in study.paired), "rows"):
        table.add_column(column, justify="left" if column in keys else "right", no_wrap=True)
    for line in lines:
        estimates = [*line.columns.values(), *line.differences.values()]
        cells = ["–" if e is None else _estimate(e.mean, e.spread) for e in estimates]
        table.add_row(*line.keys.values(), *cells, str(line.rows))
    return table


def _typed(row: Any) -> dict[str, Any]:
    """Numbers as numbers; an empty cell as None."""
    found: dict[str, Any] = {}
    for name, text in row.items():
        try:
            found[name] = float(text) if text else None
        except ValueError:
            found[name] = text
    return found


def _estimate(mean: float, spread: float) -> str:
    return f"{_number(mean)} ± {f'{spread:,.0f}' if abs(mean) >= 1000 else f'{spread:.4f}'}"


def _number(value: float) -> str:
    """Four decimals for shares, whole numbers for counts."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"
