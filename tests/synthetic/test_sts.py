"""The sarcoma study's synthetic twin has what is planted in it, and the rehearsal finds it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from lifelines import CoxPHFitter

from pathoml.config import load_study
from pathoml.errors import CohortError, PathomlError
from pathoml.store.embeddings import read_embeddings
from pathoml.store.tables import read_table
from pathoml.study.cohort import read_cohort
from pathoml.synthetic import sts
from pathoml.synthetic.sts import write_sts
from pathoml.synthetic.sts_patients import (
    ARTEFACT,
    ARTEFACT_CENTRE,
    PHENOTYPES,
    PREDICTIVE,
    PREDICTIVE_EFFECT,
    PROGNOSTIC,
    PROGNOSTIC_EFFECT,
    PROSPECTIVE,
    RETROSPECTIVE,
    Era,
    StsPatient,
    draw_sts_patients,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def many() -> tuple[StsPatient, ...]:
    era: Era = dataclasses.replace(RETROSPECTIVE, patients=4000)
    return draw_sts_patients(era, seed=3)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    monkeypatch = pytest.MonkeyPatch()
    small = [
        dataclasses.replace(era, patients=n) for era, n in ((RETROSPECTIVE, 60), (PROSPECTIVE, 40))
    ]
    monkeypatch.setattr(sts, "RETROSPECTIVE", small[0])
    monkeypatch.setattr(sts, "PROSPECTIVE", small[1])
    monkeypatch.setattr(sts, "MOST_TILES", 60)
    folders = write_sts(tmp_path_factory.mktemp("twin") / "sts", seed=2)
    monkeypatch.undo()
    return folders


def standard_log_ratio(people: tuple[StsPatient, ...], name: str) -> np.ndarray:
    share = np.array([p.shares[PHENOTYPES.index(name)] for p in people])
    ratio = np.log((share + 0.01) / (1 - share + 0.01))
    return (ratio - ratio.mean()) / ratio.std()


def test_the_planted_effects_are_those_of_a_cox_model_of_another_library(
    many: tuple[StsPatient, ...],
) -> None:
    systemic = np.array([p.systemic for p in many])
    table = pd.DataFrame(
        {
            "prognostic": standard_log_ratio(many, PROGNOSTIC),
            "predictive": standard_log_ratio(many, PREDICTIVE),
            "systemic": systemic,
            "predictive_if_systemic": standard_log_ratio(many, PREDICTIVE) * systemic,
            "age": [p.age for p in many],
            "lesions": [p.n_lesions for p in many],
            "interval": [p.treatment_free_interval for p in many],
            "extrapulmonary": [p.extrapulmonary for p in many],
            "size": [p.size_mm for p in many],
            "centre": [p.centre for p in many],
            "months": [p.months for p in many],
            "progressed": [p.event == 1 for p in many],
        }
    )
    fit = CoxPHFitter().fit(table, "months", "progressed", strata=["centre"]).params_
    assert fit["prognostic"] == pytest.approx(PROGNOSTIC_EFFECT, abs=0.08)
    assert fit["predictive"] == pytest.approx(0, abs=0.1), (
        "without systemic therapy it does nothing"
    )
    assert fit["predictive_if_systemic"] == pytest.approx(PREDICTIVE_EFFECT, abs=0.12)


def test_systemic_therapy_is_given_for_reasons_and_death_competes(
    many: tuple[StsPatient, ...],
) -> None:
    treated, others = ([p for p in many if p.systemic == given] for given in (1, 0))
    assert np.mean([p.n_lesions for p in treated]) > np.mean([p.n_lesions for p in others]) + 0.3
    assert np.mean([p.treatment_free_interval for p in treated]) < np.mean(
        [p.treatment_free_interval for p in others]
    )
    assert {p.event for p in many} == {0, 1, 2}
    assert all(p.os_months >= p.months - 1e-9 for p in many)
    assert all(p.os_event == 1 for p in many if p.event == 2)


def test_the_precipitate_is_of_one_centre_whose_patients_do_worse(
    many: tuple[StsPatient, ...],
) -> None:
    share = np.array([p.shares[PHENOTYPES.index(ARTEFACT)] for p in many])
    there = np.array([p.centre == ARTEFACT_CENTRE for p in many])
    assert share[there].min() > 0
    assert share[~there].max() == 0
    progressed = np.array([p.event == 1 and p.months < 12 for p in many])
    assert progressed[there].mean() > progressed[~there].mean() + 0.05


def test_the_same_seed_gives_the_same_patients_and_another_cohort_others() -> None:
    first, again = (draw_sts_patients(PROSPECTIVE, seed=5) for _ in range(2))
    assert [p.months for p in first] == [p.months for p in again]
    assert {p.centre for p in first} > {6, 7}, "two centres are new"
    assert first[0].age != draw_sts_patients(RETROSPECTIVE, seed=5)[0].age


def test_every_planted_breach_of_timing_is_refused_by_its_row_and_nothing_else(
    twin: tuple[Path, Path],
) -> None:
    retrospective, prospective = twin
    planted = json.loads((retrospective / "truth" / "classes.json").read_text(encoding="utf-8"))[
        "violations"
    ]
    assert len(planted) == 6
    with pytest.raises(CohortError) as refused:
        read_cohort(load_study(retrospective))
    lines = str(refused.value).splitlines()
    assert len(lines) == 7
    assert all(any(f"patient {patient}:" in line for line in lines) for patient in planted)
    assert len(read_cohort(load_study(prospective)).patients) == 40


def test_a_script_mends_the_tables_as_the_sentences_say(twin: tuple[Path, Path]) -> None:
    retrospective = twin[0]
    command = [
        sys.executable,
        str(ROOT / "tests" / "support" / "rehearsal_truth.py"),
        "mend",
        str(retrospective),
    ]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert 54 <= len(read_cohort(load_study(retrospective)).patients) <= 56


def test_features_are_those_of_the_slides_own_phenotypes(twin: tuple[Path, Path]) -> None:
    folder = twin[1]
    path = sorted((folder / "embeddings").glob("*/*.h5"))[0]
    embedded = read_embeddings(path)
    with np.load(folder / "truth" / f"{path.stem}.npz", allow_pickle=False) as stored:
        phenotype = stored["classes"].ravel()[: len(embedded.features)]
    features = embedded.features.astype(np.float64)
    means = {
        k: features[phenotype == k].mean(axis=0)
        for k in np.unique(phenotype)
        if (phenotype == k).sum() >= 7
    }
    assert len(means) >= 2
    nearest = [min(means, key=lambda k, row=row: ((row - means[k]) ** 2).sum()) for row in features]
    kept = np.isin(phenotype, list(means))
    assert (np.array(nearest)[kept] == phenotype[kept]).mean() > 0.9


def test_scanner_and_scale_are_those_of_the_centre_and_ctdna_is_there_for_a_part(
    twin: tuple[Path, Path],
) -> None:
    slides = read_table(twin[1] / "slides.csv").rows
    assert len({(row["scanner"], row["mpp"]) for row in slides if row["scanner"] == "DP200"}) <= 1
    known = [bool(row["ctdna_vaf"]) for row in read_table(twin[1] / "patients.csv").rows]
    assert 0.3 < np.mean(known) < 0.9


def test_a_twin_is_never_overwritten(twin: tuple[Path, Path]) -> None:
    with pytest.raises(PathomlError, match="is there already"):
        write_sts(twin[0].parent, seed=2)


def test_the_twin_is_configured_as_the_study_is() -> None:
    shipped = yaml.safe_load((ROOT / "configs" / "sts.yaml").read_text(encoding="utf-8"))
    twin = {
        **sts.SETTINGS,
        "endpoint": {k: v for k, v in sts.SETTINGS["endpoint"].items() if k != "data_cut"},
    }
    for section in ("endpoint", "cohort", "dates"):
        assert twin[section] == shipped[section]
    assert twin["splits"] == shipped["splits"]


@pytest.mark.nightly
def test_the_rehearsal_finds_what_was_planted(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "rehearsal", str(tmp_path / "study"), "1", "39"], check=True)
    rows = json.loads(
        (tmp_path / "study" / "expected-against-found.json").read_text(encoding="utf-8")
    )
    assert [row for row in rows if not row["as_planned"]] == []
