"""What raters said in the viewer's reading room, read back by `pathoml discover --labels`:
agreement, and the Cox model of their score.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from sklearn.metrics import cohen_kappa_score
from support.score_study import write_csv, write_score_study

from pathoml.cli import main
from pathoml.store.readings import Reading, Readings
from pathoml.study.cohort import read_cohort
from pathoml.viewer.reading_room import reading_items, seats

COVARIATES = ["n_lesions"]


def discover(study, path):
    with pytest.raises(SystemExit) as ended:
        main(["discover", str(study.folder), "--labels", str(path)])
    return ended.value.code


@pytest.fixture
def read(tmp_path):
    """A study whose slides two raters have read blind for two phenotypes, a tenth of them twice,
    and what they said.
    """
    study = write_score_study(
        tmp_path / "study", n=60, centres=3, competing=False, cohort={"covariates": COVARIATES}
    )
    cohort = read_cohort(study)
    slides = [s.slide_id for s in cohort.slides]
    sheet = study.run_folder / "features" / "naming_sheet"
    sheet.mkdir(parents=True)
    write_csv(
        sheet / "key.csv",
        "item slide_id phenotype",
        [[f"I{p}{i:02d}", s, p] for p in (0, 1) for i, s in enumerate(slides)],
    )
    readings = Readings(study.folder / "readings" / "readings.sqlite")
    rng, truth, said = np.random.default_rng(4), {}, {}
    for slide in slides:
        for phenotype in ("0", "1"):
            truth[slide, phenotype] = int(rng.integers(1, 6))
    for rater in ("AB", "CD"):
        for seat in seats(reading_items(study.run_folder, slides), rater, readings.blinding_key):
            one = seat.item
            presence = int(np.clip(truth[one.slide_id, one.phenotype] + rng.integers(-1, 2), 1, 5))
            said[rater, one.phenotype, one.slide_id, seat.repeat] = presence
            name = f"name {one.phenotype}, “quoted”"
            reading = Reading(
                rater=rater, item=one.item, slide_id=one.slide_id, name=name, presence=presence,
                phenotype=one.phenotype, repeat=seat.repeat, note="a note,\nof two lines",
                blinded=True,
            )  # fmt: skip
            readings.save(reading, "m")
    (tmp_path / "readings.csv").write_text(readings.as_csv(blinded=True), encoding="utf-8")
    return study, tmp_path / "readings.csv", cohort, said


def test_agreement_and_the_model_of_the_human_score_are_those_of_other_libraries(read, capsys):
    study, path, cohort, said = read
    assert discover(study, path) == 0
    assert "2 raters" in capsys.readouterr().out
    found = json.loads((study.run_folder / "features" / "labels.json").read_text())["phenotypes"]
    assert set(found) == {"0", "1"}
    slides = [s.slide_id for s in cohort.slides]
    for phenotype, content in found.items():
        assert content["names"] == [f"name {phenotype}, “quoted”"]
        first = {rater: [said[rater, phenotype, s, 0] for s in slides] for rater in ("AB", "CD")}
        pair = content["pairs"]["AB / CD"]
        for name, weights in (("cohen", None), ("weighted", "quadratic")):
            theirs = cohen_kappa_score(
                first["AB"], first["CD"], labels=[1, 2, 3, 4, 5], weights=weights
            )
            assert pair[name]["estimate"] == pytest.approx(theirs)
            assert pair[name]["n"] == 60
        for rater in ("AB", "CD"):
            twice = [s for s in slides if (rater, phenotype, s, 1) in said]
            assert content["itself"][rater]["n"] == len(twice)
        patient_of = {s.slide_id: s.patient_id for s in cohort.slides}
        mean = {
            patient_of[s]: np.mean(
                [v for (_, p, slide, _), v in said.items() if (p, slide) == (phenotype, s)]
            )
            for s in slides
        }  # every reading counts, repeats too
        value = np.array([mean[p] for p in cohort.patient_ids])
        table = pd.DataFrame(
            {
                "time": cohort.time_months,
                "event": cohort.event,
                "centre": cohort.centre,
                "score": (value - value.mean()) / value.std(ddof=1),
                **{name: [p.covariates[name] for p in cohort.patients] for name in COVARIATES},
            }
        )
        theirs = CoxPHFitter().fit(table, "time", "event", strata=["centre"])
        assert content["hazard_ratio_sd"]["estimate"] == pytest.approx(
            np.exp(theirs.params_["score"]), rel=1e-4
        )
        assert 0 < content["p_value"] <= content["q_value"] <= 1


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (",I000,", ",I999,", "'I999' is neither in key.csv nor a slide"),
        ("presence", "prevalence", "presence"),
    ],
)
def test_a_csv_that_is_not_of_this_study_is_refused_with_its_line(
    read, capsys, before, after, expected
):
    study, path, _, _ = read
    text = path.read_text(encoding="utf-8").replace(before, after, 1)
    path.write_text(text, encoding="utf-8")
    assert discover(study, path) == 2
    assert expected in capsys.readouterr().err
    assert not (study.run_folder / "features" / "labels.json").exists()


def test_a_score_that_is_not_1_to_5_is_refused_with_its_value(read, capsys):
    study, path, _, _ = read
    table = pd.read_csv(path, dtype=str)
    table.loc[3, "presence"] = "7"
    table.to_csv(path, index=False)
    assert discover(study, path) == 2
    assert "line 5: presence '7' is not 1, 2, 3, 4 or 5" in capsys.readouterr().err
