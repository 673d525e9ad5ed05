"""`pathoml doctor` finds what is missing and says how to get it."""

from __future__ import annotations

import socket
from pathlib import Path

import openslide
import pytest
import torch

from pathoml.cli import doctor
from pathoml.cli.console import Console
from pathoml.errors import EncoderError


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that gives the exit code and the lines of a visit."""
    monkeypatch.setattr(doctor, "HUB_SECONDS", 0.2)

    def visit(folder: Path = tmp_path) -> tuple[int, list[str]]:
        code = doctor.run(Console(), folder)
        return code, capsys.readouterr().out.splitlines()

    return visit


def test_this_machine_lacks_nothing_that_is_needed_and_nothing_is_left_on_its_disk(
    lines, tmp_path: Path
) -> None:
    code, said = lines()
    assert code == 0, said
    assert not any(line.startswith("MISSING") for line in said)
    assert any("ms a small file" in line for line in said)
    assert list(tmp_path.iterdir()) == []


def test_an_old_openslide_is_missing(lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openslide, "__library_version__", "3.4.1")
    code, said = lines()
    assert (code, said[0].split(":")[0]) == (1, "MISSING OpenSlide 3.4.1")


def test_a_driver_without_a_gpu_for_torch_is_missing(
    lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, said = lines()
    assert code == 1
    assert any(line.startswith("MISSING GPU") and "CUDA version" in line for line in said)


def test_too_few_file_handles_are_missing(lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "raise_open_files", lambda: 256)
    code, said = lines()
    assert code == 1
    assert any("ulimit -n 1024" in line for line in said)


def test_a_hub_that_is_switched_off_or_far_away_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert doctor._hub(server.getsockname()).is_fine
    assert "checkpoints/" in doctor._hub(("127.0.0.1", 9)).line
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert doctor._hub().line.startswith("NOTE    hub of pretrained encoders: switched off")


def test_small_shared_memory_and_a_slow_disk_are_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"total": 64 * 2**20})()
    )
    assert doctor._shared_memory().line.startswith("NOTE    shared memory: 64 MiB")
    monkeypatch.setattr(doctor, "SLOW_FILE_MS", 0.0)
    assert doctor._disk(tmp_path)[0].line.startswith("NOTE    disk of")


def test_no_compiler_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert doctor._compiler().line.startswith("NOTE    no C++ compiler: only needed")


def test_a_folder_that_does_not_exist_is_missing(lines, tmp_path: Path) -> None:
    code, said = lines(tmp_path / "nowhere")
    assert code == 1
    assert any(line.startswith("MISSING folder") for line in said)


def test_what_was_left_out_of_an_installation_is_named_with_the_way_to_get_it(
    lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "starlette" else real(name, *rest),
    )
    code, said = lines()
    assert code == 1
    assert (
        "MISSING the viewer's packages: `pathoml view` needs starlette: pip install starlette"
        in said
    )


def test_a_torchvision_of_another_torch_is_a_note_and_one_that_does_not_load_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_declared_operators", lambda: ("nms",))
    assert doctor._packages()[0].line.startswith("NOTE    torchvision, which was built for another")

    def refuse() -> None:
        raise EncoderError("torchvision does not fit torch 9. Install both from one place.")

    monkeypatch.setattr(doctor, "_declared_operators", refuse)
    assert doctor._packages()[0].line.startswith("MISSING torchvision: torchvision does not fit")


def test_a_system_that_counts_no_open_files_has_nothing_to_say_of_them(
    lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "raise_open_files", lambda: 0)
    assert not any("open files" in line for line in lines()[1])
