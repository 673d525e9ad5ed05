"""Extension folders: a file is found without registration; what is missing is said."""

from __future__ import annotations

import pytest

from pathoml.errors import ConfigError
from pathoml.plugins import load_plugin, names_with, plugin_names


def test_a_file_dropped_in_is_found(drop_in):
    drop_in("pathoml.engines", "ours", "def map_items(): ...\n")
    assert "ours" in names_with("pathoml.engines", "map_items")
    assert load_plugin("pathoml.engines", "ours", "map_items").__name__ == "pathoml.engines.ours"


def test_nothing_of_a_file_dropped_in_is_left_behind():
    assert "ours" not in plugin_names("pathoml.engines")


def test_private_files_are_no_plugins(drop_in):
    drop_in("pathoml.engines", "_ours", "def map_items(): ...\n")
    assert "_ours" not in plugin_names("pathoml.engines")


def test_a_file_without_the_attribute_is_not_offered_and_refused_by_name(drop_in):
    drop_in("pathoml.engines", "empty", "")
    assert "empty" not in names_with("pathoml.engines", "map_items")
    with pytest.raises(ConfigError, match=r"pathoml\.engines\.empty has no 'map_items'"):
        load_plugin("pathoml.engines", "empty", "map_items")


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(
        ConfigError, match=r"'locl' is not one of pathoml/engines/: local.* Did you mean 'local'\?"
    ):
        load_plugin("pathoml.engines", "locl", "map_items")


@pytest.mark.parametrize("name", ["", "../local", "local.py", "os.path", "a b"])
def test_a_name_that_is_no_file_of_the_folder_is_never_imported(name):
    with pytest.raises(ConfigError, match="is not one of"):
        load_plugin("pathoml.engines", name, "map_items")
