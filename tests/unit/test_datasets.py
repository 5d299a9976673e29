"""Data sets: the folds that studies run in."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.datasets import digits, fold
from toolchain.errors import InvalidInput

pytest.importorskip("sklearn")


def test_the_folds_are_the_stratified_ones_of_the_literature() -> None:
    """The test part of one fold is the validation part of the next, and every part has the classes of the whole."""
    graphs = digits(300)
    folds = [fold(graphs, number) for number in range(10)]
    position = {id(graph): index for index, graph in enumerate(graphs)}

    tests = [[position[id(g)] for g in f.test] for f in folds]
    assert sorted(index for part in tests for index in part) == list(range(300))
    assert [[position[id(g)] for g in f.validation] for f in folds] == [tests[-1], *tests[:-1]]
    for f in folds:
        assert len({id(g) for part in (f.train, f.validation, f.test) for g in part}) == 300
        assert np.bincount([int(g.y) for g in f.test]).min() >= 2


def test_a_fold_beyond_the_last_is_refused() -> None:
    with pytest.raises(InvalidInput, match="fold 10: expected 0 to 9"):
        fold(digits(20), 10)
