"""devices, verify -d and bench -d: what they print, and the status they end with."""

from __future__ import annotations

import json
import tempfile

import pytest

from device_benchmarks.device_names import ssh_hosts
from tests.host_board import HostBoard, build_host_board
from tests.small_model import last_error
from toolchain.artifact import Artifact
from toolchain.cli import main


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """This machine as a device of its own for every test."""
    (tmp_path / "device").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "device"))
    yield tmp_path / "device"
    assert list((tmp_path / "device").iterdir()) == []


@pytest.fixture(scope="module")
def c_artifact(workplace, tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    assert main(["export", str(workplace / "small_model.py"), "--to", "c", "-o", str(folder), "-q"]) == 0
    return str(folder / "model-c-float32")


def test_outputs_on_a_device_are_compared_with_the_host(c_artifact, model, capsys):
    assert main(["verify", c_artifact, "-d", "local", "--model", model, "--format", "json", "-q"]) == 0

    (parity,) = json.loads(capsys.readouterr().out)["parity"]
    assert (parity["device"], parity["differences"], parity["max_abs"]) == ("local", {}, 0.0)
    assert parity["identical_graphs"] == parity["graphs"] > 0


def test_this_machine_and_the_emulators_are_listed(capsys, tmp_path):
    (tmp_path / "config").write_text("Host *.example\n  User x\n")

    assert main(["devices", "--ssh-config", str(tmp_path / "config"), "--format", "json", "-q"]) == 0

    found = {device["name"]: device for device in json.loads(capsys.readouterr().out)["devices"]}
    assert found["local"]["is_ready"]
    assert all(device["is_emulated"] for device in found.values() if device["kind"] == "emulator")
    assert "emulator:cortex-m4" in found


def test_hosts_of_the_configuration_are_listed_with_the_reason_why_they_are_not_reached(capsys, tmp_path):
    (tmp_path / "config").write_text("Host pi4 *.lab\n  HostName 127.0.0.1\n  Port 1\n")

    assert main(["devices", "--ssh-config", str(tmp_path / "config"), "-q"]) == 0

    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ssh:")]
    assert line.startswith("ssh:pi4")
    assert "NOT READY" in line
    assert "it runs no ssh server on this port" in line or "ssh is not installed" in line


def test_boards_on_usb_are_listed_with_vendor_and_product_and_other_ports_are_not(capsys, monkeypatch, tmp_path):
    list_ports = pytest.importorskip("serial.tools.list_ports")
    common = pytest.importorskip("serial.tools.list_ports_common")
    usb, builtin = common.ListPortInfo("/dev/ttyACM7"), common.ListPortInfo("/dev/ttyS0")
    usb.vid, usb.pid, usb.description = 0x0483, 0x374B, "STM32 STLink"
    monkeypatch.setattr(list_ports, "comports", lambda: [builtin, usb])
    (tmp_path / "config").touch()

    assert main(["devices", "--ssh-config", str(tmp_path / "config"), "--format", "json", "-q"]) == 0

    found = [device for device in json.loads(capsys.readouterr().out)["devices"] if device["kind"] == "serial"]
    assert [(device["name"], device["description"]) for device in found] == [
        ("serial:/dev/ttyACM7", "0483:374b STM32 STLink")
    ]


def test_hosts_of_files_that_the_configuration_includes_are_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh" / "lab"
    folder.mkdir(parents=True)
    (tmp_path / ".ssh" / "config").write_text(f"Include lab/*.conf\nInclude {tmp_path}/more\nHost pi5 *\n")
    (folder / "a.conf").write_text('host = "pi3" pi4\n  User x\n')
    (folder / "other").write_text("Host hidden\n")
    (tmp_path / "more").write_text(f"Include {tmp_path}/more\nHost zero pi5\n")  # itself, which ssh follows to a depth

    assert ssh_hosts(tmp_path / ".ssh" / "config") == ["pi3", "pi4", "zero", "pi5"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["-d", "nothing"], 2, "device 'nothing' is unknown. Devices are called local, ssh:HOST"),
        (["-d", "ssh:"], 2, "device 'ssh:' is unknown"),
        (["-d", "ssh:-oProxyCommand=x"], 1, "is no ssh host"),
        (["-d", "adb:-x"], 1, "is no serial number of a device"),
        (["-d", "local", "--graph-index", "999"], 2, "--graph-index 999: there are"),
        (["-d", "local", "-d", "emulator:cortex-m4"], 2, "run them apart"),
    ],
)
def test_a_device_that_cannot_be_meant_is_refused(c_artifact, model, capsys, tmp_path, arguments, status, words):
    output = ["-o", str(tmp_path / "out")]

    assert main(["bench", c_artifact, "--model", model, *arguments, *output, "-q"]) == status

    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_gates_against_the_model_do_not_go_with_a_device(c_artifact, model, capsys):
    assert main(["verify", c_artifact, "-d", "local", "--model", model, "--max-abs", "1"]) == 2

    assert "-d compares a device with the host" in capsys.readouterr().err


def test_a_format_without_a_runner_for_devices_is_refused(artifact, model, capsys):
    assert main(["verify", artifact, "-d", "local", "--model", model, "-q"]) == 1

    assert last_error(capsys.readouterr()).startswith("error: local: no runner for format 'torchscript' on this device")


@pytest.mark.parametrize("verb", ["verify", "bench"])
def test_a_board_that_is_not_there_is_told(c_artifact, model, capsys, tmp_path, verb):
    output = ["-o", str(tmp_path / "out")] if verb == "bench" else []

    assert main([verb, c_artifact, "-d", "serial:/dev/nothing", "--model", model, *output, "-q"]) == 1

    assert "serial:/dev/nothing: cannot be opened" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def board(c_artifact, tmp_path):
    pytest.importorskip("serial")
    (tmp_path / "board").mkdir()
    started = HostBoard(build_host_board(Artifact.load(c_artifact), tmp_path / "board"))
    yield started
    started.close()


@pytest.fixture
def recipe(board, tmp_path):
    """A recipe with a board and a machine that is not there."""
    path = tmp_path / "lab.yaml"
    path.write_text(
        f"version: 1\ndevices:\n  bench-1: {{serial: {board.port}}}\n  pi: {{ssh: 127.0.0.1, port: 1, user: nobody}}\n"
        "  away: {adb: nowhere}\nsteps: [export]\n"
    )
    return str(path)


def test_a_board_of_a_recipe_is_timed_and_verified_by_its_name(c_artifact, model, recipe, capsys, tmp_path):
    arguments = [c_artifact, "-d", "bench-1", "--recipe", recipe, "--model", model]

    assert main(["bench", *arguments, "--quick", "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "windows       median" in told and "of 5, each 0.2 s or more" in told
    found = json.loads((tmp_path / "out" / "model-c-float32-bench-1.json").read_text())
    assert (found["valid"], found["device"]["name"], found["device"]["transport"]) == (True, "bench-1", "serial")

    assert main(["verify", *arguments, "--format", "json", "-q"]) == 0
    (parity,) = json.loads(capsys.readouterr().out)["parity"]
    assert (parity["device"], parity["differences"]) == ("bench-1", {})


def test_the_devices_of_a_recipe_are_listed(recipe, capsys, tmp_path):
    (tmp_path / "config").touch()

    assert (
        main(["devices", "--recipe", recipe, "--ssh-config", str(tmp_path / "config"), "--format", "json", "-q"]) == 0
    )

    found = {device["name"]: device for device in json.loads(capsys.readouterr().out)["devices"]}
    assert found["bench-1"]["is_ready"] and "counter of 1,000,000,000 Hz" in found["bench-1"]["description"]
    assert (found["pi"]["kind"], found["pi"]["is_ready"]) == ("ssh", False)
    assert (found["away"]["kind"], found["away"]["is_ready"]) == ("adb", False)


def test_the_cores_of_a_board_cannot_be_chosen(c_artifact, model, capsys):
    assert main(["bench", c_artifact, "-d", "serial:/dev/nothing", "--model", model, "--cores", "big"]) == 2

    assert "--cores big: a board on a serial port has one" in capsys.readouterr().err


def test_an_emulated_board_is_verified_as_any_other_device(c_artifact, model, capsys):
    pytest.importorskip("unicorn")
    arguments = ["-d", "emulator:cortex-m4", "--model", model, "--format", "json", "-q"]

    assert main(["verify", c_artifact, *arguments]) == 0

    (parity,) = json.loads(capsys.readouterr().out)["parity"]
    assert (parity["device"], parity["differences"]) == ("emulator:cortex-m4", {})
    assert parity["identical_graphs"] == parity["graphs"] > 0


def test_an_emulator_of_an_unknown_target_is_refused_before_anything_is_built(c_artifact, model, capsys):
    assert main(["verify", c_artifact, "-d", "emulator:pdp-11", "--model", model, "-q"]) == 2

    assert "target 'pdp-11' is unknown" in capsys.readouterr().err
