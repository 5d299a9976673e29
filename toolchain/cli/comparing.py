"""compare: two results of bench -d."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli import options
from toolchain.cli.console import Console


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--max-regress", type=options.Percentage(), default=0.05, show_default=True, help="How much slower NEW may be."
)
@options.common
def compare(console: Console, old: Path, new: Path, max_regress: float) -> None:
    """Compare two results that bench -d wrote, of one device, graph and protocol.

    The change of the median has bounds, from the spread of samples within windows and of windows. Both bounds within what is
    allowed: pass. Both beyond: regression. Else inconclusive, which is not a pass: both end with status 3.

    \b
    pocketgnn compare old.json new.json --max-regress 5%
    """
    from device_benchmarks.comparison import Verdict, compare_results, read_result
    from device_benchmarks.units import format_us
    from toolchain.errors import GateFailed

    found = compare_results(read_result(old), read_result(new), max_regress)
    lines = [
        f"{scope.scope.value:<24} {format_us(scope.old_us)} → {format_us(scope.new_us)}  {scope.change:+.1%} "
        f"({scope.low:+.1%} to {scope.high:+.1%})  {scope.verdict.value}"
        for scope in found.scopes
    ]
    console.result(found.to_json(), *lines, f"{found.verdict.value}: at most {max_regress:.1%} slower is allowed")
    if found.verdict is not Verdict.PASS:
        reason = (
            "slower than allowed"
            if found.verdict is Verdict.REGRESSION
            else "the samples vary too much to tell; measure longer"
        )
        raise GateFailed(f"{new}: {found.verdict.value}: {reason}.")
