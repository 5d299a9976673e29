"""Checkpoints: weights get in, code does not."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from toolchain.checkpoints import load_checkpoint, read_state
from toolchain.errors import RecipeError, UnsafeCheckpoint


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


class Bomb:
    """What an attacker puts in a pickle: loading it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def write_plain_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [torch.save, write_plain_pickle], ids=["torch.save", "pickle"])
@pytest.mark.parametrize("place", ["alone", "beside weights"])
def test_a_malicious_pickle_is_refused_and_nothing_runs(write: Any, place: str, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "weights.pt"
    bomb = Bomb(ran)
    write(bomb if place == "alone" else {"state_dict": {"0.weight": torch.zeros(4, 3)}, "extra": bomb}, path)

    with pytest.raises(UnsafeCheckpoint, match=r"weights\.pt: holds more than tensors"):
        load_checkpoint(model(), path)
    assert not ran.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(model(), tmp_path / "module.pt")

    with pytest.raises(UnsafeCheckpoint, match="state_dict"):
        load_checkpoint(model(), tmp_path / "module.pt")


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_loaded_wherever_training_scripts_put_it(nested: str | None, tmp_path: Path) -> None:
    trained = model()
    with torch.no_grad():
        trained[0].weight.fill_(0.5)
    state = trained.state_dict()
    torch.save(state if nested is None else {nested: state, "epoch": 3}, tmp_path / "weights.pt")

    loaded = load_checkpoint(model(), tmp_path / "weights.pt")

    assert bool((loaded[0].weight == 0.5).all())
    assert not loaded.training


def test_safetensors_are_loaded(tmp_path: Path) -> None:
    pytest.importorskip("safetensors.torch").save_file(model().state_dict(), tmp_path / "weights.safetensors")

    assert set(read_state(tmp_path / "weights.safetensors")) == set(model().state_dict())


def test_a_checkpoint_of_another_model_is_refused_by_its_names(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "weights.pt")

    with pytest.raises(RecipeError, match=r"missing 0\.bias, .*unknown bias, weight"):
        load_checkpoint(model(), tmp_path / "weights.pt")


def test_a_checkpoint_of_other_widths_is_refused_by_its_shapes(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)).state_dict(), tmp_path / "weights.pt")

    with pytest.raises(RecipeError, match=r"0\.weight has shape \[5, 3\]"):
        load_checkpoint(model(), tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_file_is_one_clear_error(name: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save(model().state_dict(), path)
    else:
        pytest.importorskip("safetensors.torch").save_file(model().state_dict(), path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises((RecipeError, UnsafeCheckpoint), match=name):
        load_checkpoint(model(), path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such checkpoint"):
        load_checkpoint(model(), tmp_path / "none.pt")
