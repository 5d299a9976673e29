"""The studies by name. A study's module is imported when it is run, so that the list needs no torch."""

from __future__ import annotations

from importlib import import_module

from toolchain.errors import RecipeError
from toolchain.studies.study import Study

# name → what it asks; the module has the same name with underscores and holds STUDY
STUDIES: dict[str, str] = {
    "digits-bogp": "BoGP against global and uniform magnitude pruning, one and five iterations",
    "digits-sensitivity": "ECS against SNIP at densities of 20, 10 and 5 %, float and static int8",
    "proteins-pruning": "20 % of the weights pruned and fine-tuned, in paired folds",
    "proteins-channels": "half of the hidden channels removed and fine-tuned, in paired folds",
    "proteins-sharing": "weights from codebooks of 5, 16 and 32 fine-tuned values against int8, in paired folds",
    "tu": "REDDIT-BINARY, IMDB-BINARY, PROTEINS and DD at 8 and 4 bits: plain QAT, Degree-Quant, learned scales",
    "csl": "circular skip links at 8, 4, 2 and 1 bits and at searched widths",
    "proteins-int8": "every way of quantizing to int8, integer beside simulated accuracy",
    "planetoid": "8 bits and fewer on Cora, CiteSeer and PubMed, with and without distillation",
    "planetoid-a2q": "steps and widths of groups of nodes against one for all, at 4 and 2 bits, on Cora",
    "planetoid-exploration": "random bit assignments on Cora, and the main effect of every value and weight",
    "planetoid-search": "bits within a budget, found by three searches, on Cora, CiteSeer and PubMed",
    "metr-la": "speeds of 207 sensors 15, 30 and 60 minutes ahead: float, static int8, trained through the integers",
    "natops": "gestures of a skeleton: float, static int8, trained through the integers",
    "cora-attention": "integer attention against float attention on Cora",
}


def study(name: str) -> Study:
    """The study of a name.

    Raises:
        RecipeError: there is none.
    """
    if name not in STUDIES:
        raise RecipeError(f"study {name!r} is unknown. Studies: {', '.join(STUDIES)}.")
    found: Study = import_module(f"toolchain.studies.{name.replace('-', '_')}").STUDY
    return found
