"""Options that several verbs share, each spelled once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from toolchain.cli.console import Console
from toolchain.seeds import END

Command = TypeVar("Command", bound=Callable[..., Any])
FORMATS = ("torchscript", "onnx", "executorch", "litert", "coreml", "c")


class Percentage(click.ParamType):
    """A share: 0.98 or 98%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{value!r} is no share; expected a number in [0, 1] such as 0.98, or 98%.", param, context)
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is not in [0, 1].", param, context)
        return share


class Seed(click.ParamType):
    """A whole number that every generator takes."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        try:
            seed = int(value)
        except ValueError:
            self.fail(f"{value!r} is no whole number.", param, context)
        if not 0 <= seed < END:
            self.fail(f"{value!r} is not in [0, 2^63).", param, context)
        return seed


def common(command: Command) -> Command:
    """-v, -q and --format; the command gets a started Console as its first argument."""

    @click.option("-v", "--verbose", count=True, help="More detail; -vv also shows tracebacks.")
    @click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
    @click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
    @functools.wraps(command)
    def started(*args: Any, verbose: int, quiet: bool, output_format: str, **kwargs: Any) -> Any:
        console = Console(-1 if quiet else verbose, output_format == "json")
        console.start()
        return command(console, *args, **kwargs)

    return started  # type: ignore[return-value]  # wraps keeps the signature that click reads


checkpoint = click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Weights for the model: a state_dict (.pt) or .safetensors."
)
seed = click.option("--seed", type=Seed(), default=0, show_default=True, help="Of every split, shuffle and training.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace what is already there.")
graphs = click.option("--graphs", metavar="MODEL", help="File with get_graphs(), where the model is a .pgnn file.")
name = click.option("--name", default="model", show_default=True, help="Name of the model in files and tables.")
threads = click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of each runtime.")


def output_file(default: str) -> Callable[[Command], Command]:
    """-o for verbs that write one file."""
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), default=default, show_default=True, help="File to write."
    )


def output_folder(default: str) -> Callable[[Command], Command]:
    """-o for verbs that write a folder."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        help="Folder to write into.",
    )


def settings(help: str) -> Callable[[Command], Command]:
    """--set KEY=VALUE; `read_settings` turns what was given into values."""
    return click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help=help)


def read_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """key=value with true, false and numbers read as such."""
    from toolchain import strict_yaml

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise click.UsageError(f"--set {pair}: expected KEY=VALUE, such as lowering=dense.")
        found[key] = strict_yaml.load(value)
    return found
