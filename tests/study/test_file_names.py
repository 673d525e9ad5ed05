"""Ids that disks, spreadsheets and our own names cannot hold are refused with what to do, or named;
others do not take each other's files.
"""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
from support.tiny_study import pathoml, tiny_study

from pathoml.config import load_study
from pathoml.errors import CohortError, ConfigError
from pathoml.study import file_names
from pathoml.study.cohort import read_cohort, read_slides, read_tables
from pathoml.study.oddities import odd_things

YAML = "endpoint: {name: x, time_zero: x, time: t, event: e}\n"


def study_of(folder: Path, slides: list[str], patients: list[str] | None = None):
    patients = patients or [f"P{i}" for i in range(len(slides))]
    (folder / "study.yaml").write_text(YAML)
    quoted = [f'"{p}"' for p in patients]
    slide_rows = [f"{s},{p},x.svs" for s, p in zip(slides, quoted)]
    patient_rows = [f"{p},n,{k + 1},{k % 2}" for k, p in enumerate(quoted)]
    for name, head, rows in (
        ("slides", "slide_id,patient_id,path", slide_rows),
        ("patients", "patient_id,centre,t,e", patient_rows),
    ):
        (folder / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return load_study(folder)


@pytest.mark.parametrize(
    "slide_id",
    [
        "CON", "nul", "Aux.h5", "prn.tar.gz", "COM1", "lpt9.x", "S1.", "S1..", "a" * 122, "-S1",
        "+S1", "=S1", "@S1", "S/1", "S\\1", "..", "S\u200b1", "S\u202e1", "Sé", "Se\u0301", "S:1",
        "S|1", "S*", "S\x1b[1m", "S\u0000",
    ],
)  # fmt: skip
def test_a_slide_that_no_file_can_be_named_after_is_refused_by_every_reader(tmp_path, slide_id):
    study = study_of(tmp_path, ["S0", slide_id])
    for read in (read_slides, read_cohort):
        with pytest.raises(CohortError, match=r"slides\.csv") as told:
            read(study)
        assert "refused; correct slides.csv" in str(told.value) or "not a text file" in str(
            told.value
        )


@pytest.mark.parametrize(
    "slide_id",
    ["S1", "S1_tiles", "gallery", "failures", "index", "1", "console", "S (2)+3", "00"],
)
def test_what_files_can_be_named_after_stays(tmp_path, slide_id):
    assert [s.slide_id for s in read_slides(study_of(tmp_path, [slide_id]))] == [slide_id]


@pytest.mark.parametrize(
    "patient_id", ["P\u200b1", "P\u00ad1", "P\n1", "P\x1b[31m1", "P\u202e1", "P" * 201, "P\u20281"]
)
def test_a_patient_whose_id_holds_what_nobody_sees_is_refused_with_the_line(tmp_path, patient_id):
    study = study_of(tmp_path, ["S0", "S1"], ["P0", patient_id])
    with pytest.raises(CohortError, match=r"slides\.csv line 3.*(not shown|characters)"):
        read_cohort(study)
    (tmp_path / "slides.csv").write_text("slide_id,patient_id,path\nS0,P0,x.svs\n")
    with pytest.raises(CohortError, match=r"patients\.csv line 3.*(not shown|characters)"):
        read_cohort(study)


@pytest.mark.parametrize("patient_id", ["-P003", "=P1", "+S1", "@x", "12/345", "Łódź 1", "CON"])
def test_patients_that_tables_can_hold_stay(tmp_path, patient_id):
    study = study_of(tmp_path, ["S0", "S1"], ["P0", patient_id])
    assert read_cohort(study).patient_ids == sorted(["P0", patient_id])


def test_slides_that_differ_by_the_size_of_letters_are_named_and_refused_where_they_are_one_file(
    tmp_path, monkeypatch
):
    study = study_of(tmp_path, ["Case", "B", "case"])
    assert len(read_slides(study)) == 3
    patients, slides = read_tables(study)
    assert [s for s in odd_things(study, patients, slides) if "'Case' and 'case'" in s] != []
    monkeypatch.setattr("pathoml.study.cohort.tells_letters_apart", lambda _: False)
    with pytest.raises(CohortError, match=r"line 4, slide 'case'.*one file with slide 'Case'"):
        read_slides(study)


def test_a_disk_that_has_one_file_for_small_and_large_letters_is_known_by_study_yaml(tmp_path):
    (tmp_path / "study.yaml").touch()
    assert file_names.tells_letters_apart(tmp_path)
    (tmp_path / "STUDY.YAML").touch()  # another file, which has its own place in the list
    assert file_names.tells_letters_apart(tmp_path)


def test_two_spellings_of_one_letter_are_no_two_patients(tmp_path):
    with pytest.raises(CohortError, match=r"'P\\xe9' look alike.*by hand"):
        read_cohort(study_of(tmp_path, ["S0", "S1"], ["Pe\u0301", "P\u00e9"]))
    study = study_of(tmp_path, ["S0"], ["Pe\u0301"])
    (tmp_path / "patients.csv").write_text("patient_id,centre,t,e\nP\u00e9,n,1,1\n")
    with pytest.raises(CohortError, match="Is it"):
        read_cohort(study)


@pytest.mark.parametrize(
    "ids",
    [["S1", "S1_tiles"], ["S1", "s1_TILES", "S1_tiles_"], ["A", "A_tiles", "A_tiles_tiles", "B"]],
)
def test_no_strip_of_tiles_takes_the_name_of_a_map_or_of_another_strip(ids):
    strips = [file_names.strip_name(one, ids) for one in ids]
    names = [name.casefold() for name in (*ids, *strips)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("run", ["con", "aux.1", "main.", "NUL"])
def test_a_run_that_windows_cannot_hold_is_refused(tmp_path, run):
    (tmp_path / "study.yaml").write_text(f"{YAML}run: {run}\n")
    with pytest.raises(ConfigError, match="Windows does not take it"):
        load_study(tmp_path)


@pytest.mark.ci
def test_slides_called_like_files_of_ours_have_maps_of_their_own(tmp_path):
    study = tiny_study(tmp_path / "study")
    table = (study / "slides.csv").read_text(encoding="utf-8")
    for old, new in (("P001_1,", "S1_tiles,"), ("P002_1,", "S1,"), ("P003_1,", "gallery,")):
        table = table.replace(f"\n{old}", f"\n{new}", 1)
    (study / "slides.csv").write_text(table, encoding="utf-8")
    for verb in ("tile", "embed", "train", "explain"):
        assert pathoml(verb, str(study)) == 0
    attention = study / "runs" / "main" / "attention"
    with PIL.Image.open(attention / "P004_1_tiles.png") as strip:
        strips = strip.size
    for name in ("S1_tiles", "S1", "gallery"):
        with PIL.Image.open(attention / f"{name}.png") as picture:
            assert picture.size != strips
    for name in ("S1_tiles_", "S1_tiles_tiles", "gallery_tiles"):
        with PIL.Image.open(attention / f"{name}.png") as picture:
            assert picture.size == strips
    assert (attention / "gallery_.png").is_file()
