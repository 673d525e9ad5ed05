"""A .vms names the files that it consists of, wherever the machine that wrote it kept them."""

from __future__ import annotations

from pathlib import Path

from pathoml.slides.companions import companions, data_folder


def test_parts_are_files_beside_it_and_never_others(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("secret.jpg", "in/a.jpg", "in/m.jpg"):
        (tmp_path / name).write_bytes(b"x")
    vms = tmp_path / "in" / "S1.vms"
    vms.write_text("ImageFile=D:\\scans\\a.jpg\nMacroImage=../m.jpg\nMapFile=../secret.jpg\n")
    assert companions(vms) == {
        "ImageFile": vms.parent / "a.jpg",
        "MacroImage": vms.parent / "m.jpg",
    }
    assert companions(tmp_path / "S1.svs") == {}


def test_a_file_that_is_no_text_names_nothing(tmp_path):
    (tmp_path / "S1.vms").write_bytes(bytes(range(256)) * 9)
    assert companions(tmp_path / "S1.vms") == {}


def test_the_pixels_of_an_mrxs_lie_in_the_folder_of_its_name():
    assert data_folder(Path("a/S 1.2.MRXS")) == Path("a/S 1.2")
    assert data_folder(Path("a/S1.svs")) is None


def test_names_are_found_in_other_letters_and_in_what_windows_writes(tmp_path):
    for name in ("Präparat.JPG", "m.jpg"):
        (tmp_path / name).write_bytes(b"x")
    for encoding in ("utf-8-sig", "cp1252", "utf-16"):
        vms = tmp_path / f"{encoding}.vms"
        vms.write_bytes("ImageFile=präparat.jpg\r\nMacroImage=M.jpg\r\n".encode(encoding))
        assert {key: part.name for key, part in companions(vms).items()} == {
            "ImageFile": "Präparat.JPG",
            "MacroImage": "m.jpg",
        }
