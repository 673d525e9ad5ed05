"""A path in slides.csv means what its writer meant, on whichever system it was written."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from pathoml.study import slide_paths
from pathoml.study.slide_paths import slide_path

MIXED = (unicodedata.normalize("NFD", "Präparate"), unicodedata.normalize("NFC", "Müller.svs"))


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("slides/S1.svs", "/study/slides/S1.svs"),
        ("/mnt/scans/S1.svs", "/mnt/scans/S1.svs"),
        (r"slides\S1.svs", "/study/slides/S1.svs"),
        (r".\slides\north\S1.svs", "/study/slides/north/S1.svs"),
        (r"slides\north/S1.svs", "/study/slides/north/S1.svs"),
        (r"..\scans\S1.svs", "/study/../scans/S1.svs"),
        (r"slides\süd 2\S1 (a).svs", "/study/slides/süd 2/S1 (a).svs"),
        (r"D:\scans\S1.svs", "/D:/scans/S1.svs"),
        ("D:/scans/S1.svs", "/D:/scans/S1.svs"),
        (r"\\server\share\S1.svs", "//server/share/S1.svs"),
    ],
)
def test_elsewhere_than_on_windows_its_spelling_is_understood(written: str, path: str) -> None:
    assert str(slide_path(Path("/study"), written)) == path


def test_a_drive_of_windows_never_leads_into_the_studys_folder(tmp_path: Path) -> None:
    for written in (r"D:\S1.svs", "d:S1.svs", r"\\server\share\S1.svs"):
        assert not slide_path(tmp_path, written).is_relative_to(tmp_path)


def test_a_name_with_a_backslash_is_a_name_where_there_is_such_a_file(tmp_path: Path) -> None:
    odd = tmp_path / r"a\b.svs"
    odd.touch()
    assert slide_path(tmp_path, r"a\b.svs") == odd


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("slides/S1.svs", r"C:\study\slides\S1.svs"),
        (r"slides\S1.svs", r"C:\study\slides\S1.svs"),
        (r"D:\scans\S1.svs", r"D:\scans\S1.svs"),
        (r"\\server\share\S1.svs", r"\\server\share\S1.svs"),
        ("//server/share/S1.svs", r"\\server\share\S1.svs"),
    ],
)
def test_on_windows_the_system_itself_understands_both(
    monkeypatch: pytest.MonkeyPatch, written: str, path: str
) -> None:
    monkeypatch.setattr(slide_paths.os, "sep", "\\")
    found = slide_path(PureWindowsPath(r"C:\study"), written)
    assert (type(found), str(found)) == (PureWindowsPath, path)


def test_a_path_that_a_linux_wrote_is_read_by_windows_and_back() -> None:
    relative = PurePosixPath("slides/north/S1.svs")
    assert PureWindowsPath(str(relative)).as_posix() == str(relative)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("between", ["/", "\\"])
def test_accents_and_backslashes_lead_to_the_file(tmp_path, form, between):
    (tmp_path / MIXED[0]).mkdir()
    (tmp_path / MIXED[0] / MIXED[1]).write_bytes(b"x")
    cell = unicodedata.normalize(form, f"Präparate{between}Müller.svs")
    assert slide_path(tmp_path, cell).read_bytes() == b"x"
    assert slide_path(tmp_path / "elsewhere", str(tmp_path / cell)).exists()


def test_the_path_as_it_is_written_comes_first_and_one_that_leads_nowhere_stays(tmp_path):
    names = {form: unicodedata.normalize(form, "ä.svs") for form in ("NFC", "NFD")}
    for form, name in names.items():
        (tmp_path / name).write_text(form)
    for form, name in names.items():
        assert slide_path(tmp_path, name).read_text() == form
    assert slide_path(tmp_path, "ü\\x.svs") == tmp_path / "ü" / "x.svs"
