"""A CMake project: the model as a static library, an example, and a self-test for ctest."""

from __future__ import annotations

from toolchain.exporters.packages.packaged_model import VERSION, PackagedModel
from toolchain.exporters.packages.sample import sample_files


def project_files(model: PackagedModel) -> dict[str, str]:
    """Everything beside the sources, by path. Integer models must agree bit for bit: the flags forbid contraction."""
    return {
        "CMakeLists.txt": _lists(model),
        f"cmake/{model.library}-config.cmake": f"include(${{CMAKE_CURRENT_LIST_DIR}}/{model.library}-targets.cmake)\n",
        "example/main.c": _example(model),
        "test/self_test.c": _self_test(model),
        "README.md": _readme(model),
        **sample_files(model, "sample", exact=not model.is_float),
    }


def _lists(model: PackagedModel) -> str:
    library, name, macro = model.library, model.name, model.macro
    sources = "\n".join(f"  src/{library}/{file}" for file in model.c_files)
    return f"""\
cmake_minimum_required(VERSION 3.15...4.0)
project({library} VERSION {VERSION} LANGUAGES C)

if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  set({macro}_IS_TOP_LEVEL ON)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release)
  endif()
else()
  set({macro}_IS_TOP_LEVEL OFF)
endif()
option({macro}_TESTS "Build the example and the self-test of {library}" ${{{macro}_IS_TOP_LEVEL}})
option({macro}_INSTALL "Install {library}" ${{{macro}_IS_TOP_LEVEL}})

add_library({library} STATIC
{sources}
)
add_library(gnn::{name} ALIAS {library})
set_target_properties({library} PROPERTIES
  C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON EXPORT_NAME {name})
target_include_directories({library} PUBLIC
  $<BUILD_INTERFACE:${{CMAKE_CURRENT_SOURCE_DIR}}/src> $<INSTALL_INTERFACE:include>)
# A product and a sum that are rounded once instead of twice give other floats than on other machines.
if(MSVC)
  target_compile_options({library} PRIVATE /fp:precise)
else()
  target_compile_options({library} PRIVATE -ffp-contract=off)
endif()

if({macro}_TESTS)
  add_library({library}_sample OBJECT sample/sample.c)
  target_include_directories({library}_sample PUBLIC sample)
  target_link_libraries({library}_sample PUBLIC {library})
  add_executable({library}_example example/main.c)
  add_executable({library}_self_test test/self_test.c)
  foreach(program {library}_example {library}_self_test)
    target_sources(${{program}} PRIVATE $<TARGET_OBJECTS:{library}_sample>)
    target_include_directories(${{program}} PRIVATE sample)
    target_link_libraries(${{program}} PRIVATE {library})
  endforeach()
  enable_testing()
  add_test(NAME {library}_self_test COMMAND {library}_self_test)
endif()

if({macro}_INSTALL)
  include(GNUInstallDirs)
  install(TARGETS {library} EXPORT {library}-targets ARCHIVE DESTINATION ${{CMAKE_INSTALL_LIBDIR}})
  install(DIRECTORY src/ DESTINATION ${{CMAKE_INSTALL_INCLUDEDIR}} FILES_MATCHING PATTERN "*.h")
  install(EXPORT {library}-targets NAMESPACE gnn:: DESTINATION ${{CMAKE_INSTALL_LIBDIR}}/cmake/{library})
  install(FILES cmake/{library}-config.cmake DESTINATION ${{CMAKE_INSTALL_LIBDIR}}/cmake/{library})
endif()
"""


def _example(model: PackagedModel) -> str:
    library, macro = model.library, model.macro
    return f"""\
/* Runs the model {model.name} on the recorded graph and prints what it computes. */
#include <stdio.h>
#include <{library}.h>

#include "sample.h"

static uint64_t arena[({macro}_ARENA_BYTES + 7u) / 8u]; /* yours; one per thread */

/* Receives results row by row, so that no array of outputs is needed. */
static void print_rows(void *context, uint32_t output, uint32_t first_row, uint32_t rows, const float *values)
{{
    const uint32_t channels = {library}_model.outputs[output].channels;
    uint32_t row, channel;
    (void)context;
    for (row = 0; row < rows; row++) {{
        printf("output %u, row %u:", (unsigned)output, (unsigned)(first_row + row));
        for (channel = 0; channel < channels; channel++) {{
            printf(" %g", (double)values[row * channels + channel]);
        }}
        printf("\\n");
    }}
}}

int main(void)
{{
    const gnn_outputs outputs = {{NULL, print_rows, NULL}};
    gnn_status status = {library}_prepare({macro}_SAMPLE_GRAPH, arena, sizeof arena); /* once per graph */
    if (status == GNN_OK) {{
        status = {library}_run(&{library}_sample_features, arena, sizeof arena, &outputs); /* once per set of features */
    }}
    if (status != GNN_OK) {{
        fprintf(stderr, "refused with gnn_status %d; gnn.h says what it means\\n", (int)status);
        return 1;
    }}
    return 0;
}}
"""


def _self_test(model: PackagedModel) -> str:
    return f"""\
#include <stdio.h>

#include "sample.h"

int main(void)
{{
    const int result = {model.library}_self_test();
    printf("{model.library}: self-test %s (%d)\\n", result == 0 ? "passed" : "failed", result);
    return result == 0 ? 0 : 1;
}}
"""


def _readme(model: PackagedModel) -> str:
    library, name = model.library, model.name
    return f"""\
# {library}

{model.title} Plain C99: no allocation, no I/O, no global state, no libm.

```
cmake -B build && cmake --build build && ctest --test-dir build
```

The self-test runs one recorded graph and compares every output {model.agreement}.

In another project: `add_subdirectory({library})` (or `find_package({library})` after `cmake --install build`), then

```cmake
target_link_libraries(app PRIVATE gnn::{name})
```

```c
#include <{library}.h>
```

`example/main.c` shows the three steps: an arena, `{library}_prepare()` once per graph, `{library}_run()` per inference.
`src/{library}/model.h` has the largest sizes. Several models may be linked into one program if they were exported by the same
version of pocketgnn: they share their kernels, and each keeps its graphs in arenas of its own.

Built and tested with CMake, gcc and clang on Linux. MSVC was not tried.
"""
