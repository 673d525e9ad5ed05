"""Every file of pathoml/engines/ gives the same results as a plain loop; walked, so a new engine is
tested without being named.
"""

from __future__ import annotations

import pytest

from pathoml.plugins import load_plugin, names_with


def reciprocal(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize("name", names_with("pathoml.engines", "map_items"))
def test_an_engine_does_every_item_once_and_yields_failures_as_exceptions(name):
    engine = load_plugin("pathoml.engines", name, "map_items")
    results = list(engine.map_items(reciprocal, [(str(n), n) for n in (4, 0, 2)], workers=2))
    assert sorted(key for key, _ in results) == ["0", "2", "4"]
    by_key = dict(results)
    assert (by_key["4"], by_key["2"], type(by_key["0"])) == (0.25, 0.5, ZeroDivisionError)
