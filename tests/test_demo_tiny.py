"""`pathoml demo --tiny`: a first look within minutes, that claims nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathoml.cli import guarded, main

pytestmark = pytest.mark.ci


def test_the_tiny_demo_writes_scores_maps_and_a_report_and_claims_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "first-look"
    assert guarded(lambda: main(["demo", str(folder), "--tiny", "--patients", "9"])) == 0
    said = capsys.readouterr().out
    run = folder / "runs" / "main"
    assert len((run / "scores.csv").read_text(encoding="utf-8").splitlines()) == 1 + 9
    assert (run / "report.html").exists()
    assert list((run / "attention").glob("*.png"))
    assert "none of their figures is a claim" in said
    assert "the oracle" not in said


def test_a_demo_with_too_few_patients_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: main(["demo", str(tmp_path / "few"), "--patients", "9"])) == 2
    assert "--patients 9" in capsys.readouterr().err
    assert not (tmp_path / "few").exists()
