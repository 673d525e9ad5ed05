"""A study of a public cohort is known by ids that nobody else has, or by what study.yaml says; who
learned from it before is an alarm, who may have is a note.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.learning import planted_cohort, write_study

from pathoml.config import load_study
from pathoml.store.files import write_json
from pathoml.study.public_cohorts import (
    INITIAL,
    PublicCohort,
    pretraining_alarms,
    pretraining_notes,
    pretraining_section,
    public_cohorts,
    seen,
)
from pathoml.types import Cohort

COHORT = planted_cohort(4)[0]


def named(*ids: str, slide: str = "S", path: str | None = None) -> Cohort:
    """Return a cohort of as many patients as there are ids, each with a slide."""
    patients = [replace(COHORT.patients[0], patient_id=one) for one in ids]
    file = Path(path) if path else None
    slides = [
        replace(COHORT.slides[0], patient_id=p, slide_id=f"{slide}{i}", path=file)
        for i, p in enumerate(ids)
    ]
    return replace(COHORT, patients=tuple(patients), slides=tuple(slides))


@pytest.mark.parametrize(
    ("patient", "cohort"),
    [
        ("TCGA-3C-AALI", "TCGA"),
        ("tcga-3c-aali-01Z-00-DX1", "TCGA"),
        ("C3L-00001", "CPTAC"),
        ("C3N-01234-21", "CPTAC"),
        ("GTEX-1117F-0126", "GTEx"),
        ("TARGET-20-PABLDZ", "TARGET"),
        ("BRACS_1234", "BRACS"),
        ("patient_004_node_4", "CAMELYON17"),
    ],
)
def test_ids_that_nobody_else_has_name_the_cohort(patient: str, cohort: str) -> None:
    found = public_cohorts(named(patient, "P2"))
    assert found == [PublicCohort(name=cohort, patients=1, stated=False)]


@pytest.mark.parametrize(
    "patient", ["P001", "TCGA", "TCGA-1", "XTCGA-3C-AALI", "C3L-1", "tumor_001", "patient_004"]
)
def test_ids_that_could_be_anybodys_name_none(patient: str) -> None:
    assert public_cohorts(named(patient)) == []


def test_slides_tell_where_patients_have_other_names() -> None:
    by_slide = public_cohorts(named("P1", "P2", slide="TCGA-3C-AALI-01Z-00-DX"))
    by_file = public_cohorts(named("P1", path="/slides/TCGA-3C-AALI-01Z-00-DX1.AB.svs"))
    assert [(one.name, one.patients) for one in by_slide + by_file] == [("TCGA", 2), ("TCGA", 1)]


def test_a_stated_project_says_more_than_the_ids_and_counts_them() -> None:
    found = public_cohorts(named("TCGA-3C-AALI", "P2"), ["TCGA-SARC", "ours"])
    assert [(one.name, one.patients, one.stated) for one in found] == [
        ("TCGA-SARC", 1, True),
        ("ours", 0, True),
    ]


@pytest.mark.parametrize(
    ("learned_from", "is_seen"),
    [
        (["TCGA"], True),
        (["tcga"], True),
        (["TCGA-SARC"], True),
        (["The Cancer Genome Atlas"], True),
        (["TCGA-BRCA"], False),
        (["CPTAC", "GTEx"], False),
        ([], False),
    ],
)
def test_another_project_of_a_cohort_is_other_patients(
    learned_from: list[str], is_seen: bool
) -> None:
    mine = [PublicCohort(name="TCGA-SARC", patients=9, stated=True)]
    assert bool(seen(learned_from, mine)) == is_seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", *planted_cohort(6)[:2]).folder


def section_of(folder: Path, *settings: str, **about: object):
    study = load_study(folder, settings)
    tcga = named("TCGA-3C-AALI", "TCGA-3C-AALJ", "P3")
    return pretraining_section(study, tcga, **about)  # type: ignore[arg-type]


def test_an_encoder_that_learned_from_the_study_is_an_alarm_that_counts_the_patients(
    folder: Path,
) -> None:
    [alarm] = pretraining_alarms(section_of(folder, "encoder=phikon"))
    assert alarm["name"] == "seen_before"
    assert "The encoder phikon learned from TCGA" in alarm["message"]
    assert "TCGA (2 patients by their ids)" in alarm["message"]


def test_imported_features_are_held_against_the_encoder_that_they_name(folder: Path) -> None:
    assert len(pretraining_alarms(section_of(folder, "encoder=ctranspath"))) == 1


def test_an_encoder_of_other_slides_is_no_alarm_and_no_note(folder: Path) -> None:
    section = section_of(folder, "encoder=uni")
    assert section["encoder"]["public_cohorts"] == ["GTEx"]
    assert (pretraining_alarms(section), pretraining_notes(section)) == ([], [])


@pytest.mark.parametrize("encoder", ["h_optimus_0", "conch_v15"])
def test_an_encoder_whose_authors_do_not_say_is_a_note_and_no_alarm(
    folder: Path, encoder: str
) -> None:
    section = section_of(folder, f"encoder={encoder}")
    assert pretraining_alarms(section) == []
    [note] = pretraining_notes(section)
    assert note == f"The encoder {encoder} may have learned from TCGA: its authors do not say."


def test_a_study_of_no_public_cohort_hears_nothing(folder: Path) -> None:
    for encoder in ("phikon", "h_optimus_0"):
        section = pretraining_section(load_study(folder, [f"encoder={encoder}"]), COHORT)
        assert (pretraining_alarms(section), pretraining_notes(section)) == ([], [])


WEIGHTS = {"file": "w.safetensors", "public_cohorts": None, "patient_ids_in_common": 0}


def test_what_initial_weights_learned_from_is_stated_or_stays_a_note(folder: Path) -> None:
    unknown = section_of(folder, initial=WEIGHTS)
    assert pretraining_alarms(unknown) == []
    assert "train.init_cohorts can say it" in pretraining_notes(unknown)[0]
    stated = section_of(folder, "train.init_cohorts=TCGA-SARC", initial=WEIGHTS)
    assert "w.safetensors) learned from TCGA-SARC" in pretraining_alarms(stated)[0]["message"]
    none = section_of(folder, "train.init_cohorts=[]", initial=WEIGHTS)
    assert (pretraining_alarms(none), pretraining_notes(none)) == ([], [])


def test_ids_in_common_with_whom_the_weights_learned_from_are_an_alarm(folder: Path) -> None:
    section = section_of(
        folder, initial={**WEIGHTS, "public_cohorts": [], "patient_ids_in_common": 3}
    )
    [alarm] = pretraining_alarms(section)
    assert "people whose ids 3 patients of this study have" in alarm["message"]


def test_a_run_says_itself_what_it_began_with_or_was_predicted_by(folder: Path) -> None:
    run = folder / "runs" / "main"
    run.mkdir(parents=True)
    begun = {"train": {INITIAL: {**WEIGHTS, "public_cohorts": ["TCGA"]}}}
    write_json(run / "provenance.json", {"steps": begun})
    assert "began with" in pretraining_alarms(section_of(folder))[0]["message"]
    predicted = {"predict": {"bundle": "ours", "training": {"public_cohorts": ["TCGA"]}}}
    write_json(run / "provenance.json", {"steps": predicted})
    [alarm] = pretraining_alarms(section_of(folder))
    assert alarm["message"].startswith(
        "The locked model ours learned from TCGA, perhaps with their"
    )


def test_imported_scores_have_no_encoder_to_judge(folder: Path) -> None:
    run = folder / "runs" / "main"
    run.mkdir(parents=True)
    write_json(run / "provenance.json", {"steps": {"import": {}}})
    assert set(section_of(folder, "encoder=phikon")) == {"study_is"}
