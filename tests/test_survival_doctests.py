"""Every example in a docstring of pathoml/survival is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import pathoml.survival

NAMES = [f"pathoml.survival.{module.name}" for module in pkgutil.iter_modules(pathoml.survival.__path__)]


@pytest.mark.parametrize("name", [*NAMES, "pathoml.evaluation", "pathoml.cli.evaluate"])
def test_the_examples_of_a_module_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
