"""What the planner study publishes."""

from __future__ import annotations

import csv
from pathlib import Path

from device_benchmarks import planner_study

PUBLISHED = Path(planner_study.__file__).parent / "published" / "planner_study.csv"


def test_the_published_table_has_every_choice_of_a_whole_run() -> None:
    lines = PUBLISHED.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    runtimes = (*planner_study.FORMATS, planner_study.EVERY)
    assert {(row["model"], int(row["nodes"]), row["runtime"]) for row in rows} == {
        (model, nodes, runtime)
        for model in planner_study.MODELS
        for nodes in planner_study.NODES
        for runtime in runtimes
    }


def test_a_table_starts_with_what_was_run() -> None:
    record = {
        "options": {"nodes": [16]},
        "environment": {"python": "3.11"},
        "verdicts": [{"model": "gcn", "best_us": 13.1234}],
    }
    assert planner_study.csv_of(record).splitlines() == [
        '# command: "python -m device_benchmarks.planner_study"', "# nodes: [16]", '# python: "3.11"', "model,best_us",
        "gcn,13.12",
    ]  # fmt: skip
