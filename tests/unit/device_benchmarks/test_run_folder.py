"""A run on this machine as on any device: files, programs, time-outs, a second client, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from device_benchmarks.transports import LocalTransport, RunFolder
from toolchain.errors import DeviceBusy, DeviceError, DeviceTimeout


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """Where folders of runs are made: a device of its own for every test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def transport(place):
    with LocalTransport() as transport:
        yield transport


def test_arguments_reach_a_command_as_they_are(transport):
    hostile = ["a b", "it's", '"', "$HOME", "`id`", "x;rm -rf y", "*", "--", "ä\n"]

    done = transport.run(["printf", "%s|", *hostile], seconds=10)

    assert done.output.decode() == "|".join([*hostile, ""])


@pytest.mark.parametrize("status", [0, 1, 7, 126, 255])
def test_the_status_of_a_command_is_forwarded(transport, status):
    assert transport.run(["sh", "-c", f"exit {status}"], seconds=10).status == status


def test_a_file_comes_back_as_it_was_put_and_nothing_stays(transport, place):
    data = bytes(range(256)) * 1000

    with RunFolder(transport) as folder:
        folder.put("data.bin", data)
        assert folder.get("data.bin") == data
        assert Path(folder.path).parent == place

    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "-rf", ".hidden", "", "$x", "x\n"])
def test_a_name_that_a_shell_could_read_otherwise_is_refused(transport, name):
    with RunFolder(transport) as folder, pytest.raises(DeviceError, match="is no name for a file on a device"):
        folder.put(name, b"")


def test_a_program_runs_in_the_folder_and_its_status_and_words_come_back(transport):
    with RunFolder(transport) as folder:
        folder.put("program", b"#!/bin/sh\npwd\necho no luck >&2\nexit 3\n", is_program=True)
        done = folder.run(["./program"], seconds=10)

    assert (done.status, done.output.decode().strip(), done.first_line) == (3, folder.path, "no luck")


def test_a_program_that_hangs_is_ended_on_the_device(transport, place):
    with RunFolder(transport) as folder:
        folder.put("program", b"#!/bin/sh\nexec sleep 4321\n", is_program=True)
        with pytest.raises(DeviceTimeout, match=r"local: \./program had not ended after 0\.5 s and was ended"):
            folder.run(["./program"], seconds=0.5)

    assert list(place.iterdir()) == []
    assert b"sleep 4321" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout


def test_a_failure_inside_leaves_nothing(transport, place):
    def fail() -> None:
        with RunFolder(transport) as folder:
            folder.put("data.bin", b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert list(place.iterdir()) == []


def test_a_second_run_on_the_same_device_is_refused_and_the_first_goes_on(transport, place):
    with RunFolder(transport) as folder:
        with pytest.raises(DeviceBusy, match="another run holds the device"), RunFolder(LocalTransport()):
            pass
        folder.put("data.bin", b"still here")
        assert folder.get("data.bin") == b"still here"

    assert list(place.iterdir()) == []


def test_a_client_that_dies_leaves_a_device_that_cleans_up_itself(transport, place):
    folder = RunFolder(transport)
    folder.__enter__()
    keeper = folder._keeper
    assert keeper is not None and keeper.stdin is not None

    keeper.stdin.close()  # what the system does when a process dies
    keeper.wait(timeout=20)

    assert list(place.iterdir()) == []
    folder._end_keeper()


def test_what_a_device_could_not_remove_is_removed_by_the_next_run(transport, place):
    folder = RunFolder(transport)
    folder.__enter__()
    assert folder._keeper is not None
    os.killpg(folder._keeper.pid, signal.SIGKILL)  # as if its power had failed
    folder._end_keeper()
    assert Path(folder.path).is_dir()

    with RunFolder(transport) as second:
        assert not Path(folder.path).exists()
        second.put("data.bin", b"x")

    assert list(place.iterdir()) == []


@pytest.mark.parametrize("content", ["1 pocketgnn-run-../precious", "1 precious", "1 pocketgnn-run-0/../precious", ""])
def test_a_lock_that_is_not_ours_removes_nothing(transport, place, content):
    (place / "precious").mkdir()
    (place / "pocketgnn-lock").write_text(content)

    with pytest.raises(DeviceBusy), RunFolder(transport):
        pass

    assert (place / "precious").is_dir()


def test_a_command_that_does_not_end_is_given_up(transport):
    begin = time.monotonic()

    with pytest.raises(DeviceTimeout, match=r"no end after 0\.2 s"):
        transport.run(["sleep", "50"], seconds=0.2)

    assert time.monotonic() - begin < 40


def test_a_place_without_room_is_told(transport, monkeypatch):
    transport.folders = ("/proc",)

    with pytest.raises(DeviceError, match="no folder can be made in /proc"), RunFolder(transport):
        pass
