"""C sources in, a shared library out: the compiler that is there, and a per-user cache of what it built."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from toolchain.errors import ArtifactError, MissingDependency

# Value-safe flags only: floats are bit-equal on every target, so nothing may be contracted or reordered.
FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-shared")
# A function that no source defines is an error when it is linked, not when it is loaded.
PLATFORM_FLAGS = {"linux": ("-fPIC", "-Wl,-z,defs"), "win32": ()}.get(sys.platform, ("-fPIC",))
NATIVE_FLAGS = (("-march=native",), ("-mcpu=native",), ())  # the first one that the compiler takes
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
_PROBE = b"#include <stddef.h>\n#include <stdint.h>\n"
_MAX_MESSAGE = 300  # characters of a compiler's own words in an error


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler that was asked for its version.

    Attributes:
        command: how it is called, such as ("/usr/bin/cc",).
        flags: all flags of a build, those for this processor included.
        version: such as "cc 12.2.0", for messages and measurements.
        identity: sha256 of all macros that it predefines: its version, its target and the instruction set of this machine.
    """

    command: tuple[str, ...]
    flags: tuple[str, ...]
    version: str
    identity: str

    def __str__(self) -> str:
        return f"{self.version} {' '.join(self.flags)}"


def find_compiler() -> Compiler:
    """The compiler to build with: the environment variable CC, cc, gcc, clang, or that of the ziglang package.

    Raises:
        MissingDependency: there is none, or CC names something that does not compile.
    """
    return _find(os.environ.get("CC", "").strip(), os.environ.get("PATH", ""))


def build_library(
    sources: Mapping[str, bytes], compiler: Compiler | None = None, *, flags: tuple[str, ...] = (), of: str = ""
) -> Path:
    """Compile C or C++ files to a shared library, or find the one that was built from the same bytes by the same compiler.

    Several processes may do so at once: each builds in a folder of its own, and the finished file appears at once.

    Args:
        sources: every .c, .cpp and .h file by plain name. No other file is included but the compiler's own and what `flags` name.
        flags: further flags: folders of headers, libraries to link with.
        of: what tells versions of those apart.

    Returns:
        The library, in a folder that only this user can write to.

    Raises:
        ArtifactError: it does not compile, or the cache folder is not safe to load from.
        MissingDependency: there is no compiler.
    """
    compiler = compiler or find_compiler()
    folder = cache_folder("native")
    library = folder / (_key(sources, compiler, " ".join((*flags, of))) + SUFFIX)
    if not library.exists():
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as scratch:
            built = _compile(sources, compiler, Path(scratch), flags)
            os.chmod(built, 0o700)
            os.replace(built, library)
    return library


def load_library(path: Path) -> ctypes.CDLL:
    """Open a library of the cache, after a check that nobody else can have written it.

    Raises:
        ArtifactError: others may write to its folder, or the system refuses to load it.
    """
    _refuse_unsafe(path.parent)
    _refuse_unsafe(path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be loaded ({error}). Delete it to have it built anew; if its file system allows no programs "
            "(noexec), set XDG_CACHE_HOME to a folder on another one."
        ) from error


@cache
def _find(cc: str, path: str) -> Compiler:
    """`path` is where the names are looked up; it is an argument so that another PATH is looked up anew."""
    if cc:
        compiler = _probe(tuple(shlex.split(cc)))
        if compiler is None:
            raise MissingDependency(
                f"CC is {cc!r}, which is not a C compiler that works here. Set CC to one, or unset it to have one found."
            )
        return compiler
    for command in _candidates(path):
        if (compiler := _probe(command)) is not None:
            return compiler
    raise MissingDependency(
        "no C compiler: neither cc, gcc nor clang works here, and ziglang is not installed. "
        "Install one with: pip install 'pocketgnn[native]'; or set CC to yours."
    )


def _candidates(path: str) -> list[tuple[str, ...]]:
    found = [(full,) for name in ("cc", "gcc", "clang") if (full := shutil.which(name, path=path)) is not None]
    zig = [(sys.executable, "-m", "ziglang", "cc")] if importlib.util.find_spec("ziglang") is not None else []
    return [*found, *zig]


def _probe(command: tuple[str, ...]) -> Compiler | None:
    """Ask a compiler for its predefined macros, which it has only if it takes the flags and finds its headers."""
    for native in NATIVE_FLAGS:
        flags = (*FLAGS, *PLATFORM_FLAGS, *native)
        try:
            probe = [*command, *flags, "-dM", "-E", "-x", "c", "-"]
            result = subprocess.run(probe, input=_PROBE, capture_output=True, check=False)
        except OSError:
            return None
        if result.returncode == 0 and b"#define" in result.stdout:
            stated = re.search(rb'^#define __VERSION__ "(.*)"', result.stdout, re.MULTILINE)
            version = stated.group(1).decode(errors="replace") if stated else "of unknown version"
            name = "zig cc" if command[-2:] == ("ziglang", "cc") else Path(command[0]).name
            # -ffp-contract and such change no macro, but the flags are part of the key as well.
            return Compiler(command, flags, f"{name} {version}", hashlib.sha256(result.stdout).hexdigest())
    return None


def _key(sources: Mapping[str, bytes], compiler: Compiler, beside: str = "") -> str:
    digest = hashlib.sha256()
    parts = [" ".join((*compiler.command, *compiler.flags)).encode(), compiler.identity.encode(), beside.encode()]
    for part in (*parts, *(piece for name in sorted(sources) for piece in (name.encode(), sources[name]))):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _compile(sources: Mapping[str, bytes], compiler: Compiler, folder: Path, flags: tuple[str, ...]) -> Path:
    for name, content in sources.items():
        (folder / name).write_bytes(content)
    files = [
        f"./{name}" for name in sorted(sources) if name.endswith((".c", ".cpp"))
    ]  # ./ so that no name is read as an option
    output = folder / f"library{SUFFIX}"
    try:
        result = subprocess.run(
            [*compiler.command, *compiler.flags, *files, *flags, "-o", output.name],
            cwd=folder, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        raise MissingDependency(
            f"{compiler.command[0]}: cannot be run ({error}). Set CC to a C compiler that works."
        ) from error
    if result.returncode != 0 or not output.is_file():
        lines = result.stderr.decode(errors="replace").splitlines()
        telling = (line for line in lines if "error:" in line or "undefined" in line)
        first = next(telling, lines[0] if lines else "no message")
        raise ArtifactError(
            f"the C sources do not compile with {compiler.version} ({first.strip()[:_MAX_MESSAGE]}). "
            "Export the model again with this version, or set CC to another compiler."
        )
    return output


def cache_folder(name: str) -> Path:
    """pocketgnn/<name> in the user's cache folder; a folder of this process alone where that cannot be written."""
    stated = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    try:
        root = Path(stated) if os.path.isabs(stated) else Path.home() / ".cache"
        folder = root / "pocketgnn" / name
        root.mkdir(parents=True, exist_ok=True)
        for private in (folder.parent, folder):
            private.mkdir(mode=0o700, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            return _process_folder()
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return _process_folder()
    _refuse_unsafe(folder)
    return folder


@cache
def _process_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="pocketgnn-native-")  # mode 0700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _refuse_unsafe(path: Path) -> None:
    """Refuse a file or folder that is not this user's, that others may write to, or that they may swap for another."""
    if os.name != "posix":
        return
    status = os.lstat(path)
    foreign = status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode)
    if foreign or status.st_mode & 0o022:
        fact = "belongs to somebody else or is a link" if foreign else "is writable by others"
        raise ArtifactError(
            f"{path}: {fact}, so no code is loaded from it. Run chmod 700 on it if it is yours, or set XDG_CACHE_HOME to "
            "a folder of your own."
        )
    for parent in path.resolve().parents:
        mode = parent.stat().st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            raise ArtifactError(
                f"{parent}: everybody may replace what is in it, so no code is loaded from {path}. Set XDG_CACHE_HOME to "
                "a folder of your own."
            )
