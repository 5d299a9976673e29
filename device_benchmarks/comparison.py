"""compare_results: two result files of one artifact on one device in, a verdict that noise cannot turn out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from device_benchmarks.device_result import KIND, SCHEMA_VERSION
from device_benchmarks.measurement import Scope, nearest_rank
from toolchain.errors import ArtifactError, InvalidInput

RESAMPLES = 1000
DRAWN = 128  # samples of each window in a resample
CONFIDENCE = 0.95
MAX_BYTES = 256 * 2**20
# What two results must share; the artifact and the compiler may differ, since they are what is compared.
SAME: tuple[tuple[str, ...], ...] = (
    ("device", "model"), ("device", "machine"), ("device", "os"), ("device", "transport"), ("artifact", "format"),
    ("runtime", "name"), ("runtime", "threads"), ("runtime", "cores"), ("inputs", "sha256"), ("protocol", "name"),
)  # fmt: skip


class Verdict(Enum):
    """What a comparison shows."""

    PASS = "pass"  # not slower than allowed, beyond reasonable doubt
    REGRESSION = "regression"  # slower than allowed, beyond reasonable doubt
    INCONCLUSIVE = "inconclusive"  # the samples vary too much to tell; never a pass


@dataclass(frozen=True, slots=True)
class ScopeComparison:
    """Medians of one scope.

    Attributes:
        old_us, new_us: medians.
        change: new over old, minus 1; low and high bound it with 95 % confidence.
    """

    scope: Scope
    old_us: float
    new_us: float
    change: float
    low: float
    high: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        return {
            "scope": self.scope.value, "old_us": self.old_us, "new_us": self.new_us, "change": self.change, "low": self.low,
            "high": self.high, "verdict": self.verdict.value,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """All scopes; the verdict is the worst of theirs."""

    scopes: tuple[ScopeComparison, ...]
    max_regress: float

    @property
    def verdict(self) -> Verdict:
        found = {scope.verdict for scope in self.scopes}
        order = (Verdict.REGRESSION, Verdict.INCONCLUSIVE, Verdict.PASS)
        return next(verdict for verdict in order if verdict in found)

    def to_json(self) -> dict[str, Any]:
        scopes = [scope.to_json() for scope in self.scopes]
        return {
            "verdict": self.verdict.value,
            "max_regress": self.max_regress,
            "confidence": CONFIDENCE,
            "scopes": scopes,
        }


def read_result(path: Path) -> dict[str, Any]:
    """The file of `DeviceResult.write`.

    Raises:
        ArtifactError: it is not there, is no such file, or not of this version.
        InvalidInput: the result in it is not valid.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArtifactError(f"{path}: has more than {MAX_BYTES:,} B, so it is no result.")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: no such file. Pass what bench -d wrote.") from error
    except (ValueError, OSError, RecursionError) as error:
        raise ArtifactError(f"{path}: not readable as JSON ({error}). Pass what bench -d wrote.") from error
    if not isinstance(found, dict) or found.get("kind") != KIND or found.get("schema") != SCHEMA_VERSION:
        raise ArtifactError(f"{path}: no result of a device of schema {SCHEMA_VERSION}. Pass what bench -d wrote.")
    if found.get("valid") is not True:
        validity = found.get("validity")
        reasons = (
            [str(k).replace("_", " ") for k, v in validity.items() if v is False] if isinstance(validity, dict) else []
        )
        raise InvalidInput(
            f"{path}: not valid, since it fails: {', '.join(reasons) or 'it does not say'}. Measure again."
        )
    return found


def compare_results(old: Mapping[str, Any], new: Mapping[str, Any], max_regress: float) -> Comparison:
    """Compare the medians of two results.

    The bounds come from a bootstrap in two steps, windows first and samples in them second: what changes from one window to
    the next, such as the clock, is then part of the noise.

    Args:
        max_regress: share by which new may be slower, such as 0.05.

    Raises:
        InvalidInput: they are not of the same device, graph, runtime and protocol.
    """
    for keys in SAME:
        a, b = (_at(result, keys) for result in (old, new))
        if a != b:
            raise InvalidInput(
                f"{'.'.join(keys)}: {a!r} in the old result, {b!r} in the new one. They cannot be compared."
            )
    timed = [result.get("latency_us") for result in (old, new)]
    scopes = [scope for scope in Scope if any(isinstance(found, Mapping) and scope.value in found for found in timed)]
    return Comparison(tuple(_compared(old, new, scope, max_regress) for scope in scopes or Scope), max_regress)


def _compared(old: Mapping[str, Any], new: Mapping[str, Any], scope: Scope, max_regress: float) -> ScopeComparison:
    windows = [_windows(result, scope) for result in (old, new)]
    medians = [nearest_rank(np.concatenate(parts), 50) for parts in windows]
    random = np.random.default_rng(0)
    before, after = (_resampled(parts, random) for parts in windows)
    ratios = after / before - 1
    low, high = (float(bound) for bound in np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    verdict = Verdict.PASS if high <= max_regress else Verdict.REGRESSION if low > max_regress else Verdict.INCONCLUSIVE
    return ScopeComparison(scope, medians[0], medians[1], medians[1] / medians[0] - 1, low, high, verdict)


def _resampled(windows: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """[RESAMPLES] medians of windows drawn anew, each of samples drawn anew."""
    drawn = random.integers(0, len(windows), (RESAMPLES, len(windows)))
    sizes = np.array([window.size for window in windows])
    padded = np.zeros((len(windows), sizes.max()))
    for place, window in enumerate(windows):
        padded[place, : window.size] = window
    chosen = (random.random((*drawn.shape, DRAWN)) * sizes[drawn][..., None]).astype(
        np.int64
    )  # [resamples, windows, drawn]
    samples: np.ndarray = np.median(padded[drawn[..., None], chosen].reshape(RESAMPLES, -1), axis=1)
    return samples


def _windows(result: Mapping[str, Any], scope: Scope) -> list[np.ndarray]:
    found = _at(result, ("latency_us", scope.value, "windows"))
    try:
        arrays = [np.asarray(window["samples_us"], np.float64) for window in found]
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidInput(f"latency_us.{scope.value}: no windows of samples. Measure again.") from error
    if not arrays or not all(a.ndim == 1 and a.size and np.isfinite(a).all() and a.min() >= 0 for a in arrays):
        raise InvalidInput(f"latency_us.{scope.value}: samples that are missing or no times. Measure again.")
    if max(float(a.max()) for a in arrays) == 0:
        raise InvalidInput(f"latency_us.{scope.value}: every sample is 0; the clock of the device is too coarse.")
    return [np.maximum(array, 1e-3) for array in arrays]  # a clock may stand still between two readings


def _at(result: Mapping[str, Any], keys: Sequence[str]) -> Any:
    found: Any = result
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            raise InvalidInput(f"{'.'.join(keys)}: missing from a result. Measure again.")
        found = found[key]
    return found
