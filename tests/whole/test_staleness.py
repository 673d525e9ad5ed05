"""What is done again when an input changes: the steps that read it, those that stand on them, and
no others.

A tiny study is run once; then every key of study.yaml and every input file is changed, one at a
time, and the steps that would be done again are held against a table of those that must be.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.tiny_study import pathoml, tiny_study

from pathoml.config import Study, load_study, schema_rows
from pathoml.evaluation.permutation import RepeatedValidation
from pathoml.pipeline import run, step_states
from pathoml.store.files import read_json, write_json
from pathoml.store.hdf5 import stored_attr
from pathoml.store.hypotheses import record_hypotheses
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder, scales
from pathoml.tiling.jobs import stale_jobs, tile_jobs

pytestmark = pytest.mark.ci  # every step of a study

STEPS = ("tile", "embed", "train", "evaluate", "explain", "discover", "report")
NOTHING: tuple[str, ...] = ()
TILE, EMBED, TRAIN = STEPS, STEPS[1:], STEPS[2:]
EVALUATE = ("evaluate", "report")
REPORT = ("report",)  # which repeats study.yaml
MAPS = ("explain", "discover", "report")
SETTINGS = {
    "cohort": {"covariates": ["age", "systemic"], "treatment": "systemic"},
    "dates": {"time_zero": "zero", "entry": "entered", "treatment": "began"},
    "evaluate": {"subgroups": ["sex == 'f'"], "horizons_months": [6.0, 12.0]},
}
# key of study.yaml -> another value for it, and the steps that it does again
KEYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "endpoint.name": ("'PFS'", EVALUATE),
    "endpoint.time_zero": ("'ablation'", EVALUATE),
    "endpoint.time": ("time_again", REPORT),  # the same times
    "endpoint.event": ("event_again", REPORT),
    "endpoint.unit": ("days", TRAIN),
    # the same codes, which only go together
    "endpoint.event_codes": ("[1]", REPORT),
    "endpoint.censored_codes": ("[0]", REPORT),
    "endpoint.competing_codes": ("[2]", REPORT),
    "endpoint.data_cut": ("2031-01-01", TRAIN),  # a column of scores.csv
    "secondary_endpoints": (
        "[{name: OS, time_zero: first local ablative therapy, time: pfs_months, event: pfs_event}]",
        TRAIN,
    ),
    "cohort.centre": ("hospital", REPORT),  # the same centres
    "cohort.covariates": ("[systemic]", TRAIN),
    "cohort.treatment": ("null", ("evaluate", "discover", "report")),
    "cohort.without_slides": ("refuse", REPORT),  # everybody has slides
    "cohort.missing": ("['not done']", REPORT),
    "cohort.source": ("TCGA", EVALUATE),  # which an alarm may name
    "cohort.categorical": ("[systemic]", TRAIN),
    "dates.format": ("day_first", REPORT),  # every date is of one reading
    "dates.time_zero": ("null", TRAIN),
    "dates.entry": ("null", TRAIN),
    "dates.exit": ("last_seen", REPORT),  # a check of the rows, which holds
    "dates.treatment": ("null", EVALUATE),
    "dates.metastasis": ("zero", REPORT),
    "dates.landmark_months": ("0.5", TRAIN),
    "slides.mpp": ("0.6", TILE),
    "tiles.tile_px": ("112", TILE),
    "tiles.mpp": ("0.6", TILE),
    "tiles.context_mpp": ("2.0", TILE),
    "tiles.min_tissue": ("0.3", TILE),
    "tiles.icc": ("true", TILE),
    "tiles.glass": ("240", TILE),
    "tiles.density": ("0.1", TILE),
    "tiles.upsample": ("true", TILE),
    "tiles.exclude": ("[pen]", EMBED),
    "tiles.regions": ("drawn", TILE),
    "stain.normalise": ("reinhard", EMBED),
    "stain.augment": ("0.05", EMBED),
    "encoder": ("resnet18", EMBED),
    "splits.scheme": ("leave_one_centre_out", TRAIN),
    "splits.folds": ("3", TRAIN),
    "splits.repeats": ("2", TRAIN),
    "splits.seed": ("2", TRAIN),
    "splits.stratify_by": ("centre_and_event", TRAIN),
    "splits.file": ("my_splits.json", TRAIN),
    "train.head": ("mean_pool", TRAIN),
    "train.seeds": ("2", TRAIN),
    "train.epochs": ("3", TRAIN),
    "train.tiles_per_patient": ("8", TRAIN),
    "train.projection": ("null", TRAIN),
    "train.hidden": ("4", TRAIN),
    "train.dropout": ("0.1", TRAIN),
    "train.learning_rate": ("0.01", TRAIN),
    "train.weight_decay": ("0.1", TRAIN),
    "train.loss": ("discrete_time", TRAIN),
    "train.offset": ("clinical", TRAIN),
    "train.strata": ("centre", TRAIN),
    "train.precision": ("bf16", TRAIN),
    "train.harmonise": ("centre", TRAIN),
    "train.vectors": ("efficientnet_lite0", TRAIN),
    "train.nested": ("true", TRAIN),
    "train.init": ("given.safetensors", TRAIN),
    "train.init_cohorts": ("[TCGA]", REPORT),  # of weights that there are none of
    "significance.permutations": ("2", EVALUATE),
    "significance.repeats": ("2", EVALUATE),
    "significance.seeds": ("2", EVALUATE),
    "significance.bootstraps": ("201", EVALUATE),
    "significance.resamples": ("20", EVALUATE),
    "evaluate.horizons_months": ("[6]", EVALUATE),
    "evaluate.subgroups": ("[]", EVALUATE),
    "report.smallest_cell": ("5", REPORT),
    "figures.scale": ("raw", NOTHING),
    "compute.device": ("auto", NOTHING),
    "compute.workers": ("2", NOTHING),
    "compute.engine": ("ray", NOTHING),
    "compute.encoders": ("2", NOTHING),
    "compute.threads": ("1", NOTHING),
    "compute.gpu_share": ("0.5", NOTHING),
    "compute.deterministic": ("auto", NOTHING),
    "compute.batch_size": ("4", NOTHING),
    "compute.precision": ("bf16", EMBED),
    "compute.compile": ("false", NOTHING),
    "compute.mlflow": ("true", NOTHING),
    "compute.log": ("false", NOTHING),
    "compute.check_space": ("false", NOTHING),
    "run": ("another", TRAIN),
}

BASE, DAY = dt.date(2020, 1, 1), dt.timedelta(days=1)
Edit = Callable[[Path], None]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]], **dialect: str) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), **{"lineterminator": "\n", **dialect})
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def cell(table: str, column: str, value: str, row: int = 0) -> Edit:
    """Return an edit of one cell."""

    def edit(folder: Path) -> None:
        rows = rows_of(folder / table)
        assert rows[row].get(column) != value
        rows[row][column] = value
        write_rows(folder / table, rows)

    return edit


def column(table: str, name: str, value: str) -> Edit:
    def edit(folder: Path) -> None:
        write_rows(folder / table, [row | {name: value} for row in rows_of(folder / table)])

    return edit


def in_another_order(folder: Path) -> None:
    rows = rows_of(folder / "patients.csv")
    write_rows(folder / "patients.csv", [rows[1], rows[0], *rows[2:]])


def columns_in_another_order(folder: Path) -> None:
    for table in ("patients.csv", "slides.csv"):
        rows = [dict(reversed(row.items())) for row in rows_of(folder / table)]
        write_rows(folder / table, rows)


def without_the_last_patient(folder: Path) -> None:
    patients, slides = rows_of(folder / "patients.csv"), rows_of(folder / "slides.csv")
    gone = patients.pop()["patient_id"]
    write_rows(folder / "patients.csv", patients)
    write_rows(folder / "slides.csv", [row for row in slides if row["patient_id"] != gone])


def as_excel_saves_it(folder: Path) -> None:
    path = folder / "patients.csv"
    write_rows(path, rows_of(path), quoting=csv.QUOTE_ALL, lineterminator="\r\n")  # type: ignore[arg-type]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def with_semicolons(folder: Path) -> None:
    write_rows(folder / "patients.csv", rows_of(folder / "patients.csv"), delimiter=";")


def numbers_otherwise(folder: Path) -> None:
    rows = rows_of(folder / "patients.csv")
    write_rows(folder / "patients.csv", [r | {"age": f"{float(r['age']):.3f}"} for r in rows])


def touched(folder: Path) -> None:
    for path in (folder / "patients.csv", folder / "slides.csv", folder / "study.yaml"):
        os.utime(path)


def comment(folder: Path) -> None:
    text = (folder / "study.yaml").read_text(encoding="utf-8")
    (folder / "study.yaml").write_text(f"# what was asked\n{text}", encoding="utf-8")


def keys_in_another_order(folder: Path) -> None:
    content = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(dict(reversed(content.items())), sort_keys=False)
    (folder / "study.yaml").write_text(text, encoding="utf-8")


def default_spelled_out(folder: Path) -> None:
    content = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    content["train"]["weight_decay"] = 0.01
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def plan(folder: Path) -> None:
    text = "subgroups: [\"sex == 'f'\"]\n"
    (folder / "analysis_plan.yaml").write_text(text, encoding="utf-8")
    stamp = hashlib.sha256(text.encode()).hexdigest()
    (folder / "analysis_plan.sha256").write_text(f"{stamp}  analysis_plan.yaml\n")


def moved_slide(folder: Path) -> None:
    rows = rows_of(folder / "slides.csv")
    old = folder / rows[0]["path"]
    shutil.copy2(old, old.with_name("moved.svs"))
    cell("slides.csv", "path", "slides/moved.svs")(folder)


def slide_of_another(folder: Path) -> None:
    rows = rows_of(folder / "slides.csv")
    more = next(i for i, row in enumerate(rows) if row["slide_id"].endswith("_2"))
    other = next(row["patient_id"] for row in rows if row["patient_id"] != rows[more]["patient_id"])
    cell("slides.csv", "patient_id", other, more)(folder)


def file_of_the_run(name: str) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "runs" / "main" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        path.write_text(before + "\n", encoding="utf-8")

    return edit


def ledger(family: str, run: str) -> Edit:
    def edit(folder: Path) -> None:
        record_hypotheses(folder / "runs", family, ["one more"], run=run)

    return edit


# what is changed -> how, and the steps that it does again
INPUTS: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "an event": (cell("patients.csv", "pfs_event", "2"), TRAIN),
    "a time": (cell("patients.csv", "pfs_months", "11.5"), TRAIN),
    "an entry date": (cell("patients.csv", "entered", "2019-12-01"), TRAIN),
    "a centre": (cell("patients.csv", "centre", "east"), TRAIN),
    "a covariate": (cell("patients.csv", "age", "50.1"), TRAIN),
    "a missing covariate": (cell("patients.csv", "age", ""), TRAIN),
    "a treatment": (cell("patients.csv", "systemic", "1"), TRAIN),  # also a covariate
    "the day a treatment began": (cell("patients.csv", "began", "2020-02-02"), EVALUATE),
    "a subgroup": (cell("patients.csv", "sex", "m"), EVALUATE),
    "a subtype": (cell("patients.csv", "subtype", "UPS"), EVALUATE),
    "a column that nothing reads": (cell("patients.csv", "note", "called on Monday"), NOTHING),
    "a new column": (column("patients.csv", "weight", "70"), NOTHING),
    "a new column of subtypes": (column("patients.csv", "histology", "LMS"), EVALUATE),
    "follow-up that is missing": (cell("patients.csv", "pfs_months", ""), TRAIN),
    "a patient fewer": (without_the_last_patient, TRAIN),
    "the order of patients": (in_another_order, NOTHING),
    "the order of columns": (columns_in_another_order, NOTHING),
    "quotes, a mark and other line ends": (as_excel_saves_it, NOTHING),
    "digits of the same number": (numbers_otherwise, NOTHING),
    "semicolons": (with_semicolons, NOTHING),
    "times of files": (touched, NOTHING),
    "a comment in study.yaml": (comment, NOTHING),
    "the order of keys": (keys_in_another_order, NOTHING),
    "a default that is written out": (default_spelled_out, NOTHING),
    "a plan": (plan, EVALUATE),
    "whose slide it is": (slide_of_another, TRAIN),
    "a specimen": (cell("slides.csv", "specimen", "primary"), ("evaluate", "discover", "report")),
    "an organ": (cell("slides.csv", "organ", "lung"), EVALUATE),
    "a stain": (cell("slides.csv", "stain", "HES"), TILE),
    "a scanner": (cell("slides.csv", "scanner", "B"), EVALUATE),
    "a column of slides.csv that nothing reads": (column("slides.csv", "block", "B"), NOTHING),
    "micrometres per pixel of a slide": (column("slides.csv", "mpp", "0.5"), TILE),
    "where the same slide lies": (moved_slide, NOTHING),
    "scores.csv": (file_of_the_run("scores.csv"), TRAIN),
    "baselines.csv": (file_of_the_run("baselines.csv"), TRAIN),
    "metrics.json": (file_of_the_run("metrics.json"), EVALUATE),
    "faithfulness.json": (file_of_the_run("faithfulness.json"), MAPS),
    "phenotypes.csv": (file_of_the_run("features/phenotypes.csv"), ("discover", "report")),
    "report.html": (file_of_the_run("report.html"), REPORT),
    "a rating": (file_of_the_run("features/naming_sheet/ratings_rater1.csv"), NOTHING),
    "a subgroup of another run": (ledger("interactions", "other"), EVALUATE),
    "a subgroup of this run": (ledger("interactions", "main"), NOTHING),
    "a phenotype of another run": (ledger("phenotypes", "other"), ("discover", "report")),
    "what raters said": (file_of_the_run("features/labels.json"), REPORT),
    "a file that nothing reads": (file_of_the_run("notes.txt"), NOTHING),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of which every step was done."""
    folder = tiny_study(tmp_path_factory.mktemp("staleness") / "study")
    rows = []
    for k, row in enumerate(rows_of(folder / "patients.csv")):
        months = f"{float(row['pfs_months']):.2f}"  # three digits could be thousands
        days = float(months) * 365.25 / 12
        known = {
            "zero": "2020-01-01",
            "entered": "2020-01-02",
            "last_seen": f"{(BASE + DAY * round(days)).isoformat()}",
            "began": "2020-02-01" if k % 2 else "",
            "sex": "fm"[k % 3 == 2],
            "subtype": ("LMS", "DDLPS")[k % 2],
            "note": "",
            "hospital": row["centre"],
            "pfs_months": months,
            "time_again": months,
            "event_again": row["pfs_event"],
        }
        rows.append(row | known | {"systemic": str(int(k % 3 == 1))})
    write_rows(folder / "patients.csv", rows)
    slides = rows_of(folder / "slides.csv")
    first = next(row for row in slides if row["specimen"] != "primary")
    write_rows(folder / "slides.csv", [first, *(row for row in slides if row is not first)])
    content = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    content["cohort"] |= SETTINGS["cohort"]
    text = yaml.safe_dump(content | {k: v for k, v in SETTINGS.items() if k != "cohort"})
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    (folder / "drawn").mkdir()
    shape = {"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 90], [0, 0]]]}
    region = {"type": "Feature", "geometry": shape, "properties": {}}
    write_json(
        folder / "drawn" / f"{slides[0]['slide_id']}.geojson",
        {"type": "FeatureCollection", "features": [region]},
    )
    run(folder)
    shutil.copy(folder / "runs" / "main" / "splits.json", folder / "my_splits.json")
    return folder


@pytest.fixture
def folder(done: Path) -> Iterator[Path]:
    """The study, whose inputs are put back afterwards."""
    before = done.with_name("before")
    before.mkdir()
    for path in done.iterdir():
        if path.is_file():
            shutil.copy2(path, before)
    shutil.copytree(done / "runs", before / "runs")
    yield done
    for path in done.iterdir():
        if path.is_file():
            path.unlink()
    shutil.rmtree(done / "runs")
    shutil.copytree(before, done, dirs_exist_ok=True)
    shutil.rmtree(before)


def again(study: Study) -> tuple[str, ...]:
    """Return the steps that would be done."""
    cohort = read_cohort(study)
    states = step_states(study, cohort)
    tile = any(stale_jobs(tile_jobs(scale, cohort)) for scale in scales(study))
    missing = any(
        not stored_attr(embeddings_folder(study) / f"{slide.slide_id}.h5", "content_sha256")
        for slide in cohort.slides
    )
    by_hand = {"tile": tile, "embed": tile or missing or states["embed"].state != "done"}
    return tuple(step for step in STEPS if by_hand.get(step) or states[step].state != "done")


def test_nothing_is_to_be_done_again_where_nothing_changed(done: Path) -> None:
    assert again(load_study(done)) == NOTHING


def test_every_key_of_study_yaml_is_in_the_table() -> None:
    keys = [key for key, *_ in schema_rows()]
    second = [key for key in keys if key.startswith("secondary_endpoints")]
    assert set(keys) - set(second) | {"secondary_endpoints"} == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_does_again_what_reads_it_and_no_other_step(done: Path, key: str) -> None:
    value, expected = KEYS[key]
    together = [
        f"{k}={KEYS[k][0]}" for k in KEYS if k.endswith("_codes") and key.endswith("_codes")
    ]
    if key == "dates.time_zero":  # from which the two others count
        together = ["dates.entry=null", "dates.treatment=null"]
    assert again(load_study(done, [*together, f"{key}={value}"])) == expected


@pytest.mark.parametrize("what", INPUTS)
def test_an_input_does_again_what_reads_it_and_no_other_step(folder: Path, what: str) -> None:
    edit, expected = INPUTS[what]
    edit(folder)
    assert again(load_study(folder)) == expected


def test_a_corrected_event_is_in_the_report_after_a_run(folder: Path) -> None:
    events = read_json(folder / "runs" / "main" / "metrics.json")["events"]
    rows = rows_of(folder / "patients.csv")
    censored = next(k for k, row in enumerate(rows) if row["pfs_event"] == "0")
    cell("patients.csv", "pfs_event", "1", censored)(folder)
    found = run(folder).found
    assert [step for step in ("train", "explain", "discover") if not found[step].fresh] == [
        "train",
        "explain",
        "discover",
    ]
    assert found["tile"].fresh
    assert found["embed"].fresh
    assert found["evaluate"].metrics["events"] == events + 1
    assert f"({events + 1} with an event" in found["report"].read_text(encoding="utf-8")
    assert again(load_study(folder)) == NOTHING


def test_a_corrected_covariate_costs_no_maps_where_the_models_stay_as_they_were(
    folder: Path,
) -> None:
    INPUTS["a covariate"][0](folder)
    found = run(folder).found
    assert not found["train"].fresh
    assert found["explain"].fresh
    assert not found["discover"].fresh


def test_a_corrected_subgroup_costs_no_training_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("a permutation was trained again")

    before = read_json(folder / "runs" / "main" / "metrics.json")["subgroups"][0]["n"]
    null = read_json(folder / "runs" / "main" / "permutation.json")["null"]
    monkeypatch.setattr(RepeatedValidation, "null", trained)
    INPUTS["a subgroup"][0](folder)
    found = run(folder).found
    assert found["train"].fresh
    assert found["explain"].fresh
    assert found["discover"].fresh
    assert found["evaluate"].metrics["subgroups"][0]["n"] == before - 1
    assert found["evaluate"].permutation["null"] == null


def test_scores_are_not_judged_by_other_outcomes_than_they_were_trained_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    INPUTS["a time"][0](folder)
    for step in ("evaluate", "explain", "discover"):
        assert pathoml(step, str(folder)) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "patients.csv: time_months" in said
        assert "Run `pathoml train`" in said


def test_a_page_with_the_numbers_of_a_former_table_is_not_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder / "runs" / "main" / "report.html"
    before = page.read_bytes()
    INPUTS["a subgroup"][0](folder)
    assert pathoml("report", str(folder)) == 2
    assert "is of other tables than there are now (patients.csv: sex)" in " ".join(
        capsys.readouterr().err.split()
    )
    assert page.read_bytes() == before


def test_a_page_says_that_its_numbers_are_of_other_settings(folder: Path) -> None:
    assert pathoml("report", str(folder), "--set", "significance.bootstraps=207") == 0
    text = (folder / "runs" / "main" / "report.html").read_text(encoding="utf-8")
    assert "significance.bootstraps = 207, was 200" in text


def test_status_says_which_input_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    INPUTS["an entry date"][0](folder)
    assert pathoml("status", str(folder), "--set", "train.epochs=3") == 0
    said = capsys.readouterr().out
    assert "train is to do again: patients.csv: entry_months; train.epochs = 3, was 2" in said
    assert "report is to do again: evaluate is to do again" in said


def test_a_step_says_why_it_is_done_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    INPUTS["a subgroup"][0](folder)
    assert pathoml("evaluate", str(folder)) == 0
    assert "again, for other than before: patients.csv: sex" in capsys.readouterr().out
