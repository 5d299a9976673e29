"""What the command-line tests share: a folder with a model file and what the verbs made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_model import write_model_file
from toolchain.cli import main


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model file, a float Graph file, and one artifact: read by tests, never changed."""
    folder = tmp_path_factory.mktemp("cli")
    model = str(write_model_file(folder))
    assert main(["prune", model, "--amount", "0.5", "-o", str(folder / "pruned.pgnn"), "-q"]) == 0
    assert main(["export", model, "--to", "torchscript", "-o", str(folder / "out"), "-q"]) == 0
    return folder


@pytest.fixture
def model(workplace: Path) -> str:
    return str(workplace / "small_model.py")


@pytest.fixture
def artifact(workplace: Path) -> str:
    return str(workplace / "out" / "model-torchscript-float32")
