"""The IR text of four models is committed; UPDATE_GOLDEN=1 rewrites it, and the change is explained in the commit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cases import MODELS, example
from toolchain.frontend import lower

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("model_name", ["gcn_graph", "gin_graph", "gat_mean_edge", "scatter_functions"])
def test_lowered_text_is_the_committed_one(model_name: str) -> None:
    text = str(lower(MODELS[model_name](), example(model_name), name=model_name))
    path = GOLDEN / f"{model_name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert path.read_text() == text
