"""tune on targets of several kinds: a device in place of the host, one that is lost on the way, and one with known times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from device_benchmarks.device_names import DeviceNames
from device_benchmarks.parity import ParityCheck, StageParity
from device_benchmarks.planner import Limits, Tuning, tune
from device_benchmarks.planner.meter import DeviceMeter
from device_benchmarks.planner.plan import plans
from device_benchmarks.planner.size_buckets import SizeBucket, size_buckets
from device_benchmarks.planner.stopwatch import Rounds, ratio
from device_benchmarks.planner.timing import Timing
from device_benchmarks.planner.tuning_record import TuningRecord
from device_benchmarks.planner.workshop import Workshop
from runtimes.operators import onnxruntime_operators
from tests.small_model import write_model_file
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, DeviceError, ExportError
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.model_source import ModelSource, parts_of
from toolchain.pipeline import bounds_for
from toolchain.recipe import Export


class KnownTimes:
    """A target on which the time of every plan is known. It is lost at one of its measurements."""

    description, formats = "a target of known times", ("onnx", "litert")

    def __init__(self, us: Mapping[str, float], lost_at: int = 0) -> None:
        self.us, self.lost_at = us, lost_at
        self.batches: list[list[str]] = []

    def measure(
        self, artifacts: Mapping[str, Artifact], is_final: bool
    ) -> tuple[dict[str, list[Rounds]], dict[str, str]]:
        if len(self.batches) + 1 == self.lost_at:
            raise DeviceError("target: the connection was lost.")
        self.batches.append(list(artifacts))
        return {name: [[np.full(3, self.us.get(name, 100.0))]] for name in artifacts}, {}


class Shop:
    """A model with its graphs, ready to be tuned."""

    def __init__(self, folder: Path) -> None:
        source = ModelSource(str(write_model_file(folder)))
        self.module, self.parts, self.folder = source.model(), parts_of(source.graphs()), folder
        self.graph = lower(self.module, self.parts.train[0])
        self.bounds = bounds_for(Export(), self.parts)
        self.buckets: tuple[SizeBucket, ...] = size_buckets([GraphInputs.from_pyg(g) for g in self.parts.test], 1)

    def tune(self, meter: KnownTimes | DeviceMeter, resume: bool = False, most: int | None = None) -> Tuning:
        check = ParityCheck(self.module, list(self.parts.test))
        workshop = Workshop(self.graph, self.parts, self.bounds, Limits(), check, self.folder)
        record = TuningRecord.open(self.folder / "record.json", {"model": "small"}, resume=resume, overwrite=not resume)
        candidates = plans(self.graph, meter.formats, ("float32",), self.bounds)[:most]
        return tune(candidates, workshop, meter, self.buckets, record)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_the_plan_that_is_fastest_on_the_target_is_chosen(shop: Shop) -> None:
    found = shop.tune(KnownTimes({"litert float32 dense": 30.0}))

    assert (found.chosen.plan.name, found.default.plan.name) == ("litert float32 dense", "onnx float32 auto")
    assert found.speed_up == pytest.approx(100 / 30)
    assert found.attempts[0] == found.chosen


def test_the_operator_of_onnxruntime_is_chosen_where_it_is_fastest(shop: Shop) -> None:
    found = shop.tune(KnownTimes({"onnx float32 spmm": 30.0}))

    assert found.chosen.plan.options == {"lowering": "spmm"}
    assert found.chosen.difference is not None and found.chosen.difference < 1e-5


def test_without_a_compiler_the_table_says_why_the_operator_was_left_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    onnxruntime_operators.cache_clear()

    found = shop.tune(KnownTimes({}))

    left_out = [attempt for attempt in found.attempts if attempt.refusal]
    assert {attempt.plan.lowering for attempt in left_out} == {"spmm"}
    assert all("lowering='spmm' has to be compiled" in attempt.refusal for attempt in left_out)
    assert found.chosen.plan == found.default.plan


def test_an_interrupted_run_goes_on_without_measuring_anew(shop: Shop) -> None:
    us = {"onnx float32 dense": 40.0}
    whole = KnownTimes(us)
    expected = shop.tune(whole)
    lost = KnownTimes(us, lost_at=2)
    with pytest.raises(DeviceError, match="lost"):
        shop.tune(lost)

    rest = KnownTimes(us)
    found = shop.tune(rest, resume=True)

    assert found.to_json() == expected.to_json()
    assert lost.batches + rest.batches == whole.batches


def test_a_record_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    TuningRecord.open(path, {"weights": "a"}, resume=False, overwrite=False).add({"plan": {}}, False)

    with pytest.raises(ArtifactError, match="other weights"):
        TuningRecord.open(path, {"weights": "b"}, resume=True, overwrite=False)
    with pytest.raises(ArtifactError, match="--resume"):
        TuningRecord.open(path, {"weights": "a"}, resume=False, overwrite=False)
    path.write_text("{")
    with pytest.raises(ArtifactError, match="not a readable record"):
        TuningRecord.open(path, {"weights": "a"}, resume=True, overwrite=False)


def test_a_device_is_measured_in_sessions_of_its_own(shop: Shop) -> None:
    """This machine as a device: programs are built for it and run in a folder that goes away."""
    meter = DeviceMeter(DeviceNames(), "local", [bucket.graph for bucket in shop.buckets])
    assert meter.formats == ("onnx", "litert", "executorch", "c")
    meter.formats = ("c",)

    found = shop.tune(meter, most=1)

    assert found.chosen.plan.format == "c"
    assert found.chosen.mean_us(found.buckets)


def test_formats_without_a_runner_on_the_device_are_refused_with_the_reason(shop: Shop) -> None:
    meter = DeviceMeter(DeviceNames(), "local", [bucket.graph for bucket in shop.buckets])
    meter.formats = ("torchscript",)

    with pytest.raises(ExportError, match=r"no format takes this model on this target\. torchscript: .* no runner"):
        shop.tune(meter)


@pytest.mark.parametrize(
    ("limits", "precision", "difference", "agreement", "words"),
    [
        (Limits(), "float32", 1e-5, 0.5, ""),
        (Limits(), "float32", 1e-3, 1.0, "differs by 0.001 of the largest output, 0.0001 is allowed"),
        (Limits(), "static-int8", 0.5, 0.99, ""),
        (Limits(), "static-int8", 0.01, 0.97, "agrees on 97.0% of the classes, 98.0% is asked for"),
        (Limits(), "static-int8", 0.01, None, "state --max-difference"),
        (Limits(max_difference=0.02), "static-int8", 0.01, None, ""),
        (Limits(max_difference=0.02), "dynamic-int8", float("nan"), 1.0, "differs by nan"),
        (Limits(min_agreement=1.0), "float32", 1e-6, 0.99, "agrees on 99.0%"),
    ],
)
def test_what_is_within_the_limits(
    limits: Limits, precision: str, difference: float, agreement: float | None, words: str
) -> None:
    empty = np.array([])
    parity = StageParity("total", "PyG", "plan", 10, 1.0, difference, agreement, None, None, empty, empty)

    refusal = limits.refusal(precision, parity)

    assert words in refusal
    assert bool(refusal) == bool(words)


def test_a_timing_is_the_mean_over_the_sample_graphs_in_each_round() -> None:
    small, large = [[np.array([1.0, 1, 9]) * speed for speed in (1, 2, 2)] for _ in range(2)]
    large = [taken * 10 for taken in large]

    timing = Timing.of([small, large], [0.75, 0.25])

    assert timing.rounds == pytest.approx((3.25, 6.5, 6.5))
    assert timing.us == pytest.approx(0.75 * 2 + 0.25 * 20)


def test_a_ratio_is_taken_within_each_round() -> None:
    """A machine that gets three times as slow meanwhile changes both times, and not their ratio."""
    reference = [np.array([10.0, 11, 12]) * speed for speed in (1, 2, 3)]
    rounds = [taken * 1.5 for taken in reference]

    assert ratio(rounds, reference) == pytest.approx(1.5)
