"""Everything that goes wrong with a device, over ssh and over adb: one clear error, nothing left there, nothing valid here."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from device_benchmarks.device_session import verify_on
from device_benchmarks.transports import RunFolder, SshTransport
from toolchain.artifact import Artifact
from toolchain.cli import main
from toolchain.errors import DeviceBusy, DeviceError, DeviceTimeout

pytestmark = pytest.mark.devices
SLEEPER = b"#!/bin/sh\nexec sleep 4321\n"
LARGE = bytes(20_000_000)


def _push_large(breakable) -> None:
    with breakable.transport() as transport, RunFolder(transport) as folder:
        folder.put("data", LARGE)


def _run_sleeper(breakable, then) -> None:
    """Run a program that does not end, and do something meanwhile."""
    with breakable.transport() as transport, RunFolder(transport) as folder:
        folder.put("program", SLEEPER, is_program=True)
        timer = threading.Timer(1.0, then)
        timer.start()
        folder.run(["./program"], seconds=60)


def test_a_connection_that_is_cut_in_mid_push(breakable):
    breakable.proxy.cut_after(200_000)

    with pytest.raises(DeviceError, match=r"^(ssh:board|adb:127\.0\.0\.1:\d+): "):
        _push_large(breakable)

    assert breakable.proxy.is_cut
    breakable.assert_nothing_left()


def test_a_connection_that_is_cut_in_mid_run(breakable):
    with pytest.raises(DeviceError, match=r"^(ssh:board|adb:127\.0\.0\.1:\d+): "):
        _run_sleeper(breakable, breakable.proxy.cut)

    breakable.assert_nothing_left()


def test_a_device_that_dies_in_mid_run(breakable):
    with pytest.raises(DeviceError, match=r"^(ssh:board|adb:127\.0\.0\.1:\d+): "):
        _run_sleeper(breakable, breakable.die)

    assert breakable.ours() == []


def test_a_device_that_is_gone_before_the_run(breakable):
    breakable.proxy.cut()

    with pytest.raises(DeviceError, match=r"^(ssh:board|adb:127\.0\.0\.1:\d+): "):
        _push_large(breakable)


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_is_full(breakable):
    with pytest.raises(DeviceError, match=r"data \(20,000,000 B\) cannot be stored \(.*No space left.*\)\. Make room"):
        _push_large(breakable)

    breakable.assert_nothing_left()


def test_a_process_that_hangs(breakable):
    with breakable.transport() as transport, RunFolder(transport) as folder:
        folder.put("program", SLEEPER, is_program=True)
        with pytest.raises(DeviceTimeout, match="had not ended after 1 s and was ended"):
            folder.run(["./program"], seconds=1)

    breakable.assert_nothing_left()


def test_a_second_client_on_the_same_device(breakable):
    with breakable.transport() as transport, RunFolder(transport) as folder:
        with pytest.raises(DeviceBusy), breakable.transport() as other, RunFolder(other):
            pass
        folder.put("data", b"still here")
        assert folder.get("data") == b"still here"

    breakable.assert_nothing_left()


def test_a_program_that_dies(breakable):
    with breakable.transport() as transport, RunFolder(transport) as folder:
        folder.put("program", b"#!/bin/sh\nkill -SEGV $$\n", is_program=True)
        assert folder.run(["./program"], seconds=10).status == 128 + 11

    breakable.assert_nothing_left()


def test_an_artifact_with_a_hostile_name(breakable, int8_artifact, graphs, tmp_path):
    hostile = tmp_path / "a b;touch $HOME'\"`x`$(y)\n-rf"
    contents = {name: (int8_artifact.path / name).read_bytes() for name in int8_artifact.files}
    hostile.parent.mkdir(exist_ok=True)
    artifact = Artifact.save(_moved(int8_artifact, hostile), contents)

    report = verify_on(breakable.transport(), artifact, graphs)

    assert (report.identical, report.differences) == (len(graphs), {})
    breakable.assert_nothing_left()


def test_a_benchmark_that_is_cut_records_nothing(breakable, int8_artifact, model_file, tmp_path, capsys):
    # Long enough to be in mid-run, short enough to have begun: the program and its graph have passed by then.
    breakable.proxy.cut_after(45_000)
    output = tmp_path / "results"
    arguments = ["-d", breakable.name, *breakable.arguments, "--model", model_file, "--quick", "-o", str(output), "-q"]

    assert main(["bench", str(int8_artifact.path), *arguments]) == 1

    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and breakable.name in errors[0]
    assert not list(output.glob("*")) if output.exists() else True


def test_a_file_that_arrives_damaged_is_sent_once_more(start_sshd, tmp_path):
    flag = tmp_path / "damaged-once"
    server = start_sshd(_damaging(tmp_path, f"if [ ! -e {flag} ]; then touch {flag}; tr x y; else cat; fi"))

    with SshTransport("board", server.config) as transport, RunFolder(transport) as folder:
        folder.put("data", b"xyz" * 1000)
        assert folder.get("data") == b"xyz" * 1000

    assert flag.exists()


def test_a_connection_that_always_damages_data_is_given_up(start_sshd, tmp_path, nothing_left):
    server = start_sshd(_damaging(tmp_path, "tr x y"))

    with (
        pytest.raises(DeviceError, match=r"data arrived with sha256 [0-9a-f]{64}, twice; expected [0-9a-f]{64}"),
        SshTransport("board", server.config) as transport,
        RunFolder(transport) as folder,
    ):
        folder.put("data", b"xyz" * 1000)


def _damaging(tmp_path: Path, filter_: str) -> str:
    """Configuration of a server that sends what is written to a file through a filter first."""
    script = tmp_path / "damaging"
    script.write_text(
        f'#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in\n*sha256sum*)\n'
        f'case "$SSH_ORIGINAL_COMMAND" in *"cat >"*) ({filter_}) | sh -c "$SSH_ORIGINAL_COMMAND"; exit ;; esac ;;\nesac\n'
        'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    script.chmod(0o755)
    return f"ForceCommand {script}"


def _moved(artifact: Artifact, path: Path) -> Artifact:
    from dataclasses import replace

    return replace(artifact, path=path)
