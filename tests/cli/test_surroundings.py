"""The process around a command: closed streams, poor locales, closed pipes, signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
YAML = "endpoint: {name: x, time_zero: x, time: t, event: e}\ncohort: {without_slides: keep}\n"
CENTRES = ("Łódź", "Süd\u202e", "北")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.yaml").write_text(YAML)
    rows = [f"P{i},{CENTRES[i % 3]},{i + 1},{i % 2}" for i in range(60)]
    text = "\n".join(["patient_id,centre,t,e", *rows]) + "\n"
    (folder / "patients.csv").write_text(text, encoding="utf-8")
    return folder


def shell(line: str, study: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a line of bash in which PATHOML is the command and STUDY the folder."""
    line = line.replace("PATHOML", f"'{sys.executable}' -m pathoml").replace("STUDY", f"'{study}'")
    return subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "latin-1:strict", "PATHOML_LOG_JSON": "1"},
    ],
)
def test_a_terminal_without_the_letters_gets_them_spelled_out(study, environment):
    done = shell("PATHOML check STUDY", study, **environment)
    assert done.returncode == 0, done.stderr.decode()
    assert b"\\u0141" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("letters", ["C", "POSIX"])
def test_a_folder_whose_name_the_locale_cannot_spell_is_a_study_too(study, tmp_path, letters):
    folder = tmp_path / "Łódź 北"
    shutil.copytree(study, folder)
    environment = {"LC_ALL": letters, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for line in ("PATHOML check STUDY", "cd STUDY && PATHOML check", "PATHOML check STUDY >&-"):
        done = shell(line, folder, **environment)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_nothing_to_speak_of(study, closed):
    done = shell(f"PATHOML check STUDY {closed}", study)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def test_what_is_printed_to_a_closed_stream_does_not_land_in_a_file_of_the_study(study):
    code = (
        "import os, sys; from pathoml.cli.surroundings import prepared\n"
        "with prepared():\n"
        "    file = open(sys.argv[1], 'w'); os.write(1, b'printed by a C library'); file.close()\n"
        "    sys.exit(os.path.getsize(sys.argv[1]))"
    )
    for closed in (">&-", "<&- >&-"):
        line = f"'{sys.executable}' -c \"$CODE\" '{study / 'scores.csv'}' {closed}"
        assert shell(line, study, CODE=code).returncode == 0


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(study):
    done = shell(
        "PATHOML check STUDY | head -1; echo ${PIPESTATUS[0]}; PATHOML --help | head -1", study
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines()[1] in ("0", "141")
    done = shell("(PATHOML check STUDY; echo $? >&2) | (exec <&-; sleep 20)", study)
    assert done.stderr == b"141\n"


WAITS = """
import sys, time
from pathlib import Path
import pathoml.cli as cli

@cli.app.command("wait")
def wait() -> None:
    try:
        print("waiting", flush=True)
        time.sleep(600)
    finally:
        Path(sys.argv[2]).write_text("tidied")

sys.argv[1:] = ["wait", *sys.argv[2:]]
sys.exit(cli.main(["wait"]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)]
)
def test_a_process_that_is_asked_to_end_tidies_up_says_so_and_ends_within_a_second(
    tmp_path, number, code
):
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, "x", str(tmp_path / "tidied")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        begun = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
        took = time.monotonic() - begun
    assert (process.returncode, (tmp_path / "tidied").read_text()) == (code, "tidied")
    assert said.startswith("Interrupted")
    assert took < 2, "it answers at once; a second is what a loaded machine needs to leave"


def test_a_process_that_nobody_is_to_hang_up_goes_on(tmp_path):
    line = f"trap '' HUP; exec '{sys.executable}' -c \"$CODE\" x '{tmp_path / 'tidied'}'"
    with subprocess.Popen(
        ["bash", "-c", line],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CODE": WAITS},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert process.poll() is None
        process.terminate()
