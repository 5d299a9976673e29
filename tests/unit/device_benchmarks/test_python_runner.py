"""What goes to a device for a Python runtime: wheels for its Python, and one that holds all that it needs of this project."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import venv
import zipfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import runtimes
import toolchain
from device_benchmarks.core_wheel import core_wheel
from device_benchmarks.device_child import REQUEST, RESULTS
from device_benchmarks.device_python import DevicePython, device_python, wheels_for
from device_benchmarks.measurement import Scope
from device_benchmarks.protocol import Protocol
from device_benchmarks.python_runner import PythonRunner, artifact_archive, graphs_archive
from device_benchmarks.transports import LocalTransport
from toolchain.errors import DeviceError
from toolchain.inputs import GraphInputs

SHORT = Protocol("short", samples=8, seconds=0.05, warmup_samples=2, warmup_seconds=0.01, rounds=2)
CHILD = "import sys; from device_benchmarks import device_child; device_child.main(); assert 'torch' not in sys.modules"


@pytest.fixture(scope="module")
def runtime(exported, tmp_path_factory):
    return runtimes.load(toolchain.export(exported.lowered, "onnx", tmp_path_factory.mktemp("onnx") / "small-onnx"))


def test_the_wheel_computes_and_times_with_the_library_of_its_format_alone(runtime, exported, tmp_path):
    graphs = [GraphInputs.from_pyg(data) for data in exported.parts.test]
    for archive in (core_wheel()[1], artifact_archive(runtime.artifact), graphs_archive(graphs)):
        zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path)
    request = {"graphs": len(graphs), "timed": 1, "core_mask": 0, "protocol": asdict(SHORT)}
    (tmp_path / REQUEST).write_text(json.dumps(request))

    subprocess.run([sys.executable, "-c", CHILD], cwd=tmp_path, env={"PYTHONPATH": "."}, check=True, timeout=120)
    answers = PythonRunner(runtime, LocalTransport())._answers((tmp_path / RESULTS).read_bytes(), len(graphs))

    for graph, answer in zip(graphs, answers.computed, strict=True):
        for expected, found in zip(runtime.run(graph), answer.outputs, strict=True):
            np.testing.assert_array_equal(expected, found)
    assert [(w.scope, w.round) for w in answers.windows] == [(scope, r) for r in range(2) for scope in Scope]
    assert all(w.inferences >= SHORT.window.samples and w.samples_ns.min() > 0 for w in answers.windows)
    assert answers.runtime["name"] == runtime.name
    assert answers.load_ns is not None and answers.load_ns > 0
    assert 0 < answers.memory["pss_bytes"] <= answers.memory["peak_rss_bytes"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A fresh virtual environment with the wheel of this project and nothing else of it."""
    folder = tmp_path_factory.mktemp("environment")
    name, content = core_wheel()
    (folder / name).write_bytes(content)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-compile", str(folder / name)], check=True, timeout=300)
    return python


def test_pip_installs_the_wheel_without_an_index_and_its_modules_are_found(environment):
    """In the environment alone: numpy is that of these tests."""
    script = (
        "import importlib.metadata as m, device_benchmarks.device_child as child; "
        "print(m.version('pocketgnn'), child.__file__)"
    )
    done = subprocess.run(
        [environment, "-c", script], env={"PYTHONPATH": str(Path(np.__file__).parents[1])}, cwd=environment.parent, check=True,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    version, file = done.stdout.split()
    assert version == metadata.version("pocketgnn")
    assert Path(file).is_relative_to(environment.parents[1])


def test_an_installed_wheel_makes_the_same_wheel(environment):
    """So a machine where this project is no checkout brings to a device what a checkout does."""
    script = (
        "import hashlib; from device_benchmarks.core_wheel import core_wheel; name, content = core_wheel(); "
        "print(name, hashlib.sha256(content).hexdigest())"
    )
    done = subprocess.run(
        [environment, "-c", script], cwd=environment.parent, check=True, capture_output=True, text=True, timeout=120
    )

    name, content = core_wheel()
    assert done.stdout.split() == [name, hashlib.sha256(content).hexdigest()]


def test_every_file_of_the_wheel_is_recorded_with_its_sum():
    """As pip checks it only where it removes files: RECORD lists all of them, itself without a sum."""
    with zipfile.ZipFile(io.BytesIO(core_wheel()[1])) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        rows = dict(line.split(",", 1) for line in archive.read(record).decode().splitlines())
        found = {
            name: f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}"
            for name in archive.namelist()
            if (data := archive.read(name)) is not None and name != record
        }

    assert rows == {**found, record: ","}
    assert {"toolchain/artifact.py", "runtimes/operators/onnxruntime_spmm.c"} <= set(rows)


def test_wheels_for_a_device_are_of_its_c_library_or_an_older_one():
    words = DevicePython(3, 11, "aarch64", 19).platforms()

    assert words == [
        "manylinux_2_19_aarch64", "manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64",
    ]  # fmt: skip


def test_this_machine_tells_its_python():
    found = device_python(LocalTransport())

    assert found.major == 3 and found.minor >= 9
    assert found.machine


def test_a_device_without_python_is_told_the_way_out():
    class Bare(LocalTransport):
        def shell(self, script: str) -> list[str]:
            return ["env", "PATH=/nowhere", "/bin/sh", "-c", script]

    with pytest.raises(DeviceError, match=r"local: no Python with venv \(.*\)\. Install python3-venv there, or export"):
        device_python(Bare())


@pytest.mark.parametrize(
    ("answer", "machine", "uses_own_numpy"),
    [
        ("3 13 aarch64 2.41 64 0", "aarch64", False),
        ("3 13 aarch64 2.41 64 1 asimd atomics fp", "aarch64", False),
        ("3 11 aarch64 2.36 32 1", "armv7l", True),  # a 32-bit system on a 64-bit kernel, as Raspberry Pi OS has it
        ("3 11 armv7l 2.36 32 1", "armv7l", True),
        ("3 11 armv7l 2.36 32 0", "armv7l", False),
    ],
)
def test_a_python_is_known_by_what_it_was_built_for(answer, machine, uses_own_numpy, tmp_path, monkeypatch):
    (tmp_path / "python3").write_text(f"#!/bin/sh\necho {answer}\n")
    (tmp_path / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    found = device_python(LocalTransport())

    assert (found.machine, found.uses_own_numpy) == (machine, uses_own_numpy)
    assert found.features == set(answer.split()[6:])


@pytest.mark.parametrize(
    ("format", "python", "words"),
    [
        (
            "executorch",
            DevicePython(3, 13, "aarch64", 41, features=frozenset({"fp", "asimd"})),
            "executorch need .*'atomics'",
        ),
        (
            "executorch",
            DevicePython(3, 14, "aarch64", 41, features=frozenset({"atomics"})),
            "executorch for Python 3.14 .* 3.13",
        ),
        (
            "litert",
            DevicePython(3, 13, "armv7l", 41, has_numpy=True),
            "tflite-runtime for Python 3.13 on armv7l; .* 3.11",
        ),
    ],
)
def test_a_device_that_no_wheels_are_for_is_refused_with_the_reason(format, python, words, tmp_path):
    """A Cortex-A72, for instance: torch 2.10 for 64-bit Arm ends there with an illegal instruction."""
    with pytest.raises(DeviceError, match=rf"pi4: .*wheels of {words}.* Export the model with --to c"):
        wheels_for(format, python, tmp_path, "pi4")
