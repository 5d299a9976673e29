"""report: finished reports in, one report out."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli import options
from toolchain.cli.console import Console


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--title", default="pocketgnn report", show_default=True)
@options.output_folder("out/report")
@options.overwrite
@options.common
def report(console: Console, folders: tuple[Path, ...], title: str, output: Path, overwrite: bool) -> None:
    """Join the reports that bench, run or demo wrote into one page and one table.

    \b
    pocketgnn report out/bench-laptop out/bench-pi -o out/both
    """
    from device_benchmarks import terminal
    from device_benchmarks.report import Report

    joined = Report.joined([Report.load(folder) for folder in folders], title)
    page = joined.write(output, overwrite=overwrite)
    console.result(joined.to_json(), terminal.table(joined.rows), *terminal.failures(joined.rows), str(page))
