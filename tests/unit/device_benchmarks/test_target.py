"""Targets: the files of the package, and every way in which one's own can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import runtimes
from device_benchmarks.device_python import LIBRARIES
from device_benchmarks.device_target import MACHINES, device_target_names, load_device_target, target_of
from device_benchmarks.target import FOLDER, load_target, target_names
from toolchain.errors import RecipeError
from toolchain.exporters.packages.package import PACKAGES


def test_the_targets_that_the_package_promises_are_there():
    promised = {
        "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "riscv32", "aarch64",
    }  # fmt: skip

    assert set(target_names()) == promised


@pytest.mark.parametrize("name", target_names())
def test_each_target_says_where_its_estimate_is_from(name):
    target = load_target(name)

    assert target.name == name
    assert len(target.estimate.source.split()) > 3


def test_a_time_is_instructions_times_cycles_over_the_clock():
    target = load_target("cortex-m4")

    expected = 1e6 * target.estimate.cycles_per_instruction / 168
    assert target.estimated_us(1e6) == pytest.approx(expected)


def test_a_file_of_ones_own_is_read_by_its_path(tmp_path):
    file = _edited(tmp_path, "ram_bytes = 131072", "ram_bytes = 65536")

    target = load_target(file)

    assert (target.name, target.ram_bytes) == ("mine", 65536)


def test_an_unknown_target_is_refused_with_the_names_of_those_that_are_there():
    with pytest.raises(RecipeError, match=r"'cortex-m99' is unknown.*cortex-m4"):
        load_target("cortex-m99")


def test_a_missing_file_is_refused():
    with pytest.raises(RecipeError, match=r"nowhere.toml: no such file"):
        load_target("nowhere.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ram_bytes = 131072", "", "mine.toml: key ram_bytes is missing, expected a whole number"),
        ("ram_bytes = 131072", 'ram_bytes = "128K"', "mine.toml: ram_bytes is '128K', expected a whole number"),
        ("ram_bytes = 131072", "ram_bytes = true", "ram_bytes is True, expected a whole number"),
        ("ram_bytes = 131072", "ram_bytes = 0", "ram_bytes is 0, expected a positive number"),
        ("ram_bytes = 131072", "ram_bytes = 1\nram = 1", "mine.toml: unknown key ram. Keys: .*ram_bytes"),
        ("ram_bytes = 131072", 'ram_bytes = 1\nname = "x"', "unknown key name; a target is called as its file"),
        ('serial = "cmsdk"', 'serial = "cmsdk"\nbaud = 1', "unknown key board.baud"),
        ('serial = "cmsdk"', "", "key board.serial is missing, expected a text"),
        ('formats = ["c"]', 'formats = "c"', "formats is 'c', expected a list of texts"),
        ('formats = ["c"]', "formats = [1]", r"formats is \[1\], expected a list of texts"),
        ("cycles_per_instruction = 1.7", 'cycles_per_instruction = "1.7"', "expected a number"),
        ("ram_bytes = 131072", "ram_bytes =", "not readable as TOML"),
    ],
)
def test_a_wrong_key_is_refused_with_file_and_key(tmp_path, old, new, message):
    with pytest.raises(RecipeError, match=message):
        load_target(_edited(tmp_path, old, new))


def test_a_table_that_is_no_table_is_refused(tmp_path):
    text = (FOLDER / "cortex-m4.toml").read_text().replace("[estimate]", "[estimates]")
    file = tmp_path / "mine.toml"
    file.write_text("estimate = 1\n" + text)

    with pytest.raises(RecipeError, match=r"unknown key estimates|estimate is 1, expected a table"):
        load_target(file)


def _edited(folder: Path, old: str, new: str) -> Path:
    lines = (FOLDER / "cortex-m4.toml").read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(old))
    lines[place] = new + lines[place].removeprefix(old)
    file = folder / "mine.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_devices_that_the_package_promises_are_there():
    promised = {
        "host", "raspberry-pi-zero-2w", "raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "android-mid-range",
        "android-high-end", "iphone",
    }  # fmt: skip

    assert set(device_target_names()) == promised


@pytest.mark.parametrize("name", device_target_names())
def test_each_device_that_runs_programs_names_a_machine_that_they_are_built_for(name):
    target = load_device_target(name)

    if target.transport in ("ssh", "adb"):
        assert target.zig[:2] in MACHINES.values()
        assert min(target.cores, target.clock_hz, target.ram_bytes) > 0
        assert target.models
    assert target.formats


@pytest.mark.parametrize("name", device_target_names())
def test_each_device_names_the_formats_that_something_of_this_project_runs_there(name):
    target = load_device_target(name)

    ways = {
        "local": {"c", *runtimes.RUNTIMES},
        "ssh": {"c", *LIBRARIES},
        "adb": {"c", *PACKAGES["android"].companions},
        "package": {"c", *PACKAGES["ios"].companions},
    }
    assert set(target.formats) <= ways[target.transport]
    assert "c" in target.formats


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Raspberry Pi Zero 2 W Rev 1.0", "raspberry-pi-zero-2w"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberry-pi-3"),
        ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
        ("SM8650", "android-high-end"),
    ],
)
def test_a_device_is_known_by_what_it_calls_itself(model, name):
    target = target_of(model)

    assert target is not None and target.name == name


def test_a_device_that_nobody_knows_has_no_target():
    assert target_of("Orange Pi 5") is None


def test_an_unknown_device_is_refused_with_the_names_of_those_that_are_there():
    with pytest.raises(RecipeError, match=r"'raspberry-pi-9' is unknown.*raspberry-pi-4"):
        load_device_target("raspberry-pi-9")
