"""Every shipped configuration loads, and default.yaml says the defaults in force."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from pathoml.config import FlagName, StudyConfig, parse_config
from pathoml.types import FLAGS

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_a_shipped_configuration_loads(path: Path) -> None:
    assert parse_config(yaml.safe_load(path.read_text())).endpoint.time_zero


def test_default_yaml_names_every_key_with_its_default() -> None:
    content = yaml.safe_load((CONFIGS[0].parent / "default.yaml").read_text())
    assert parse_config(content) == parse_config({"endpoint": content["endpoint"]})
    for name, field in StudyConfig.model_fields.items():
        assert name in content
        keys = getattr(field.annotation, "model_fields", None)
        assert keys is None or set(keys) == set(content[name])


def test_the_flags_of_a_configuration_are_those_of_the_tiles() -> None:
    assert get_args(FlagName) == FLAGS
    assert set(parse_config(yaml.safe_load(CONFIGS[0].read_text())).tiles.exclude) <= set(FLAGS)
