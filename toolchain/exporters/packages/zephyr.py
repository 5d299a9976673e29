"""A Zephyr module: module.yml, Kconfig, CMakeLists.txt, and a sample with the self-test."""

from __future__ import annotations

import hashlib

from toolchain.exporters.packages.packaged_model import PackagedModel
from toolchain.exporters.packages.sample import sample_files

SAMPLE = "samples/self_test"


def project_files(model: PackagedModel) -> dict[str, str]:
    """Everything beside the sources, by path. Integer models must agree bit for bit: the flags forbid contraction."""
    library, macro = model.library, model.macro
    return {
        "zephyr/module.yml": f"name: {library}\nbuild:\n  cmake: .\n  kconfig: Kconfig\nsamples:\n  - samples\n",
        "Kconfig": f'config {macro}\n\tbool "Graph neural network {model.name}"\n\thelp\n\t  {model.title}\n',
        "CMakeLists.txt": _lists(model),
        f"{SAMPLE}/CMakeLists.txt": _sample_lists(model),
        f"{SAMPLE}/prj.conf": f"CONFIG_{macro}=y\n",
        f"{SAMPLE}/sample.yaml": _sample_yaml(model),
        f"{SAMPLE}/src/main.c": _main(model),
        "README.md": _readme(model),
        **sample_files(model, f"{SAMPLE}/src", exact=not model.is_float),
    }


def _lists(model: PackagedModel) -> str:
    library, macro = model.library, model.macro
    kernels = "\n".join(f"    {name}" for name in model.c_files if name != "model.c")
    return f"""\
if(CONFIG_{macro})
  zephyr_library_named({library})
  zephyr_include_directories(src)
  # A product and a sum that are rounded once instead of twice give other floats than on other machines.
  zephyr_library_compile_options(-ffp-contract=off)
  zephyr_library_sources(src/{library}/model.c)

  # Zephyr links every object of every library, so a kernel that two models call is built with the first of them.
  get_property(gnn_kernels_version GLOBAL PROPERTY GNN_KERNELS_VERSION)
  if(gnn_kernels_version AND NOT gnn_kernels_version STREQUAL "{_kernels_version(model)}")
    message(FATAL_ERROR "{library} and another model were exported by different versions of pocketgnn; export them again.")
  endif()
  set_property(GLOBAL PROPERTY GNN_KERNELS_VERSION "{_kernels_version(model)}")
  get_property(gnn_kernels GLOBAL PROPERTY GNN_KERNELS)
  foreach(kernel
{kernels}
  )
    if(NOT kernel IN_LIST gnn_kernels)
      zephyr_library_sources(src/{library}/${{kernel}})
      set_property(GLOBAL APPEND PROPERTY GNN_KERNELS ${{kernel}})
    endif()
  endforeach()
endif()
"""


def _kernels_version(model: PackagedModel) -> str:
    """Digest of the headers that all models share: equal for models whose kernels fit each other."""
    digest = hashlib.sha256()
    for name in sorted(model.sources):
        if name.endswith(".h") and name != "model.h":
            digest.update(name.encode() + b"\0" + model.sources[name])
    return digest.hexdigest()[:16]


def _sample_lists(model: PackagedModel) -> str:
    return f"""\
cmake_minimum_required(VERSION 3.20)
list(APPEND EXTRA_ZEPHYR_MODULES ${{CMAKE_CURRENT_SOURCE_DIR}}/../..)
find_package(Zephyr REQUIRED HINTS $ENV{{ZEPHYR_BASE}})
project({model.library}_self_test LANGUAGES C)
target_sources(app PRIVATE src/main.c src/sample.c)
"""


def _sample_yaml(model: PackagedModel) -> str:
    return f"""\
sample:
  name: {model.library} self-test
tests:
  sample.{model.library}.self_test:
    tags: gnn
    harness: console
    harness_config:
      type: one_line
      regex:
        - "{model.library}: self-test passed"
"""


def _main(model: PackagedModel) -> str:
    return f"""\
#include <zephyr/sys/printk.h>

#include "sample.h"

int main(void)
{{
    const int result = {model.library}_self_test();
    printk("{model.library}: self-test %s (%d)\\n", result == 0 ? "passed" : "failed", result);
    return 0;
}}
"""


def _readme(model: PackagedModel) -> str:
    library, macro = model.library, model.macro
    return f"""\
# {library}

{model.title} A Zephyr module of plain C99: no allocation, no I/O, no global state, no libm.

```
west build -b <board> {library}/{SAMPLE} -t run
```

prints `{library}: self-test passed (0)` where one recorded graph gives every output {model.agreement}.

In an application: add the folder to `EXTRA_ZEPHYR_MODULES` (or to the west manifest), set `CONFIG_{macro}=y`, and
`#include <{library}.h>`. `src/{library}/model.h` has the largest sizes and the bytes of the arena. Several models may be in one
image if they were exported by the same version of pocketgnn: the kernels that they share are built once.

Checked when this kind of package was made: the CMake lists are read by CMake and the module and its sample are built and run
on the host with stand-ins for Zephyr's own functions, and every source compiles for Cortex-M4.
**Not checked: west, a Zephyr tree and real boards.** Before Zephyr 3.4, `EXTRA_ZEPHYR_MODULES` was called
`ZEPHYR_EXTRA_MODULES`.
"""
