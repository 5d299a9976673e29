"""Run artifacts. Needs numpy and the one library of the artifact's format; never torch for a format that does without it."""

from runtimes.loading import RUN_ELSEWHERE, RUNTIMES, load
from runtimes.runtime import Runtime

__all__ = ["RUNTIMES", "RUN_ELSEWHERE", "Runtime", "load"]
