"""A small package on disk, for tests of rules about the package's source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture
def fake_house(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that builds a small package from {file: source} and returns its folder."""

    def build(files: Mapping[str, str]) -> Path:
        for name, source in files.items():
            path = tmp_path / "pathoml" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        return tmp_path / "pathoml"

    return build
