"""The name of the run, as a text file."""

from __future__ import annotations

from pathlib import Path

from pathoml.config import Study
from pathoml.interop.exchange import Exchange


def export_to(study: Study, target: Path) -> Exchange:
    target.mkdir(parents=True, exist_ok=True)
    (target / "run.txt").write_text(study.config.run, encoding="utf-8")
    return Exchange(files=(target / "run.txt",))
