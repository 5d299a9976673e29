"""The real adbd as a device, reached by the real adb."""

from __future__ import annotations

import json

import pytest

from device_benchmarks.device_session import bench_on, verify_on
from device_benchmarks.protocol import Protocol
from device_benchmarks.transports import AdbTransport
from toolchain.cli import main
from toolchain.errors import DeviceError

pytestmark = pytest.mark.devices
SHORT = Protocol("short", samples=8, seconds=0.2, warmup_samples=2, warmup_seconds=0.1, rounds=2)


def test_int8_outputs_over_adb_are_those_of_the_host_bit_for_bit(adb, int8_artifact, graphs):
    report = verify_on(AdbTransport(adb.serial), int8_artifact, graphs)

    assert (report.device, report.identical, report.differences) == (f"adb:{adb.serial}", len(graphs), {})
    assert list(adb.folder.iterdir()) == []


def test_a_benchmark_over_adb_is_valid(adb, int8_artifact, graphs):
    result = bench_on(AdbTransport(adb.serial), int8_artifact, graphs[0], protocol=SHORT)

    assert result.is_valid
    assert result.answers.memory["peak_rss_bytes"] < 10 * 2**20
    assert result.answers.runtime["program_bytes"] <= 100_000


def test_the_only_device_needs_no_name(adb, int8_artifact, graphs):
    report = verify_on(AdbTransport(), int8_artifact, graphs[:1])

    assert report.device == f"adb:{adb.serial}"


def test_the_variable_that_adb_reads_names_the_device(adb, monkeypatch):
    monkeypatch.setenv("ANDROID_SERIAL", "nowhere")

    with pytest.raises(DeviceError, match="adb:nowhere: adb sees no such device"), AdbTransport():
        pass
    with AdbTransport(adb.serial) as transport:
        assert transport.run(["true"], seconds=30).status == 0


def test_devices_lists_it_with_what_it_is(adb, capsys, tmp_path):
    (tmp_path / "config").touch()

    assert main(["devices", "--ssh-config", str(tmp_path / "config"), "--format", "json", "-q"]) == 0

    found = [d for d in json.loads(capsys.readouterr().out)["devices"] if d["kind"] == "adb"]
    assert [(device["name"], device["is_ready"]) for device in found] == [(f"adb:{adb.serial}", True)]
