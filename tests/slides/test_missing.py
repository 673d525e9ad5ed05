"""Why a path leads to no file is said where the path or the folder tells it, and without names."""

from __future__ import annotations

import pytest

from pathoml.slides.missing import is_there, missing_sentence, why_missing


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("C:\\Slides\\S1.svs", "Windows (drive C:)"),
        ("D:/Slides/S1.svs", "Windows (drive D:)"),
        ("\\\\server\\share\\S1.svs", "Windows server"),
        ("slides\\S1.svs", "backslashes"),
        ("file:///data/S1.svs", "an address"),
        ("s3://bucket/S1.svs", "an address"),
        ("~/S1.svs", "~ is not understood"),
        ("'S1.svs'", "quotation mark"),
        ("kanarienvogel.SVS", "other capital or small letters"),
        ("Kanarienvogel.ndpi", "another suffix"),
        ("linked.svs", "a link"),
        ("share/S1.svs", "drive is not mounted"),
    ],
)
def test_the_cause_is_said_and_no_name(tmp_path, cell, sentence):
    (tmp_path / "Kanarienvogel.svs").write_bytes(b"x")
    (tmp_path / "linked.svs").symlink_to(tmp_path / "gone")
    cause = why_missing(tmp_path / cell)
    assert sentence in cause
    assert "anarienvogel" not in cause


def test_where_nothing_tells_the_cause_none_is_invented(tmp_path):
    assert why_missing(tmp_path / "S1.svs") == ""
    assert missing_sentence(tmp_path / "S1.svs", "S1") == (
        "Slide S1 is missing. Correct the column 'path' in slides.csv."
    )


def test_a_share_that_answers_with_an_error_is_away(tmp_path, monkeypatch):
    def stale(*_: object, **__: object) -> None:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as away:
        away.setattr("os.stat", stale)
        there, why = is_there(tmp_path / "S1.svs"), why_missing(tmp_path / "S1.svs")
    assert not there
    assert "drive is not mounted" in why
