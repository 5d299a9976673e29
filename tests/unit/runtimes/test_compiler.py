"""Building shared libraries: which compiler is taken, what the cache guarantees, what is never loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from runtimes import compiler
from runtimes.compiler import build_library, find_compiler, load_library
from tests.c_tools import private_cache
from toolchain.errors import ArtifactError, MissingDependency

SOURCES = {
    "answer.c": b'#include "answer.h"\n__attribute__((visibility("default"))) int answer(void) { return ANSWER; }\n'
    b"int hidden(void); int hidden(void) { return 1; }\n",
    "answer.h": b"#define ANSWER 42\n",
}
ZIG = f"{sys.executable} -m ziglang cc"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and the compiler that is found without CC."""
    (tmp_path / "cache").mkdir()
    private_cache(monkeypatch, tmp_path / "cache")
    monkeypatch.delenv("CC", raising=False)
    return tmp_path / "cache" / "pocketgnn" / "native"


def answer(path: Path) -> int:
    return load_library(path).answer()


# --- which compiler ---


def test_the_library_of_any_compiler_that_is_there_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """ziglang is a dependency of the tests; cc, gcc and clang are tried where the system has them."""
    tried = [(ZIG, find_with(monkeypatch, ZIG))]
    tried += [
        (" ".join(command), find_with(monkeypatch, " ".join(command)))
        for command in compiler._candidates(os.environ["PATH"])
    ]

    assert [answer(build_library(SOURCES, found)) for _, found in tried] == [42] * len(tried)
    assert all("-O3" in found.flags and "-ffp-contract=off" in found.flags for _, found in tried)


def find_with(monkeypatch: pytest.MonkeyPatch, cc: str) -> compiler.Compiler:
    monkeypatch.setenv("CC", cc)
    return find_compiler()


def test_a_machine_without_a_system_compiler_takes_that_of_ziglang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_compiler().command == (sys.executable, "-m", "ziglang", "cc")


def test_a_machine_without_any_compiler_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ziglang", None)  # as if it were not installed
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    compiler._find.cache_clear()

    with pytest.raises(MissingDependency, match=r"pip install 'pocketgnn\[native\]'"):
        find_compiler()


def test_a_compiler_that_is_there_but_does_not_work_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bin" / "cc"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent))

    assert find_compiler().command != (str(broken),)


@pytest.mark.parametrize("cc", ["no-such-compiler", "true", "false"])
def test_a_wrong_cc_is_an_error_and_not_replaced(cc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDependency, match=f"CC is '{cc}'"):
        find_with(monkeypatch, cc)


def test_a_compiler_that_does_not_know_this_processor_builds_for_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = find_compiler()
    picky = tmp_path / "cc"
    picky.write_text(f'#!/bin/sh\ncase "$*" in *=native*) exit 1;; esac\nexec {" ".join(real.command)} "$@"\n')
    picky.chmod(0o755)

    found = find_with(monkeypatch, str(picky))

    assert not any("native" in flag for flag in found.flags)
    assert answer(build_library(SOURCES, found)) == 42


# --- the cache ---


def test_the_same_sources_are_compiled_once(cache: Path) -> None:
    first = build_library(SOURCES)
    built = first.stat().st_mtime_ns
    time.sleep(0.01)

    assert build_library(dict(reversed(SOURCES.items()))) == first
    assert first.stat().st_mtime_ns == built
    assert first.parent == cache


@pytest.mark.parametrize("change", ["a source", "a header", "a name", "a flag", "the processor"])
def test_whatever_the_code_depends_on_is_part_of_the_key(change: str) -> None:
    found = find_compiler()
    before = build_library(SOURCES, found)
    sources, other = dict(SOURCES), found
    if change == "a source":
        sources["answer.c"] += b"\n"
    elif change == "a header":
        sources["answer.h"] = b"#define ANSWER 43\n"
    elif change == "a name":
        sources["question.c"] = sources.pop("answer.c")
    elif change == "a flag":
        other = replace(found, flags=(*found.flags, "-O1"))
    else:
        other = replace(found, identity="another")

    after = build_library(sources, other)

    assert after != before
    assert answer(after) == (43 if change == "a header" else 42)


def test_pieces_of_two_files_cannot_be_shifted_into_the_same_key() -> None:
    found = find_compiler()

    assert compiler._key({"ab.c": b"c"}, found) != compiler._key({"a": b"b.cc"}, found)


def test_only_this_user_can_read_and_write_the_cache(cache: Path) -> None:
    umask = os.umask(0)
    try:
        library = build_library(SOURCES)
    finally:
        os.umask(umask)

    assert cache.stat().st_mode & 0o777 == 0o700
    assert library.stat().st_mode & 0o777 == 0o700


def test_processes_that_build_at_once_all_get_a_whole_library(cache: Path) -> None:
    script = (
        "from runtimes.compiler import build_library, load_library\n"
        f"assert load_library(build_library({SOURCES!r})).answer() == 42"
    )
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", script], check=False), range(4)))

    assert [run.returncode for run in runs] == [0] * 4
    assert len(list(cache.iterdir())) == 1  # and nothing half-built is left


def test_sources_that_do_not_compile_are_an_error_with_the_compilers_words(cache: Path) -> None:
    with pytest.raises(ArtifactError, match=r"do not compile with .*answer\.h:1:.*oops"):
        build_library({**SOURCES, "answer.h": b"#define ANSWER oops\n"})

    assert list(cache.iterdir()) == []


def test_a_function_that_no_source_defines_is_an_error_before_it_is_cached(cache: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        build_library({"answer.c": b"int nowhere(void); int answer(void); int answer(void) { return nowhere(); }\n"})

    assert list(cache.iterdir()) == []


def test_a_file_name_is_never_read_as_an_option(tmp_path: Path) -> None:
    sources = {"-o stolen.c": SOURCES["answer.c"], "answer.h": SOURCES["answer.h"], "@file.c": b"int other(void);\n"}

    assert answer(build_library(sources)) == 42


def test_headers_beside_the_working_folder_are_not_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answer.h").write_text("#define ANSWER 13\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ArtifactError, match=r"answer\.h"):
        build_library({"answer.c": SOURCES["answer.c"]})


def test_only_what_is_exported_on_purpose_is_visible() -> None:
    library = load_library(build_library(SOURCES))

    assert not hasattr(library, "hidden")


@pytest.mark.parametrize("place", ["relative", "file"])
def test_where_the_cache_cannot_be_written_a_folder_of_the_process_serves(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", {"relative": "relative", "file": str(tmp_path / "file")}[place])
    monkeypatch.setenv("HOME", str(tmp_path / "file"))

    library = build_library(SOURCES)

    assert library.parent.stat().st_mode & 0o777 == 0o700
    assert answer(library) == 42


# --- what is never loaded ---


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_cache_folder_that_others_may_write_to_is_refused(mode: int, cache: Path) -> None:
    library = build_library(SOURCES)
    cache.chmod(mode)

    with pytest.raises(ArtifactError, match="writable by others"):
        build_library(SOURCES)
    with pytest.raises(ArtifactError, match="writable by others"):
        load_library(library)


def test_a_library_that_others_may_write_to_is_refused() -> None:
    library = build_library(SOURCES)
    library.chmod(0o722)

    with pytest.raises(ArtifactError, match="writable by others"):
        load_library(library)


def test_a_folder_that_everybody_may_replace_is_refused(cache: Path) -> None:
    library = build_library(SOURCES)
    cache.parent.chmod(0o777)

    with pytest.raises(ArtifactError, match="everybody may replace"):
        load_library(library)

    cache.parent.chmod(0o1777)  # sticky, as /tmp: others may not
    assert answer(library) == 42


def test_a_link_in_the_place_of_a_library_is_refused(cache: Path, tmp_path: Path) -> None:
    library = build_library(SOURCES)
    library.rename(tmp_path / "elsewhere.so")
    library.symlink_to(tmp_path / "elsewhere.so")

    with pytest.raises(ArtifactError, match="is a link"):
        load_library(library)


def test_a_damaged_library_is_an_error_with_a_way_out() -> None:
    library = build_library(SOURCES)
    library.write_bytes(library.read_bytes()[:100])

    with pytest.raises(ArtifactError, match="Delete it"):
        load_library(library)
