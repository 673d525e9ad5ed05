"""What is printed: nothing of a table acts on the terminal or the log that it is shown in."""

from __future__ import annotations

import json

import pytest

from pathoml.cli.console import Console, json_line, printable
from pathoml.cli.exit_codes import guarded
from pathoml.errors import CohortError

HOSTILE = "north\x1b]0;owned\x07\x9b31m\rFAILED\x00\u202egpj\u2066\u200b\x7f"


def acts(text: str) -> list[str]:
    return [c for c in text if c != "\n" and not c.isprintable()]


def test_what_acts_on_a_terminal_is_spelled_out_and_letters_stay():
    assert acts(printable(HOSTILE)) == []
    assert "\\x1b]0;owned" in printable(HOSTILE)
    assert printable("Łódź, Süd\t日本\n  next") == "Łódź, Süd\t日本\n  next"


@pytest.mark.parametrize("as_json", [False, True])
def test_lines_tables_headings_errors_and_tracebacks_carry_no_codes(capsys, as_json):
    console = Console()
    console.as_json = console.debug = as_json

    def of_ours() -> None:
        raise ValueError(HOSTILE)

    def of_the_users() -> None:
        raise CohortError(HOSTILE)

    console.say(HOSTILE, slide=HOSTILE)
    console.heading(f"check {HOSTILE}")
    console.table([(HOSTILE, "a\nFAILED b")], (HOSTILE, "x"))
    guarded(of_ours, console)
    guarded(of_the_users, console)
    said = "".join(capsys.readouterr())
    assert acts(said) == []
    assert "owned" in said
    assert not any(line.startswith("FAILED b") for line in said.splitlines())


def test_a_line_of_the_log_is_still_json_with_what_was_said():
    entry = json.loads(json_line(HOSTILE, centre=HOSTILE))
    assert (entry["message"], entry["centre"]) == (HOSTILE, HOSTILE)


def test_a_heading_is_bold_on_a_terminal_and_its_words_are_still_no_codes(capsys, monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", True)
    Console().heading(f"check {HOSTILE}")
    said = capsys.readouterr().out
    assert said.startswith("\033[1mcheck north\\x1b")
    assert said.endswith("\033[0m\n")
    assert said.count("\033") == 2
