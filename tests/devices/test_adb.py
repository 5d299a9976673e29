"""The real adbd as a device, reached by the real adb."""

from __future__ import annotations

import json

import pytest

import toolchain
from device_benchmarks.device_session import bench_on, verify_on
from device_benchmarks.protocol import Protocol
from device_benchmarks.transports import AdbTransport, RunFolder
from toolchain.cli import main
from toolchain.errors import DeviceError
from toolchain.inputs import GraphInputs
from toolchain.model_source import ModelSource

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


def test_two_devices_are_verified_side_by_side(adb, second_adb, int8_artifact, model_file, capsys):
    names = [f"adb:{device.serial}" for device in (adb, second_adb)]
    arguments = [part for name in names for part in ("-d", name)]

    assert main(["verify", str(int8_artifact.path), *arguments, "--model", model_file, "--format", "json", "-q"]) == 0

    found = json.loads(capsys.readouterr().out)["parity"]
    assert [(parity["device"], parity["differences"]) for parity in found] == [(name, {}) for name in names]
    assert [list(device.folder.iterdir()) for device in (adb, second_adb)] == [[], []]


def test_two_devices_are_measured_side_by_side_into_a_file_each(
    adb, second_adb, int8_artifact, model_file, capsys, tmp_path
):
    names = [f"adb:{device.serial}" for device in (adb, second_adb)]
    arguments = [*(part for name in names for part in ("-d", name)), "--model", model_file, "--quick"]

    assert main(["bench", str(int8_artifact.path), *arguments, "-o", str(tmp_path), "--format", "json", "-q"]) == 0

    found = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert sorted(result["device"]["name"] for result in found) == sorted(names)
    assert [result["valid"] for result in found] == [True, True]


def test_without_a_name_two_devices_are_told_apart_by_the_variable_that_adb_reads(
    adb, second_adb, int8_artifact, graphs, monkeypatch
):
    with pytest.raises(DeviceError, match=f"one device is expected, there are: .*{adb.serial}"), AdbTransport():
        pass

    monkeypatch.setenv("ANDROID_SERIAL", second_adb.serial)

    assert verify_on(AdbTransport(), int8_artifact, graphs[:1]).device == f"adb:{second_adb.serial}"


def test_a_device_of_a_recipe_is_found_by_its_name(adb, int8_artifact, model_file, capsys, tmp_path):
    recipe = tmp_path / "lab.yaml"
    recipe.write_text(f'version: 1\ndevices: {{phone: {{adb: "{adb.serial}"}}}}\nsteps: [export]\n')
    arguments = ["-d", "phone", "--recipe", str(recipe), "--model", model_file, "--format", "json", "-q"]

    assert main(["verify", str(int8_artifact.path), *arguments]) == 0

    (parity,) = json.loads(capsys.readouterr().out)["parity"]
    assert (parity["device"], parity["differences"]) == ("phone", {})


def test_a_device_that_knows_the_key_of_this_machine_lets_it_in(strict_adb, adb_environment, int8_artifact, graphs):
    device = strict_adb(adb_environment, "device")

    assert verify_on(AdbTransport(device.serial), int8_artifact, graphs[:3]).identical == 3


def test_an_unauthorized_key_is_refused_with_the_way_out(strict_adb, int8_artifact, model_file, capsys, tmp_path):
    (tmp_path / "no keys").touch()
    device, output = strict_adb(tmp_path / "no keys", "unauthorized"), tmp_path / "out"
    arguments = ["-d", f"adb:{device.serial}", "--model", model_file, "--quick", "-o", str(output), "-q"]

    assert main(["bench", str(int8_artifact.path), *arguments]) == 1

    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    words = "it does not trust this machine. Unlock it and accept the key of this machine (unauthorized)."
    assert errors == [f"error: adb:{device.serial}: {words}"]
    assert not output.exists()
    assert list(device.folder.iterdir()) == []


def test_a_device_that_refuses_this_machine_is_listed_as_not_ready(strict_adb, capsys, tmp_path):
    for name in ("no keys", "config"):
        (tmp_path / name).touch()
    device = strict_adb(tmp_path / "no keys", "unauthorized")

    assert main(["devices", "--ssh-config", str(tmp_path / "config"), "--format", "json", "-q"]) == 0

    found = {d["name"]: d for d in json.loads(capsys.readouterr().out)["devices"]}[f"adb:{device.serial}"]
    assert not found["is_ready"]
    assert "it does not trust this machine" in found["description"]


def test_bytes_that_are_damaged_on_the_way_are_sent_once_more(adb):
    with AdbTransport(adb.serial) as transport, RunFolder(transport) as folder:
        adb.proxy.damage(b"xyzxyz", b"xyz!yz", 1)
        folder.put("data", b"xyz" * 1000)
        assert folder.get("data") == b"xyz" * 1000


def test_a_connection_that_always_damages_bytes_is_given_up(adb):
    with AdbTransport(adb.serial) as transport, RunFolder(transport) as folder:
        adb.proxy.damage(b"xyzxyz", b"xyz!yz", 1000)
        with pytest.raises(DeviceError, match=r"data arrived with sha256 [0-9a-f]{64}, twice; expected [0-9a-f]{64}"):
            folder.put("data", b"xyz" * 1000)

    assert list(adb.folder.iterdir()) == []


def test_a_format_that_needs_python_names_the_app_that_can_run_it(adb, model_file, tmp_path):
    pytest.importorskip("onnxruntime")
    source = ModelSource(model_file)
    artifact = toolchain.export(toolchain.lower(source.model(), source.graphs()[0]), "onnx", tmp_path / "small-onnx")

    with pytest.raises(
        DeviceError, match=r"Android has not. Its way is the Gradle benchmark app .*--for android --with small-onnx"
    ):
        verify_on(AdbTransport(adb.serial), artifact, [GraphInputs.from_pyg(source.graphs()[0])])

    assert list(adb.folder.iterdir()) == []
