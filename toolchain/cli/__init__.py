"""The command line: pocketgnn demo | inspect | prune | quantize | export | verify | bench | run | report."""

from toolchain.cli.app import main

__all__ = ["main"]
