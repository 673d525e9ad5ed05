"""The whole study as commands, small: `scripts/rehearsal`, drawn slides, two cohorts, 20
permutations. About ten minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_CHANCE = (
    "planted breach of timing",
    "drift: every slide of the scanner",
    "outcomes of new patients were not there",
)


@pytest.mark.rehearsal
def test_the_small_rehearsal_ends_as_planned_but_for_what_chance_decides(tmp_path: Path) -> None:
    command = [str(ROOT / "scripts" / "rehearsal"), str(tmp_path / "twin"), "1", "20", "small"]
    environment = {
        name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"
    }  # as people run it
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = json.loads(
        (tmp_path / "twin" / "expected-against-found.json").read_text(encoding="utf-8")
    )
    missed = [row["expected"] for row in rows if not row["as_planned"]]
    assert [row for row in missed if any(name in row for name in WITHOUT_CHANCE)] == []
    assert len(rows) == 13
    assert len(missed) <= 2, "\n".join(missed)
    assert all(row["power"] for row in rows if not row["as_planned"])
