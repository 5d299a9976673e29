"""The C kernels as callable functions: runtimes/c/src compiled into a shared library, with types read from the headers.

`kernels("-O3")` compiles with the system's compiler, or with zig from PyPI where there is none. Objects are kept in a temporary
folder under the hash of their text, so that a test process compiles only what changed.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

C_ROOT = Path(__file__).resolve().parent.parent / "runtimes" / "c"
INCLUDE, SOURCE = C_ROOT / "include", C_ROOT / "src"
HEADERS = ("gnn.h", "gnn_kernels.h", "gnn_kernels_f32.h", "gnn_kernels_integer.h", "gnn_kernels_packed.h")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")

_REFUSED: dict[Path, str] = {}  # what a compiler said about files that it did not make

_SCALARS: dict[str, type] = {
    "float": ctypes.c_float, "double": ctypes.c_double, "size_t": ctypes.c_size_t,
    **{f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def compilers() -> dict[str, tuple[str, ...]]:
    """The C compilers found here, by name; zig is always among them where its package is installed."""
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in ("gcc", "clang") if shutil.which(name)}
    try:
        import ziglang  # noqa: F401  # only whether it is there
    except ImportError:
        return found
    return {**found, "zig": (sys.executable, "-m", "ziglang", "cc")}


def default_compiler() -> str:
    """The name of the compiler that `kernels` takes unless told."""
    found = compilers()
    if not found:
        raise RuntimeError("no C compiler: install gcc, clang or the Python package ziglang")
    return next(iter(found))


@functools.cache
def kernels(*flags: str, compiler: str | None = None, only: tuple[str, ...] = ()) -> ctypes.CDLL:
    """All kernels or those that are named, compiled with these flags ("-O2" if none is given), with argument types set.

    Pointer parameters take None, a contiguous array of the declared type, or a `struct`.
    """
    sources = tuple(SOURCE / f"{name}.c" for name in only) or tuple(sorted(SOURCE.glob("*.c")))
    loaded = load(sources, *flags, compiler=compiler)
    for name, (result, parameters) in PROTOTYPES.items():
        if hasattr(loaded, name):
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, parameters
    return loaded


def compiled_text(text: str, *flags: str, compiler: str | None = None) -> ctypes.CDLL:
    """A C text as a library, for what the headers define themselves. Argument types are the caller's to set."""
    source = cache_folder() / f"text-{_digest(text)}.c"
    source.write_text(text)
    return load((source,), *flags, compiler=compiler)


def load(sources: tuple[Path, ...], *flags: str, compiler: str | None = None) -> ctypes.CDLL:
    """C files as a shared library."""
    command = (
        *compilers()[compiler or default_compiler()],
        *WARNINGS,
        "-ffp-contract=off",
        *(flags or ("-O2",)),
        "-fPIC",
    )
    objects = compile_objects(command, sources)
    # Linked with -ffast-math, a library would switch subnormal floats off for the whole process that loads it.
    link = [word for word in command if word != "-ffast-math"]
    library = cache_folder() / f"{_digest(*(o.name for o in objects), *link, 'linked')}.so"
    if not library.exists():
        _produce(library, lambda path: [*link, "-shared", "-o", path, *map(str, objects)])
    return ctypes.CDLL(str(library))


def compile_objects(command: tuple[str, ...], sources: tuple[Path, ...]) -> list[Path]:
    """One object per source, compiled where it is not in the cache yet. A compiler's message becomes a RuntimeError."""
    headers = _digest(*(path.read_text() for path in sorted(INCLUDE.glob("*.h"))))

    def compile_one(source: Path) -> Path:
        target = cache_folder() / f"{source.stem}-{_digest(source.read_text(), headers, *command)}.o"
        if not target.exists():
            _produce(target, lambda path: [*command, f"-I{INCLUDE}", "-c", "-o", path, str(source)])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))


def cache_folder() -> Path:
    """A folder of this user alone: shared libraries are loaded from it."""
    folder = Path(tempfile.gettempdir()) / f"pocketgnn-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise RuntimeError(f"{folder}: belongs to or can be written by others; remove it")
    return folder


def _produce(target: Path, command: Callable[[str], list[str]]) -> None:
    """Run a compiler into a temporary name, then rename: parallel test processes may build the same file."""
    if target in _REFUSED:  # else every test that needs it would wait for the same error again
        raise RuntimeError(_REFUSED[target])
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        done = subprocess.run(command(str(made)), capture_output=True, text=True, check=False)
        if done.returncode:
            _REFUSED[target] = f"{' '.join(command(target.name))}\n{done.stderr}"
            raise RuntimeError(_REFUSED[target])
        made.rename(target)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


# ---- what the headers declare ------------------------------------------------------------------------------------------


def _read_headers() -> str:
    text = "\n".join((INCLUDE / name).read_text() for name in HEADERS)
    text = re.sub(r"/\*.*?\*/|\bGNN_KERNEL +", " ", text, flags=re.S)
    return re.sub(r"^\s*#.*$", " ", text, flags=re.M)


def _enums(text: str) -> dict[str, int]:
    """Every enumerator and its value."""
    bodies = re.findall(r"typedef enum \w+ \{(.*?)\}", text, flags=re.S)
    return {name: int(value) for body in bodies for name, value in re.findall(r"(\w+) = (\d+)", body)}


def _type(words: str, structs: dict[str, type]) -> type:
    """The ctypes type of a declaration such as `const float *x`, `uint32_t rows` or `gnn_requant requant`."""
    name = words.replace("const ", "").replace("*", " ").split()[0]
    if "*" in words or "[" in words:
        return ctypes.c_void_p
    return _SCALARS.get(name) or structs.get(name) or ctypes.c_int  # what is left is an enum


def _parameter(words: str, structs: dict[str, type]) -> type:
    """The type of a parameter: as `_type`, but pointers check what they are given and convert it."""
    kind = _type(words, structs)
    if kind is not ctypes.c_void_p:
        return kind
    name = words.replace("const ", "").replace("*", " ").split()[0]
    dtype = None if name == "void" or name in structs else np.dtype(_SCALARS[name])

    def from_param(argument: object) -> object:
        if argument is None:
            return None
        if isinstance(argument, ctypes.Structure) and name == type(argument).__name__:
            return ctypes.byref(argument)
        if isinstance(argument, np.ndarray) and name not in structs and dtype in (None, argument.dtype):
            return ctypes.c_void_p(pointer(argument))
        raise TypeError(f"`{words}` cannot take {type(argument).__name__} {getattr(argument, 'dtype', '')}")

    return type(f"pointer_to_{name}", (), {"from_param": staticmethod(from_param)})


def _structs(text: str) -> dict[str, type]:
    """Every struct of the headers as a ctypes.Structure; pointers are c_void_p."""
    structs: dict[str, type] = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \w+;", text, flags=re.S):
        fields: list[tuple[str, type]] = []
        for declaration in filter(None, (" ".join(d.split()) for d in body.split(";"))):
            pointer_to_function = re.search(r"\(\*(\w+)\)", declaration)
            if pointer_to_function:
                fields.append((pointer_to_function.group(1), ctypes.c_void_p))
                continue
            first, *others = declaration.split(",")
            base = first.replace("*", " ").rsplit(maxsplit=1)[0]
            for one in (first, *(f"{base} {other}" for other in others)):
                fields.append((re.findall(r"\w+", one)[-1], _type(one, structs)))
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return structs


def _prototypes(text: str, structs: dict[str, type]) -> dict[str, tuple[type | None, list[type]]]:
    """Result and parameter types of every kernel."""
    found = re.findall(r"^ *(void|gnn_status|uint32_t|size_t) (gnn_\w+)\(([^;{]*)\);", text, flags=re.M)
    return {
        name: (
            None if result == "void" else _type(result, structs),
            [_parameter(p.strip(), structs) for p in parameters.split(",")],
        )
        for result, name, parameters in found
    }


_TEXT = _read_headers()
ENUMS = _enums(_TEXT)  # {"GNN_SUM": 0, ...}
STRUCTS = _structs(_TEXT)  # {"gnn_requant": ctypes structure, ...}
PROTOTYPES = _prototypes(_TEXT, STRUCTS)


def pointer(array: np.ndarray | None) -> int | None:
    """The address of a contiguous array, for a pointer field. The caller keeps the array alive."""
    if array is None:
        return None
    if not array.flags.c_contiguous:
        raise ValueError(f"array of shape {array.shape} is not contiguous")
    return array.ctypes.data


def struct(name: str, **fields: object) -> ctypes.Structure:
    """A structure of the headers. Arrays become pointers and are kept alive by it; fields that are not named are 0."""
    made = STRUCTS[name]()
    made.keeps = fields  # the arrays live as long as the structure
    declared = {field for field, _ in made._fields_}
    for field, value in fields.items():
        if field not in declared:
            raise TypeError(f"{name} has no field {field}")
        setattr(made, field, pointer(value) if isinstance(value, np.ndarray) else value)
    return made


_GUARD = 64  # bytes before and behind a guarded array, a multiple of every alignment


def guarded(shape: tuple[int, ...] | int, dtype: type) -> np.ndarray:
    """An array for a kernel's result, of values that no kernel writes, between bytes that `assert_guards` looks at."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.full(count + 2 * _GUARD, 0xA5, np.uint8)
    return memory[_GUARD : _GUARD + count].view(dtype).reshape(shape)


def assert_guards(*arrays: np.ndarray | None) -> None:
    """Nothing was written beyond these `guarded` arrays."""
    for array in arrays:
        if array is not None:
            memory = array
            while isinstance(memory.base, np.ndarray):
                memory = memory.base
            assert (memory[:_GUARD] == 0xA5).all(), "written before the array"
            assert (memory[-_GUARD:] == 0xA5).all(), "written behind the array"
