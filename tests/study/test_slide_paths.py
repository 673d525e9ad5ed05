"""A path finds its file in whichever form of Unicode its accents are, and as Windows writes it."""

from __future__ import annotations

import unicodedata

import pytest

from pathoml.study.slide_paths import located

MIXED = (unicodedata.normalize("NFD", "Präparate"), unicodedata.normalize("NFC", "Müller.svs"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("between", ["/", "\\"])
def test_accents_and_backslashes_lead_to_the_file(tmp_path, form, between):
    (tmp_path / MIXED[0]).mkdir()
    (tmp_path / MIXED[0] / MIXED[1]).write_bytes(b"x")
    cell = unicodedata.normalize(form, f"Präparate{between}Müller.svs")
    assert located(tmp_path, cell).read_bytes() == b"x"
    assert located(tmp_path / "elsewhere", str(tmp_path / cell)).exists()


def test_the_path_as_it_is_written_comes_first_and_one_that_leads_nowhere_stays(tmp_path):
    names = {form: unicodedata.normalize(form, "ä.svs") for form in ("NFC", "NFD")}
    for form, name in names.items():
        (tmp_path / name).write_text(form)
    for form, name in names.items():
        assert located(tmp_path, name).read_text() == form
    assert located(tmp_path, "ü\\x.svs") == tmp_path / "ü\\x.svs"
