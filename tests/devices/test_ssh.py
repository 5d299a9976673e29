"""A real OpenSSH server on the loopback interface as a device."""

from __future__ import annotations

import getpass
import json

import numpy as np
import pytest

import toolchain
from device_benchmarks.device_session import bench_on, verify_on
from device_benchmarks.measurement import Scope
from device_benchmarks.protocol import Protocol
from device_benchmarks.transports import RunFolder, SshTransport
from toolchain.cli import main
from toolchain.errors import DeviceBusy, DeviceError
from toolchain.model_source import ModelSource

pytestmark = [pytest.mark.devices, pytest.mark.usefixtures("nothing_left")]
SHORT = Protocol("short", samples=8, seconds=0.2, warmup_samples=2, warmup_seconds=0.1, rounds=2)


def test_int8_outputs_over_ssh_are_those_of_the_host_bit_for_bit(start_sshd, int8_artifact, graphs):
    report = verify_on(SshTransport("board", start_sshd().config), int8_artifact, graphs)

    assert (report.device, report.identical, report.differences) == ("ssh:board", len(graphs), {})


def test_a_benchmark_over_ssh_is_valid_and_takes_little_more_than_its_measuring(start_sshd, int8_artifact, graphs):
    result = bench_on(SshTransport("board", start_sshd().config), int8_artifact, graphs[0], protocol=SHORT)

    assert result.is_valid
    assert result.answers.memory["peak_rss_bytes"] < 10 * 2**20
    assert result.answers.runtime["program_bytes"] <= 100_000
    assert result.measuring_seconds < result.wall_seconds


def test_a_python_library_is_measured_over_ssh_with_memory_and_every_sample(start_sshd, model_file, graphs, tmp_path):
    pytest.importorskip("onnxruntime")
    source = ModelSource(model_file)
    artifact = toolchain.export(toolchain.lower(source.model(), source.graphs()[0]), "onnx", tmp_path / "small-onnx")

    result = bench_on(SshTransport("board", start_sshd().config), artifact, graphs[0], protocol=SHORT)

    assert result.is_valid, result.reasons
    assert result.answers.memory["peak_rss_bytes"] > 16 * 2**20
    assert all(result.samples_us(scope).size >= SHORT.samples for scope in Scope)
    assert any(name.startswith("onnxruntime-") for name in result.answers.runtime["wheels"])


def test_the_command_line_measures_two_devices_side_by_side(start_sshd, int8_artifact, model_file, tmp_path, capsys):
    server, other = start_sshd(), start_sshd()
    config = tmp_path / "both"
    config.write_text(server.config.read_text() + other.config.read_text().replace("Host board", "Host second"))
    arguments = [
        "-d",
        "ssh:board",
        "-d",
        "ssh:second",
        "--ssh-config",
        str(config),
        "--model",
        model_file,
        "--format",
        "json",
    ]

    status = main(["verify", str(int8_artifact.path), *arguments, "-q"])

    # Both are this machine, so one of them may find it held by the other: never two at once.
    found = json.loads(capsys.readouterr().out)
    assert status == (1 if found["failures"] else 0)
    assert all("another run holds the device" in words for words in found["failures"].values())
    assert all(parity["differences"] == {} for parity in found["parity"])
    assert len(found["parity"]) + len(found["failures"]) == 2
    assert found["parity"]


def test_devices_lists_a_server_with_what_it_is(start_sshd, capsys):
    config = start_sshd().config

    assert main(["devices", "--ssh-config", str(config), "--format", "json", "-q"]) == 0

    (found,) = [d for d in json.loads(capsys.readouterr().out)["devices"] if d["kind"] == "ssh"]
    assert (found["name"], found["is_ready"]) == ("ssh:board", True)


def test_large_files_go_there_and_back(start_sshd):
    data = np.random.default_rng(0).bytes(3_000_000)

    with SshTransport("board", start_sshd().config) as transport, RunFolder(transport) as folder:
        folder.put("data", data)
        assert folder.get("data") == data


def test_a_second_client_is_refused_while_the_first_goes_on(start_sshd):
    config = start_sshd().config

    with SshTransport("board", config) as first, RunFolder(first) as folder:
        with pytest.raises(DeviceBusy), SshTransport("board", config) as second, RunFolder(second):
            pass
        folder.put("data", b"x")


def test_an_unknown_host_key_is_refused(start_sshd):
    server = start_sshd()
    (server.folder / "known_hosts").write_text("")

    with (
        pytest.raises(DeviceError, match=r"ssh:board: its host key is not known"),
        SshTransport("board", server.config),
    ):
        pass


def test_a_changed_host_key_is_refused(start_sshd):
    server = start_sshd()
    place = (server.folder / "known_hosts").read_text().split()[0]
    (server.folder / "known_hosts").write_text(f"{place} {(server.folder / 'user.pub').read_text()}")

    with pytest.raises(DeviceError, match="its host key is not the known one"), SshTransport("board", server.config):
        pass


def test_an_unauthorized_key_is_refused_without_a_question(start_sshd, int8_artifact, model_file, capsys, tmp_path):
    server, output = start_sshd(), tmp_path / "out"
    (server.folder / "authorized_keys").write_text("")
    arguments = [
        "-d",
        "ssh:board",
        "--ssh-config",
        str(server.config),
        "--model",
        model_file,
        "--quick",
        "-o",
        str(output),
        "-q",
    ]

    assert main(["bench", str(int8_artifact.path), *arguments]) == 1

    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert error.startswith(
        "error: ssh:board: it accepts none of your keys. Add your public key to its authorized_keys ("
    )
    assert not output.exists()


def test_a_host_of_a_recipe_is_reached_as_the_recipe_says(start_sshd, int8_artifact, model_file, capsys, tmp_path):
    server = start_sshd()
    config, recipe = tmp_path / "config", tmp_path / "lab.yaml"
    config.write_text(f"Host *\n  UserKnownHostsFile {server.folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n")
    (tmp_path / "a key").write_bytes((server.folder / "user").read_bytes())
    (tmp_path / "a key").chmod(0o600)
    entry = f"{{ssh: 127.0.0.1, port: {server.port}, user: {getpass.getuser()}, identity_file: a key}}"
    recipe.write_text(f"version: 1\ndevices: {{pi: {entry}}}\nsteps: [export]\n")
    options = ["--recipe", str(recipe), "--ssh-config", str(config), "--format", "json", "-q"]

    assert main(["verify", str(int8_artifact.path), "-d", "pi", "--model", model_file, *options]) == 0
    (parity,) = json.loads(capsys.readouterr().out)["parity"]
    assert (parity["device"], parity["differences"]) == ("pi", {})

    assert main(["devices", *options]) == 0
    listed = {device["name"]: device for device in json.loads(capsys.readouterr().out)["devices"]}
    assert (listed["pi"]["kind"], listed["pi"]["is_ready"]) == ("ssh", True)

    (tmp_path / "a key").unlink()
    assert main(["verify", str(int8_artifact.path), "-d", "pi", "--model", model_file, *options]) == 1
    assert f"pi: identity_file {tmp_path}/a key: no such file" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told(start_sshd):
    server = start_sshd()
    server.process.terminate()
    server.process.wait()

    with pytest.raises(DeviceError, match="it runs no ssh server on this port"), SshTransport("board", server.config):
        pass
