"""An Arduino library: library.properties, the sources, keywords, and a sketch with the self-test."""

from __future__ import annotations

import hashlib

from toolchain.exporters.packages.packaged_model import VERSION, PackagedModel
from toolchain.exporters.packages.sample import sample_files

MAX_LIBRARY_NAME = 63  # Arduino library specification
SKETCH = "SelfTest"


def project_files(model: PackagedModel) -> dict[str, str]:
    """Everything beside the sources, by path.

    A library cannot choose compiler flags, and cores for processors with an FPU contract products and sums: only models
    whose arithmetic is integer throughout must agree bit for bit.
    """
    exact = not model.is_float and not model.has_float_sums
    folder = f"examples/{SKETCH}"
    return {
        "library.properties": _properties(model),
        "keywords.txt": _keywords(model),
        f"{folder}/{SKETCH}.ino": _sketch(model),
        "README.md": _readme(model, exact),
        **sample_files(model, folder, exact=exact),
    }


def library_name(name: str) -> str:
    """A name that the specification allows: a C identifier is one, if it is short enough."""
    full = f"gnn_{name}"
    return full if len(full) <= MAX_LIBRARY_NAME else f"{full[:50]}_{hashlib.sha256(full.encode()).hexdigest()[:12]}"


def _properties(model: PackagedModel) -> str:
    fields = {
        "name": library_name(model.name),
        "version": VERSION,
        "author": "exported by pocketgnn",
        "maintainer": "exported by pocketgnn",
        "sentence": model.title,
        "paragraph": "Plain C without allocation. The example SelfTest runs a recorded graph and compares every output.",
        "category": "Data Processing",
        "url": "https://example.com",
        "architectures": "*",
        "includes": f"{model.library}.h",
        # Kernels that two models share are then taken from the first library instead of being defined twice.
        "dot_a_linkage": "true",
    }
    return "".join(f"{key}={value}\n" for key, value in fields.items())


def _keywords(model: PackagedModel) -> str:
    """Fields are separated by one tab, as the IDE reads them."""
    rows = [(word, "KEYWORD1") for word in ("gnn_graph", "gnn_features", "gnn_outputs", "gnn_status", "gnn_model")]
    rows += [(f"{model.library}_{verb}", "KEYWORD2") for verb in ("required_bytes", "prepare", "run")]
    limits = (
        "MAX_NODES",
        "MAX_EDGES",
        "MAX_GRAPHS",
        "MAX_DEGREE",
        "FEATURES",
        "EDGE_FEATURES",
        "OUTPUTS",
        "ARENA_BYTES",
    )
    rows += [(f"{model.macro}_{limit}", "LITERAL1") for limit in limits]
    return "".join(f"{word}\t{kind}\n" for word, kind in rows)


def _sketch(model: PackagedModel) -> str:
    library, macro = model.library, model.macro
    arena = f"{library}_sample_arena, sizeof {library}_sample_arena"
    return f"""\
// Repeats the recorded run of the model {model.name} on this board and times it.
#include <{library}.h>

#include "sample.h"

void setup() {{
  Serial.begin(115200);
  const unsigned long opened = millis();
  while (!Serial && millis() - opened < 5000) {{
  }}
  const int result = {library}_self_test();
  Serial.print("{library}: self-test ");
  Serial.print(result == 0 ? "passed (" : "failed (");
  Serial.print(result);
  Serial.println(")");
  if (result != 0) {{
    return;
  }}

  const gnn_outputs outputs = {{{library}_sample_outputs, NULL, NULL}};
  const unsigned long start = micros();
  {library}_prepare({macro}_SAMPLE_GRAPH, {arena});
  const unsigned long prepared = micros();
  {library}_run(&{library}_sample_features, {arena}, &outputs);
  const unsigned long done = micros();
  Serial.print("prepare us: ");
  Serial.println(prepared - start);
  Serial.print("run us: ");
  Serial.println(done - prepared);
}}

void loop() {{
}}
"""


def _readme(model: PackagedModel, exact: bool) -> str:
    library = model.library
    how = "bit for bit" if exact else "within a tolerance, since the cores' compilers may round products and sums once"
    return f"""\
# {library}

{model.title} Plain C99: no allocation, no I/O, no global state, no libm.

Install: Sketch > Include Library > Add .ZIP Library (zip this folder), or copy it into the `libraries` folder of the sketchbook.
Then open File > Examples > {library} > {SKETCH}: it runs one recorded graph and compares every output {how}.

In a sketch: `#include <{library}.h>`. `src/{library}/model.h` has the largest sizes and the bytes of the arena.

Before you publish it, put your name and address into `library.properties` (author, maintainer, url).

Checked when this kind of package was made: every file compiles for Cortex-M4 and the host, the sketch compiles as C++ against
a stand-in for the core, and the self-test passes on the host. **Not checked: arduino-cli, the IDE and real boards.**
Boards with an 8-bit AVR copy constants to RAM, where a model rarely fits: use a 32-bit board.
"""
