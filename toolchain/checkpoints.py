"""Weights from a file into a model, without ever running code that the file brings along."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolchain.errors import RecipeError, UnsafeCheckpoint, require

NESTED_UNDER = ("state_dict", "model_state_dict", "model")  # where training scripts usually put the weights


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a state_dict (.safetensors, or what torch.save wrote) into a model and put it in eval mode.

    The file is read with weights_only=True and never again in another way: a file that needs more could run code.

    Raises:
        UnsafeCheckpoint: the file holds Python objects beyond tensors and plain containers.
        RecipeError: the file is missing, damaged, or its names and shapes are not the model's.
    """
    state = read_state(path)
    own = model.state_dict()
    missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if missing or unknown:
        raise RecipeError(
            f"{path}: does not fit {type(model).__name__}: missing {_some(missing)}, unknown {_some(unknown)}. "
            "Save model.state_dict() of the same class and arguments."
        )
    for name, tensor in own.items():
        if state[name].shape != tensor.shape:
            raise RecipeError(
                f"{path}: {name} has shape {list(state[name].shape)}, {type(model).__name__} has {list(tensor.shape)}. "
                "Build the model with the arguments that it was trained with."
            )
    model.load_state_dict(state)
    return model.eval()


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by name."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such checkpoint. Pass the file that torch.save(model.state_dict(), path) wrote.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeCheckpoint(
            f"{path}: holds more than tensors ({_reason(error)}), so loading it could run code; it was not loaded. "
            "Save torch.save(model.state_dict(), path), or a .safetensors file, where you trust the file."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError) as error:
        raise RecipeError(
            f"{path}: not readable as a checkpoint ({_first_line(error)}). Save or copy it again."
        ) from error
    return _state_of(path, content)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    safetensors = require("safetensors", "torch")
    load_file = require("safetensors.torch", "torch").load_file
    try:
        return load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise RecipeError(
            f"{path}: not readable as safetensors ({_first_line(error)}). Save or copy it again."
        ) from error


def _state_of(path: Path, content: Any) -> dict[str, torch.Tensor]:
    """A state_dict, or the one that a training script nested under a usual name."""
    for name in NESTED_UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(v, torch.Tensor) for v in content.values())
    ):
        raise RecipeError(f"{path}: holds no state_dict but {type(content).__name__}. Save model.state_dict().")
    return {str(name): tensor for name, tensor in content.items()}


def _reason(error: Exception) -> str:
    """The offending name out of torch's long explanation."""
    for line in str(error).splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.split(" was not an allowed")[0].split("WeightsUnpickler error: ")[-1].strip()[:120]
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _some(names: list[str]) -> str:
    return "nothing" if not names else ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
