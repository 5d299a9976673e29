"""README.md of an Android project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolchain.exporters.packages.packaged_model import PackagedModel

if TYPE_CHECKING:
    from toolchain.exporters.packages.android import AndroidRuntime


def readme(model: PackagedModel, package: str, runtimes: Sequence[AndroidRuntime]) -> str:
    """What the project is, how an app takes it, and what was checked."""
    library = model.library
    how = "within 1e-5 of the largest magnitude" if model.is_float else "bit for bit"
    modules = "".join(
        f"| `:{runtime.module}` | `{runtime.class_name}`: the model's {runtime.module} file, run by `{runtime.library}:{runtime.version}` |\n"
        for runtime in runtimes
    )
    return f"""\
# {library} for Android

{model.title} The library has the model as C99, built by the NDK, and a Kotlin class around it; it needs no other runtime.

| module | |
|---|---|
| `:model` | `{package}.Model`, its C sources, and the manifest as an asset |
{modules}| `:recorded` | one recorded graph and its outputs, for the self-test, the benchmark and the app |
| `:benchmark` | Jetpack Microbenchmark of every file of the model |
| `:app` | a consumer: runs the recorded graph and shows the outputs |

## Build and test

Needed: JDK 17, the Android SDK with platform 36, NDK 28.2, CMake 3.22; Gradle 9.1 or Android Studio. The Gradle wrapper is added by
`gradle wrapper`, or by Android Studio when it opens the folder.

```
gradle :model:connectedAndroidTest        # self-test on the attached device: every output {how}
gradle :benchmark:connectedAndroidTest    # nanoseconds and allocations, as JSON in benchmark/build/outputs
gradle :app:installRelease
gradle :model:assembleRelease             # the AAR: model/build/outputs/aar
```

## In an app

Copy `model` next to the app's modules, `include(":model")`, and `implementation(project(":model"))`; or publish the AAR.

```kotlin
import {package}.EdgeList
import {package}.Model

{_usage(model)}
```

- A graph that the model was not built for throws `IllegalArgumentException` (`GraphRefused` with the native status); use before
  `prepare` or after `close` throws `IllegalStateException`. `model.contract` has the sizes.
- `prepare` once per graph, `run` per set of features. Calls on one instance take turns; give each thread an instance of its own to run
  in parallel. Do not call it on the main thread with large graphs.
- `minSdk` 24; ABIs arm64-v8a, armeabi-v7a and x86_64; shared libraries are aligned for pages of 16 KB. R8 needs no further rules.
- Several models fit into one app: each has a package and a shared library of its own.

## What was checked when this kind of package was made

| | |
|---|---|
| C and JNI, `Model`, the self-test | built and run on a desktop JVM through JNI, with checks of JNI calls switched on |
| Kotlin of every module | compiled by Kotlin 2.4; Android's, Jetpack's and the runtimes' own classes were stand-ins of the same signatures |
| inputs of other model files | computed by this Kotlin for many models and graphs: equal to those computed by pocketgnn |
| shared library | compiles for aarch64-linux-android and arm-linux-androideabi; aligned to 16 KB |
| Gradle files, manifests | read as text only. **Not checked: Gradle, the Android Gradle plugin, R8** |
| devices | **Not checked: no device, no emulator; run `:model:connectedAndroidTest` first** |
"""


def _usage(model: PackagedModel) -> str:
    contract = model.artifact.contract
    attributes = ", edgeAttr" if contract.edge_features else ""
    run = f"val scores = model.run(x{attributes})[0]  // scores[row, channel]; a row per {model.artifact.signature.outputs[0].domain}"
    if contract.fixed_graph:
        return f"Model().use {{ model ->  // the edges are part of the model\n    {run}\n}}"
    weight = ", weight" if contract.edge_weight else ""
    return f"""\
Model().use {{ model ->
    model.prepare(EdgeList(nodes, source, target{weight}))  // edges in any order, as in edge_index
    {run}
}}"""
