"""scripts/changelog gathers the files of changelog.d/ into CHANGELOG.md, or says in one sentence
why it does not.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEFORE = """# Changelog

The form.

## [0.1.0] - 2026-01-02

### Added

- All.
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the script, a changelog and one change in each of two kinds."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "changelog", tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text(BEFORE, encoding="utf-8")
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "README.md").write_text("How.\n", encoding="utf-8")
    (tmp_path / "changelog.d" / "door.fixed.md").write_text(
        "The door shuts,\nalso at night.\n", encoding="utf-8"
    )
    (tmp_path / "changelog.d" / "a-window.added.md").write_text("- A window.\n", encoding="utf-8")
    return tmp_path


def gather(checkout, *arguments):
    command = [sys.executable, checkout / "scripts" / "changelog", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


def page(checkout):
    return re.sub(
        r"\d{4}-\d\d-\d\d", "DATE", (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    )


def test_changes_become_a_section_before_the_others_and_their_files_go(checkout):
    done = gather(checkout, "0.2.0")
    assert done.returncode == 0, done.stderr
    assert page(checkout) == BEFORE.replace("2026-01-02", "DATE").replace(
        "## [0.1.0]",
        "## [0.2.0] - DATE\n\n### Added\n\n- A window.\n\n### Fixed\n\n- The door shuts,\n  also at"
        " night.\n\n## [0.1.0]",
    )
    assert [path.name for path in (checkout / "changelog.d").iterdir()] == ["README.md"]


def test_a_section_that_is_unreleased_keeps_its_list_and_gets_the_date(checkout):
    (checkout / "CHANGELOG.md").write_text(
        BEFORE.replace("2026-01-02", "unreleased"), encoding="utf-8"
    )
    assert gather(checkout, "0.1.0").returncode == 0
    assert page(checkout).endswith(
        "## [0.1.0] - DATE\n\n### Added\n\n- All.\n- A window.\n\n### Fixed\n\n- The door "
        "shuts,\n  also at night.\n"
    )


@pytest.mark.parametrize(
    ("change", "arguments", "sentence"),
    [
        (
            lambda folder: (folder / "roof.repaired.md").write_text("The roof."),
            ["0.2.0"],
            "roof.repaired.md: a file is called NAME.KIND.md",
        ),
        (
            lambda folder: (folder / "roof.md").write_text("The roof."),
            ["0.2.0"],
            "roof.md: a file is called NAME.KIND.md",
        ),
        (
            lambda folder: (folder / "roof.fixed.md").write_text(" \n"),
            ["0.2.0"],
            "roof.fixed.md is empty",
        ),
        (
            lambda folder: [path.unlink() for path in folder.glob("*.*.md")],
            ["0.2.0"],
            "changelog.d/ holds no change",
        ),
        (lambda _: None, ["0.1.0"], "CHANGELOG.md has a section for 0.1.0 already"),
        (lambda _: None, ["next"], "Usage: scripts/changelog VERSION"),
        (lambda _: None, [], "Usage: scripts/changelog VERSION"),
    ],
)
def test_what_cannot_be_gathered_is_refused_in_a_sentence_and_nothing_is_touched(
    checkout, change, arguments, sentence
):
    change(checkout / "changelog.d")
    files = sorted((checkout / "changelog.d").iterdir())
    done = gather(checkout, *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert page(checkout) == BEFORE.replace("2026-01-02", "DATE")
    assert sorted((checkout / "changelog.d").iterdir()) == files


def test_every_change_that_waits_could_be_gathered():
    names = [path.name for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    assert [
        name
        for name in names
        if not re.fullmatch(r"[^.]+\.(added|changed|fixed|removed)\.md", name)
    ] == []
