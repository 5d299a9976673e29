"""Every refusal of pocketgnn as one exception tree; each message names the place, the fact, the expectation and the way out.

PocketGnnError
├── UnsupportedModule     the frontend has no lowering for a layer or function
├── InvalidGraph          an IR graph breaks an invariant (a defect of ours or of a hand-built graph)
│   └── TypeMismatch      an op does not accept the types of its operands
├── InvalidInput          a runtime graph (x, edge_index, ...) is malformed
│   └── OutsideContract   a well-formed graph that the artifact was not built for
├── ArtifactError         an artifact folder is damaged, unsafe, or already there
├── UnsafeCheckpoint      a checkpoint that only a full unpickle could load
├── MissingDependency     an optional library is not installed
├── RecipeError           a recipe or option is malformed
├── TrainingDiverged      a training step is one that no other can follow
├── QuantizationRefused   no integer configuration reaches the stated agreement
├── ExportError           a backend cannot take a graph
├── GateFailed            a stated parity, size or accuracy gate is not met
├── DoesNotFit            an image is larger than the memory of its target
├── MeasurementError      a measuring process died or returned nonsense
└── DeviceError           a device cannot be reached, or fails at what it was asked for
    ├── DeviceTimeout     what runs on a device does not end
    └── DeviceBusy        another run holds the device
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PocketGnnError(Exception):
    """Root of every error that pocketgnn raises on purpose."""


class UnsupportedModule(PocketGnnError):
    """A module or function of the user's model has no lowering; the message starts with its module path."""


class InvalidGraph(PocketGnnError):
    """An IR graph breaks an invariant that `toolchain.ir.verify` checks."""


class TypeMismatch(InvalidGraph):
    """An op does not accept the types of its operands."""


class InvalidInput(PocketGnnError):
    """A runtime graph is malformed: wrong shape, index out of range, non-finite value."""


class OutsideContract(InvalidInput):
    """A well-formed graph that lies outside the contract of the artifact: too many nodes, missing edge_attr, ..."""


@contextmanager
def named(place: str) -> Iterator[None]:
    """Say whose numbers they are that lie outside the contract."""
    try:
        yield
    except OutsideContract as error:
        raise OutsideContract(f"{place}: {error}") from error


class ArtifactError(PocketGnnError):
    """An artifact folder is damaged, unsafe to load, or stands where a new one was to be written."""


class UnsafeCheckpoint(PocketGnnError):
    """A checkpoint holds more than tensors and plain containers, so loading it could run code."""


class MissingDependency(PocketGnnError):
    """An optional library is missing; the message names the extra to install."""


class RecipeError(PocketGnnError):
    """A recipe, target file or command-line option is malformed."""


class TrainingDiverged(PocketGnnError):
    """A training step has a loss or a parameter that is not finite, or integers that do not fit; names the epoch and the step."""


class QuantizationRefused(PocketGnnError):
    """No integer configuration reaches the agreement that was asked for."""


class ExportError(PocketGnnError):
    """A backend cannot express a graph; the message names the value and its scope."""


class GateFailed(PocketGnnError):
    """A gate that the user stated (agreement, accuracy drop, size) is not met."""


class DoesNotFit(PocketGnnError):
    """An image or its data are larger than the target's memory; the message names the largest constants."""


class MeasurementError(PocketGnnError):
    """A measuring process died, or what it returned cannot be a measurement."""


class DeviceError(PocketGnnError):
    """A device cannot be reached, refuses, or its connection is lost; the message starts with its name."""


class DeviceTimeout(DeviceError):
    """What runs on a device had not ended in time."""


class DeviceBusy(DeviceError):
    """Another run holds the device, so that a measurement of both would be of neither."""


def require(module: str, extra: str):  # type: ignore[no-untyped-def]  # returns any optional module
    """Import an optional library at call time, or say which extra installs it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise MissingDependency(
            f"{module} is not installed; this step needs it. Install it with: pip install 'pocketgnn[{extra}]'."
        ) from error
