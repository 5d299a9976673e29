"""Kotlin and the JVM, for tests that run Android packages on this machine: JNI is the same, Android's own classes are stand-ins."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.c_tools import run
from tests.package_builds import STAND_INS, cmake

ROOT = Path(__file__).parent.parent
JNI_STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
_JUNIT = tuple(Path("/usr/share/java") / name for name in ("junit4.jar", "hamcrest-core.jar"))


def kotlin_compiler() -> Path:
    """kotlinc of the system, else the one that .ci/run installs."""
    found = shutil.which("kotlinc")
    path = Path(found) if found else ROOT / ".ci-kotlin" / "node_modules" / "kotlin-compiler" / "bin" / "kotlinc"
    if not path.exists():
        pytest.skip("kotlinc is not installed (.ci/run installs it where npm is)")
    return path.resolve()


def jni_includes() -> list[str]:
    """Compiler options for the headers of the JDK that javac belongs to."""
    javac = shutil.which("javac")
    if javac is None:
        pytest.skip("javac is not installed (apt-get install openjdk-17-jdk-headless)")
    include = Path(javac).resolve().parent.parent / "include"
    return ["-I", str(include), "-I", str(include / "linux")]


@dataclass(frozen=True, slots=True)
class KotlinProgram:
    """Compiled classes, which a JVM can run with resources and a native library beside them."""

    classpath: tuple[Path, ...]

    def run(
        self, main: str, *arguments: str, resources: Path | None = None, library: Path | None = None
    ) -> tuple[int, str]:
        """Exit status and output of a main class, with the JVM's checks of JNI calls."""
        path = [*self.classpath, *([] if resources is None else [resources])]
        options = [] if library is None else [f"-Djava.library.path={library}"]
        command = ["java", "-Xcheck:jni", *options, "-cp", ":".join(map(str, path)), main, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr


def compile_kotlin(sources: Sequence[Path], folder: Path) -> KotlinProgram:
    """Every Kotlin file under the sources, against the stand-ins, with JUnit. Warnings are errors."""
    compiler = kotlin_compiler()
    jni_includes()  # skips without a JDK
    if not all(jar.exists() for jar in _JUNIT):
        pytest.skip("JUnit 4 is not installed (apt-get install junit4)")
    stand_ins = STAND_INS / "android"
    java, classes = folder / "stand-ins", folder / "classes"
    run(["javac", "-d", java, *sorted(stand_ins.rglob("*.java"))], folder)
    classpath = ":".join(map(str, (java, *_JUNIT)))
    kotlin = [file for source in (stand_ins, *sources) for file in sorted(source.rglob("*.kt"))]
    run(["bash", compiler, "-Werror", "-jvm-target", "11", "-cp", classpath, "-d", classes, *kotlin], folder)
    standard_library = compiler.parent.parent / "lib" / "kotlin-stdlib.jar"
    return KotlinProgram((classes, java, *_JUNIT, standard_library))


def native_library(project: Path, built: Path) -> Path:
    """Folder of the shared library that the CMake lists of an Android project build for this machine."""
    flags = " ".join((*jni_includes(), *JNI_STRICT))
    source = project / "model" / "src" / "main" / "cpp"
    run([cmake(), "-S", source, "-B", built, "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_C_FLAGS={flags}"], project)
    run([cmake(), "--build", built], project)
    return built
