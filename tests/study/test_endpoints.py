"""Secondary endpoints: who has them, on whose folds, and what of study.yaml is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from support.two_endpoints import BESIDE, ENDPOINT, OS, two_endpoint_study

from pathoml.cli import guarded, main
from pathoml.errors import CohortError, ConfigError
from pathoml.study.cohort import read_cohort
from pathoml.study.endpoints import secondary_endpoints, untrainable
from pathoml.study.splits import make_splits


def endpoints(study):
    return secondary_endpoints(study, read_cohort(study))


def test_an_endpoint_has_the_patients_whose_outcome_is_known_and_says_who_is_left_out(tmp_path):
    study = two_endpoint_study(tmp_path, without_os={"P3", "P8"}, without_pfs={"P5"})
    [one] = endpoints(study)
    assert one.name == OS
    assert not {"P3", "P8", "P5"} & set(one.cohort.patient_ids)
    assert one.flow["excluded"] == {
        "no follow-up": 2,
        "without the primary endpoint, whose folds are used": 1,
    }
    assert (one.flow["patients"], one.flow["analysed"]) == (30, 27)
    assert len(one.known) == 29  # of the primary endpoint
    assert one.known.sum() == 27
    assert one.study.run_folder == tmp_path / "runs" / "main" / "endpoints" / OS


def test_nobody_changes_sides_of_a_fold_for_another_endpoint(tmp_path):
    study = two_endpoint_study(tmp_path, without_os={"P3", "P8"})
    [one] = endpoints(study)
    splits = make_splits(read_cohort(study), study.config.splits)
    for whole, part in zip(splits, one.splits(splits)):
        for fold, own in zip(whole.folds, part.folds):
            assert set(own.train) == set(fold.train) - {"P3", "P8"}
            assert set(own.test) == set(fold.test) - {"P3", "P8"}


def test_a_fold_without_an_event_of_the_endpoint_among_its_training_patients_is_named(tmp_path):
    study = two_endpoint_study(tmp_path, deaths=["P0"])
    [one] = endpoints(study)
    splits = make_splits(read_cohort(study), study.config.splits)
    tested = next(f.name for f in splits[0].folds if "P0" in f.test)
    assert untrainable(one, splits).startswith(
        f"repeat-1, fold {tested} has no event of overall survival"
    )


def test_competing_events_are_counted_endpoint_by_endpoint(tmp_path):
    study = two_endpoint_study(tmp_path, deaths=["P0", "P1"])
    path = tmp_path / "patients.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[3] = rows[3][:-1] + "2"
    path.write_text("\n".join(rows), encoding="utf-8")
    [one] = endpoints(study)
    assert (one.flow["events"], one.flow["competing_events"], one.flow["censored"]) == (2, 1, 27)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        (BESIDE.replace("overall survival", "Progression"), "stands twice among the endpoints"),
        (f"{BESIDE}- {ENDPOINT}\n", "stands twice among the endpoints"),
        (
            BESIDE.replace("ablation", "diagnosis") + "dates: {landmark_months: 2}\n",
            "counts from 'diagnosis', but dates.landmark_months counts from the primary",
        ),
    ],
)
def test_what_cannot_stand_beside_the_primary_endpoint_is_refused(tmp_path, yaml, said):
    study = two_endpoint_study(tmp_path, yaml=yaml)
    with pytest.raises(ConfigError, match=said):
        endpoints(study)


def test_a_landmark_holds_for_every_endpoint_that_counts_from_the_same_day(tmp_path):
    study = two_endpoint_study(tmp_path, yaml=BESIDE + "dates: {landmark_months: 2}\n")
    plain = two_endpoint_study(tmp_path / "plain")
    [later], [whole] = endpoints(study), endpoints(plain)
    before = dict(zip(whole.cohort.patient_ids, whole.cohort.time_months))
    for patient, months in zip(later.cohort.patient_ids, later.cohort.time_months):
        assert months == pytest.approx(before[patient] - 2)


def test_a_bad_cell_of_an_endpoint_names_endpoint_row_and_column(tmp_path):
    study = two_endpoint_study(tmp_path)
    path = tmp_path / "patients.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    cells = rows[4].split(",")
    rows[4] = ",".join([*cells[:-2], "-3", "1"])
    path.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(CohortError) as refused:
        endpoints(study)
    assert "overall survival" in str(refused.value)
    assert "line 5, patient P3: os_months = -3" in str(refused.value)


def test_a_column_that_is_not_there_is_named(tmp_path: Path):
    study = two_endpoint_study(tmp_path, yaml=BESIDE.replace("os_months", "os_days"))
    with pytest.raises(CohortError, match="os_days"):
        endpoints(study)


def test_check_prints_the_flow_and_the_events_of_each_endpoint(tmp_path, capsys):
    two_endpoint_study(tmp_path, without_os={"P3", "P8"}, deaths=["P0"])
    assert guarded(lambda: main(["check", str(tmp_path)])) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["overall", "survival", "28", "1", "0", "27"] in lines
    assert "overall survival: left out, no follow-up: 2" in said
    assert "folds of the primary one (progression), whose events stratify them" in said
    assert "overall survival: NOT TRAINED, since repeat-1, fold" in said
    assert "NOT ANALYSED" not in said


def test_a_late_entry_holds_for_every_endpoint_and_the_day_of_exit_for_the_primary_one(tmp_path):
    dates = "dates: {time_zero: zero, entry: entered, exit: progressed}\n"
    study = two_endpoint_study(tmp_path, yaml=BESIDE + dates)
    path = tmp_path / "patients.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    last = {  # of progression; overall survival ends another day
        row.split(",")[0]: dt.date(2020, 1, 1)
        + dt.timedelta(days=30.4375 * float(row.split(",")[2]))
        for row in rows
    }
    late = next(row.split(",")[0] for row in rows if min(map(float, row.split(",")[2:6:3])) > 3)
    added = [
        f"{row},2020-01-01,{'2020-02-01' if row.split(',')[0] == late else ''},"
        f"{max(last[row.split(',')[0]], dt.date(2020, 1, 2))}"
        for row in rows
    ]
    path.write_text("\n".join([f"{header},zero,entered,progressed", *added]), encoding="utf-8")
    [one] = endpoints(study)
    entry = {p.patient_id: p.entry_months for p in one.cohort.patients}
    assert entry.pop(late) == pytest.approx(31 / 30.4375)
    assert set(entry.values()) == {0.0}
    assert len(entry) == 29
