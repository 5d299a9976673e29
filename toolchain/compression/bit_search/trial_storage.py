"""The file that a budget search keeps its trials in: a journal of Optuna, and what tells one search from another."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolchain.compression.data_digest import data_sha256
from toolchain.errors import RecipeError, require
from toolchain.ir import Graph

if TYPE_CHECKING:
    from toolchain.compression.bit_search.budget_search import BudgetSearch

logger = logging.getLogger("pocketgnn")

STUDY = "pocketgnn"
RECORD = b'{"op_code":'  # what every line of a journal starts with
SHORT = 40  # characters of an option that a message still quotes

Description = dict[str, Any]
"""Everything that the result of a trial follows from, by the place of the option: plain values, and digests of data."""


def open_study(storage: Path | str | None, describe: Callable[[], Description]) -> Any:
    """The Optuna study of a search: of its file, where it has one.

    Args:
        describe: the search, for its file.

    Raises:
        RecipeError: the file is damaged, is none, cannot be written, or holds another search.
        MissingDependency: Optuna is not installed.
    """
    optuna = require("optuna", "search")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if storage is None:
        return optuna.create_study(study_name=STUDY, direction="maximize")
    path = Path(storage)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        study = _of_journal(path)
        known = study.user_attrs.get("search")
        own = json.loads(json.dumps(describe()))
        if known is None:
            study.set_user_attr("search", own)
            return study
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be read or written as the storage of a search ({error.strerror or error}). Give the path of a "
            "file in a folder that can be written."
        ) from error
    differing = _differing(known if isinstance(known, dict) else {}, own)
    if differing:
        raise RecipeError(
            f"{path}: holds another search; this one differs in {', '.join(differing)}. Give another file, or remove it."
        )
    return study


def describe(graph: Graph, method: BudgetSearch) -> Description:
    """Everything that the result of a trial of a search follows from.

    What differs between the runs of one search is left out: how many trials, at random or in all, and how many workers.
    The quantizers of the training are as well, for those of the candidate replace them.
    """
    qat = method.qat
    entries: Description = {
        "graph": _graph_sha256(graph), "validation": data_sha256(method.validation), "seed": _plain(method.seed),
        "widths": _plain(method.widths), "channels": _plain(method.channels),
        "budgets": [[b.name, _plain(b.limit), _plain(b.measure)] for b in method.budgets],
        "qat.loader": data_sha256(qat.loader),
        "qat.validation": None if qat.validation is None else data_sha256(qat.validation),
        "qat.static.calibration_graphs": data_sha256(qat.static.calibration_graphs),
    }  # fmt: skip
    entries |= _options("qat", qat, {"loader", "validation", "static", "quantizers", "distillation", "watch"})
    entries |= _options("qat.static", qat.static, {"calibration_graphs"})
    if qat.distillation is not None:
        teacher = qat.distillation.teacher
        entries["qat.distillation.teacher"] = None if teacher is None else _graph_sha256(teacher)
        entries |= _options("qat.distillation", qat.distillation, {"teacher"})
    return entries


def _graph_sha256(graph: Graph) -> str:
    digest = hashlib.sha256(str(graph).encode())
    for name in sorted(graph.constants):
        digest.update(name.encode() + b"\0" + graph.constants[name].tobytes())
    return f"sha256:{digest.hexdigest()}"


def _options(place: str, options: Any, left_out: set[str]) -> Description:
    names = [field.name for field in fields(options) if field.name not in left_out]
    return {f"{place}.{name}": _plain(getattr(options, name)) for name in names}


def _plain(value: Any) -> Any:
    """An option as JSON has it; the order of patterns is kept, for the last match counts."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(entry)] for key, entry in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, _options("", value, set())]
    if isinstance(value, partial):
        return [_plain(value.func), _plain(value.args), _plain(value.keywords)]
    return getattr(value, "__qualname__", type(value).__qualname__)


def _differing(known: Description, own: Description) -> list[str]:
    """Names of what two searches do not share, with the values where they are short."""
    found = []
    for name in [*own, *(name for name in known if name not in own)]:
        if name in known and name in own and known[name] == own[name]:
            continue
        there, here = (json.dumps(entry.get(name)) for entry in (known, own))
        is_digest = "sha256:" in there + here
        found.append(name if is_digest or len(there + here) > SHORT else f"{name} ({there} there, {here} here)")
    return found


def _of_journal(path: Path) -> Any:
    from optuna import create_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if path.exists():
        _check_records(path)
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        return create_study(storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # records that do not follow from each other
        raise RecipeError(
            f"{path}: is no storage of a search, or a damaged one ({type(error).__name__}: {error}). Give another file, or "
            "remove this one."
        ) from error


def _check_records(path: Path) -> None:
    """Refuse a file with anything but records; a last one that a killed process did not finish is dropped."""
    from optuna.storages.journal import JournalFileSymlinkLock

    lock = JournalFileSymlinkLock(str(path))  # that of the journal: another process may be in the middle of a record
    if path.is_dir():
        raise RecipeError(
            f"{path}: is a folder, expected the path of a file for the trials. Give {path / 'trials.log'}."
        )
    lock.acquire()
    try:
        content = path.read_bytes()
        *records, rest = content.split(b"\n")
        for number, record in enumerate(records, 1):
            if not _is_record(record):
                raise _no_record(path, number)
        if not rest:
            return
        if rest[: len(RECORD)] != RECORD[: len(rest)]:
            raise _no_record(path, len(records) + 1)
        logger.warning("%s: the last record is unfinished, as a killed process leaves it; it is dropped", path)
        with open(path, "r+b") as stream:
            stream.truncate(len(content) - len(rest))
    finally:
        lock.release()


def _is_record(line: bytes) -> bool:
    try:
        return line.startswith(RECORD) and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _no_record(path: Path, number: int) -> RecipeError:
    return RecipeError(
        f"{path}: line {number} is no record of a trial, so this is no storage of a search, or a damaged one. Give another "
        "file, or remove this one."
    )
