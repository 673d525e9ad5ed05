"""Kappa is that of the textbooks and of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from pathoml.survival.rater_agreement import cohen_kappa, fleiss_kappa


def test_kappa_is_that_of_the_textbooks() -> None:
    first, second = (
        np.repeat([2, 2, 1, 1], [20, 5, 10, 15]),
        np.repeat([2, 1, 2, 1], [20, 5, 10, 15]),
    )
    assert cohen_kappa(first, second, weighted=False).estimate == pytest.approx(0.4)
    readings = np.random.default_rng(1).integers(1, 6, (2, 50))
    for weighted, weights in ((False, None), (True, "quadratic")):
        theirs = cohen_kappa_score(*readings, labels=[1, 2, 3, 4, 5], weights=weights)
        assert cohen_kappa(*readings, weighted=weighted).estimate == pytest.approx(theirs)
    table = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    kappa = fleiss_kappa(table)
    assert kappa.estimate == pytest.approx(0.210, abs=5e-4)
    assert kappa.low is not None
    assert kappa.low < 0.21
