"""A 64-bit Arm computer with a kernel of its own: dropbear and adbd there, ssh and adb here, and no time worth telling."""

from __future__ import annotations

import json

import pytest

import toolchain
from device_benchmarks.device_session import bench_on, verify_on
from device_benchmarks.transports import AdbTransport, RunFolder, SshTransport, Transport
from toolchain.cli import main
from toolchain.errors import DeviceError
from toolchain.model_source import ModelSource

pytestmark = pytest.mark.devices


@pytest.fixture(params=["ssh", "adb"])
def transport(request, machine) -> Transport:
    return SshTransport("pi", machine.ssh_config) if request.param == "ssh" else AdbTransport(machine.serial)


def test_int8_outputs_on_arm_are_those_of_the_host_bit_for_bit(transport, int8_artifact, graphs):
    report = verify_on(transport, int8_artifact, graphs)

    assert (report.identical, report.differences) == (len(graphs), {})


def test_its_own_kernel_tells_the_memory_of_the_program(transport, int8_artifact, graphs):
    """VmHWM of a machine, which is right though its time is not; that of QEMU's user mode would hold QEMU as well."""
    memory = verify_on(transport, int8_artifact, graphs).memory

    assert 2**15 < memory["pss_bytes"] <= memory["peak_rss_bytes"] < 2 * 2**20


def test_it_and_a_device_of_another_processor_are_verified_side_by_side(
    machine, adb, int8_artifact, model_file, capsys
):
    names = [f"adb:{machine.serial}", f"adb:{adb.serial}"]
    arguments = [part for name in names for part in ("-d", name)]

    assert main(["verify", str(int8_artifact.path), *arguments, "--model", model_file, "--format", "json", "-q"]) == 0

    found = json.loads(capsys.readouterr().out)["parity"]
    assert [(parity["device"], parity["differences"]) for parity in found] == [(name, {}) for name in names]


def test_exit_codes_come_from_it(transport):
    with transport, RunFolder(transport) as folder:
        folder.put("program", b"#!/bin/sh\nexit 42\n", is_program=True)
        assert folder.run(["./program"], seconds=60).status == 42


def test_nothing_is_timed_in_an_emulator(transport, int8_artifact, graphs):
    with pytest.raises(DeviceError, match="QEMU's virt machine: emulated: correctness and instruction counts only"):
        bench_on(transport, int8_artifact, graphs[0])


def test_nothing_is_left_on_it(transport):
    with transport:
        found = transport.run(["sh", "-c", "ls -A /tmp /data/local/tmp"], seconds=60)

    assert found.output.decode().split() == ["/data/local/tmp:", "/tmp:"]


@pytest.mark.parametrize(("format", "library"), [("onnx", "onnxruntime"), ("litert", "ai_edge_litert")])
def test_a_python_library_on_arm_gives_the_outputs_of_the_host(machine, model_file, graphs, tmp_path, format, library):
    pytest.importorskip(library)
    source = ModelSource(model_file)
    artifact = toolchain.export(toolchain.lower(source.model(), source.graphs()[0]), format, tmp_path / format)

    report = verify_on(SshTransport("pi", machine.ssh_config), artifact, graphs[:5])

    assert (report.graphs, report.differences) == (5, {})
    assert report.max_relative <= 1e-5
    assert report.memory["peak_rss_bytes"] > 16 * 2**20  # a Python with its library, by the machine's own account
