"""planner_study and calibration: how a choice is judged, and how constants come from measurements."""

from __future__ import annotations

import numpy as np
import pytest

from device_benchmarks.planner.calibration import Observation, fit
from device_benchmarks.planner.plan import Plan
from device_benchmarks.planner_study import Choice, summary, verdicts

AUTO, DENSE, SCATTER = (Plan("onnx", lowering=name) for name in ("auto", "dense", "scatter"))
SLOWING = (1.0, 1.0, 4.0, 9.0)  # how slow the machine is in each round


def choice(chosen: Plan, considered: tuple[Plan, ...] = (AUTO, DENSE, SCATTER)) -> Choice:
    return Choice(39, "onnx", AUTO, chosen, considered, 2, 1.0)


def swept(**us: float) -> dict[int, dict[Plan, list[np.ndarray]]]:
    plans = {"auto": AUTO, "dense": DENSE, "scatter": SCATTER}
    return {39: {plans[name]: [np.full(5, time * slow) for slow in SLOWING] for name, time in us.items()}}


def test_a_choice_is_held_against_the_best_of_the_sweep_and_the_default() -> None:
    (verdict,) = verdicts("gcn", [choice(SCATTER)], swept(auto=50.0, dense=20.0, scatter=30.0))

    assert verdict.best == DENSE
    assert verdict.over_best == pytest.approx(1.5)
    assert verdict.over_default == pytest.approx(0.6)


def test_the_best_is_one_of_the_plans_that_were_to_choose_from() -> None:
    (verdict,) = verdicts("gcn", [choice(AUTO, (AUTO, SCATTER))], swept(auto=50.0, dense=20.0, scatter=55.0))

    assert (verdict.best, verdict.over_best, verdict.over_default) == (AUTO, 1.0, 1.0)


def test_the_summary_counts_what_is_not_close_and_what_is_slower_than_the_default() -> None:
    times = swept(auto=50.0, dense=20.0, scatter=52.0)
    found = [verdict for plan in (AUTO, DENSE, SCATTER) for verdict in verdicts("gcn", [choice(plan)], times)]

    (line,) = summary([verdict.to_json() for verdict in found])

    assert "1 of 3 within 10 % of the best, worst 2.600" in line
    assert "slower than the default 1, worst 1.040, mean 0.813; 6 of 9 plans measured" in line


def test_constants_are_found_again_in_the_times_that_they_explain() -> None:
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    true = np.array([5.0, 0.4, 2e-5, 8e-4, 0.0, 1e-2])
    counts = rng.uniform(1, [1.001, 20, 1e6, 1e5, 1e5, 1e4], size=(40, 6))
    observed = [Observation("probe", "plan", "onnx dense", row, float(row @ true)) for row in counts]

    constants, fitted = fit(observed)

    np.testing.assert_allclose(fitted["onnx dense"], 1, rtol=1e-6)
    np.testing.assert_allclose(constants["onnx dense"], true, atol=1e-6)
