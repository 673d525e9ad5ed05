"""Names of modules from before there were rooms lead to their code of now, with a warning."""

from __future__ import annotations

import importlib
import sys

import pytest

from pathoml._moved import MOVED


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    for old in MOVED:
        package, _, name = f"pathoml.{old}".rpartition(".")
        sys.modules.pop(f"pathoml.{old}", None)
        vars(sys.modules.get(package, sys)).pop(name, None)


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_warns_of_its_new_place_which_is_there(old):
    with pytest.warns(DeprecationWarning, match="has moved: import from pathoml"):
        importlib.import_module(f"pathoml.{old}")
    for place in MOVED[old].split():
        importlib.import_module(f"pathoml.{place}")


def test_what_an_old_module_held_is_found_in_any_of_its_new_places():
    from pathoml.store.scores import write_scores
    from pathoml.training.step import train_study

    with pytest.warns(DeprecationWarning, match=r"pathoml\.training_run has moved"):
        from pathoml import training_run
    assert training_run.train_study is train_study
    assert training_run.write_scores is write_scores


def test_a_name_that_went_is_refused_with_the_new_places():
    with pytest.warns(DeprecationWarning, match="has moved"):
        tables = importlib.import_module("pathoml.tables")
    with pytest.raises(AttributeError, match=r"pathoml\.store\.tables\. None of them has 'x'"):
        _ = tables.x


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pathoml.tabels")
