"""The report: one page that carries everything, invents nothing and runs nothing."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image
from support.page import Page

from pathoml.config import Study, parse_config
from pathoml.errors import StoreError
from pathoml.report.page import report_page, write_report
from pathoml.store.files import write_json
from pathoml.store.maps import write_attention
from pathoml.store.tables import write_table
from pathoml.survival.kaplan_meier import kaplan_meier, log_rank
from pathoml.types import AttentionMap, Recipe

EVIL = "<script>alert(1)</script>"
COLUMNS = [
    "patient_id",
    "centre",
    "log_risk",
    "score_sd",
    "score_type",
    "fold",
    "n_repeats",
    "repeat_sd",
    "n_slides",
    "n_tiles",
    "model_sha256",
    "splits_sha256",
    "data_cut",
    "score_group",
]


def estimate(value, half=0.06, n=60, events=31):
    return {"estimate": value, "low": value - half, "high": value + half, "n": n, "events": events}


def curve_json(time, event):
    curve = kaplan_meier(time, event)
    columns = {
        name: getattr(curve, name).tolist()
        for name in ("times", "survival", "low", "high", "at_risk", "events")
    }
    return {name: [None if v != v else v for v in values] for name, values in columns.items()}


def build_study(folder, *, centres=("Aachen", "Bonn", "Köln", "Dresden"), n=60):
    """Write a small finished run and return its study."""
    rng = np.random.default_rng(7)
    config = parse_config(
        {
            "endpoint": {
                "name": "progression-free survival",
                "time_zero": "first local ablative therapy",
                "time": "t",
                "event": "e",
            },
            "cohort": {"covariates": ["age", "n_lesions"]},
        }
    )
    study = Study(folder=folder, config=config)
    run = study.run_folder
    (run / "attention").mkdir(parents=True)
    risk = rng.normal(0, 0.4, n).round(6)
    time = rng.exponential(22 * np.exp(-0.6 * risk / 0.4)) + 0.5
    event = rng.random(n) < 0.6
    ids, centre = [f"P{i:03d}" for i in range(n)], [centres[i % len(centres)] for i in range(n)]
    high = risk > np.median(risk)
    rows = [
        [
            ids[i],
            centre[i],
            risk[i],
            risk[i] / 0.4,
            "oof",
            "3;1;5",
            3,
            0.05,
            1,
            900,
            "ab" * 32,
            "cd" * 32,
            "",
            "high" if high[i] else "low",
        ]
        for i in range(n)
    ]
    write_table(run / "scores.csv", COLUMNS, rows)
    c_by_centre = {
        c: estimate(0.55 + 0.04 * i, 0.13, n // 4, 8) for i, c in enumerate(centres[:-1])
    }
    c_by_centre[centres[-1]] = {
        "estimate": None,
        "low": None,
        "high": None,
        "n": 4,
        "events": 1,
        "note": "not estimable: 1 event",
    }
    null = (0.5 + 0.035 * rng.standard_normal(199)).tolist()
    metrics = {
        "endpoint": config.endpoint.name,
        "time_zero": config.endpoint.time_zero,
        "score_type": "oof",
        "n": n,
        "events": int(event.sum()),
        "tau_months": 48.0,
        "median_follow_up_months": 31.2,
        "harrell_c": {**estimate(0.634), "low": 0.561, "high": 0.707},
        "harrell_c_centre_stratified": estimate(0.612),
        "harrell_c_fold_mean": 0.62,
        "harrell_c_by_centre": c_by_centre,
        "uno_c": estimate(0.627),
        "ridge_cox": {"harrell_c": estimate(0.584), "harrell_c_centre_stratified": estimate(0.571)},
        "clinical": {"harrell_c": estimate(0.601), "covariates": ["age", "n_lesions"]},
        "hazard_ratio_per_sd": {
            **estimate(1.41, 0.3),
            "wald_p": 0.004,
            "likelihood_ratio_p": 0.003,
        },
        "added_value": {
            "likelihood_ratio_chi2": 6.1,
            "df": 1,
            "p_value_anticonservative": 0.013,
            "delta_harrell_c": estimate(0.031, 0.024),
            "hazard_ratio_per_sd": estimate(1.32, 0.25),
            "note": "Clinical covariates and score on the same patients.",
        },
        "interval_note": "Patients were drawn again; the fitted models were kept.",
        "alarms": [
            {
                "name": "centre_in_score",
                "message": "The score recognises the centre: 61 % right against 27 % by guessing.",
            }
        ],
        "kaplan_meier": {
            "log_rank_p": log_rank(time, event, high).p,
            "groups": {
                "high": curve_json(time[high], event[high]),
                "low": curve_json(time[~high], event[~high]),
            },
            "note": "Cut-off: median of each model's training patients.",
        },
        "flow": {
            "patients": n + 4,
            "analysed": n,
            "slides": n + 9,
            "tiles": 61_234,
            "excluded": [
                {"patient_id": f"X{i}", "reason": "no slide" if i else "no follow-up"}
                for i in range(4)
            ],
            "by_centre": {
                c: {"patients": n // 4, "events": 8, "slides": n // 4 + 2} for c in centres
            },
        },
    }
    write_json(run / "metrics.json", metrics)
    added = {"p_value": 0.03, "observed": 6.1, "null": (rng.standard_normal(199) ** 2).tolist()}
    permutation = {
        "p_value": 0.005,
        "permutations": 199,
        "repeats": 1,
        "statistic": "centre-stratified Harrell's C",
        "observed": 0.612,
        "null": null,
        "wald_p": 0.004,
        "added_value": added,
        "note": "Bags were shuffled within centres.",
    }
    write_json(run / "permutation.json", permutation)
    folds = [
        {
            "name": str(f + 1),
            "train": [p for i, p in enumerate(ids) if i % 5 != f],
            "test": ids[f::5],
        }
        for f in range(5)
    ]
    splits = [{"name": f"repeat-{r}", "seed": 1000 + r, "folds": folds} for r in (1, 2, 3)]
    write_json(run / "splits.json", {"scheme": "stratified", "splits": splits})
    step = {
        "recipe_sha256": "ef" * 32,
        "inputs": {"patients": [[ids[0], centre[0], 12.345678, 1]]},
        "environment": {"python": "3.11.9", "packages": {"numpy": "1.26.4", "torch": "2.6.0"}},
    }
    write_json(run / "provenance.json", {"pathoml_version": "0.1.0", "steps": {"train": step}})
    (run / "study.resolved.yaml").write_text("encoder: efficientnet_lite0\n", encoding="utf-8")
    for i in np.argsort(risk)[[0, 1, 2, -3, -2, -1]]:
        name = f"S{i:03d}"
        tile_map = AttentionMap(
            slide_id=name,
            patient_id=ids[i],
            xy_l0=np.array([[0, 0], [448, 0]]),
            tile_l0=448,
            size_l0=(896, 448),
            level0_mpp=0.5,
            attention=np.array([0.5, 0.5]),
            contribution=np.array([risk[i], 0.0]),
            log_risk=float(risk[i]),
            bias=0.0,
            fold="1",
            score_type="oof",
        )
        write_attention(
            run / "attention" / f"{name}.h5", tile_map, Recipe(step="explain", inputs={})
        )
        Image.fromarray(rng.integers(120, 255, (60, 90, 3), dtype=np.uint8)).resize(
            (640, 420), 0
        ).save(run / "attention" / f"{name}.png")
        Image.fromarray(rng.integers(90, 255, (20, 60, 3), dtype=np.uint8)).resize(
            (730, 244), 0
        ).save(run / "attention" / f"{name}_tiles.png")
    return study


@pytest.fixture
def study(tmp_path):
    return build_study(tmp_path)


def edit_json(path, **changes):
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8"
    )


def page_text(study):
    return report_page(study)


def test_every_tag_is_closed_and_every_id_is_used_once(study):
    page = Page(page_text(study))
    assert (page.open, page.wrong, len(page.ids) - len(set(page.ids))) == ([], [], 0)


def test_the_page_requests_nothing_and_runs_nothing(study):
    text = page_text(study)
    page = Page(text)
    assert "://" not in text
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.requests)
    assert page.tags & {"script", "iframe", "object", "embed", "link", "base", "form"} == set()
    assert {a[1:] for a in page.requests if a.startswith("#")} | set(
        re.findall(r"url\(#([^)]+)\)", text)
    ) <= set(page.ids)


def test_what_people_wrote_is_shown_and_never_run(tmp_path):
    study = build_study(tmp_path, centres=(EVIL, "B&B", "$\\frac$", 'x" onload="y'))
    edit_json(study.run_folder / "metrics.json", alarms=[{"name": EVIL, "message": EVIL}])
    (study.run_folder / "study.resolved.yaml").write_text(EVIL, encoding="utf-8")
    table = study.run_folder / "scores.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("P000", EVIL), encoding="utf-8")
    text = page_text(study)
    page = Page(text)
    assert ("script" in page.tags, page.wrong, page.open) == (False, [], [])
    assert "&lt;script&gt;alert(1)" in text


def test_the_notice_and_the_legend_are_on_the_page(study):
    text = page_text(study)
    assert "Research use only, not a medical device" in text
    assert "explains the model, not the disease" in text


def test_c_and_its_interval_are_those_of_metrics_json(study):
    text = page_text(study)
    assert text.count("0.63 (0.56 to 0.71)") >= 3  # the card, the paragraph and the table
    assert "not estimable: 1 event" in text


def test_equal_inputs_give_equal_bytes(study):
    assert report_page(study) == report_page(study)


def test_a_report_is_written_again_only_when_something_that_it_shows_changed(study):
    page = write_report(study)
    written = page.stat().st_mtime_ns
    assert write_report(study).stat().st_mtime_ns == written
    page.write_text("cut off", encoding="utf-8")
    assert len(write_report(study).read_text(encoding="utf-8")) > len("cut off")
    edit_json(study.run_folder / "metrics.json", harrell_c=estimate(0.71))
    assert "0.71 (0.65 to 0.77)" in write_report(study).read_text(encoding="utf-8")


def test_without_permutations_the_page_says_that_they_are_too_few(study):
    empty = {
        "p_value": None,
        "permutations": 0,
        "repeats": 1,
        "observed": 0.6,
        "null": [],
        "wald_p": 0.01,
    }
    (study.run_folder / "permutation.json").write_text(json.dumps(empty), encoding="utf-8")
    assert "No permutation test was run: too few to say" in page_text(study)
    (study.run_folder / "permutation.json").unlink()
    assert "No permutation test was run: too few to say" in page_text(study)


def test_without_maps_the_page_says_so(study):
    for path in (study.run_folder / "attention").iterdir():
        path.unlink()
    assert page_text(study).count("No map of this patient.") == 6
    (study.run_folder / "attention").rmdir()
    assert "No maps: the run has no attention folder" in page_text(study)


def test_a_map_that_adds_up_to_another_score_is_marked(study):
    assert "run pathoml explain again" not in page_text(study)
    table = study.run_folder / "scores.csv"
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    table.write_text(
        "\n".join(
            ",".join([*r[:2], r[2] if i == 0 else f"{float(r[2]) * 1.5:.6f}", *r[3:]])
            for i, r in enumerate(rows)
        )
    )
    assert page_text(study).count("run pathoml explain again") == 6


def test_an_interval_that_includes_one_half_is_called_no_evidence(study):
    edit_json(
        study.run_folder / "metrics.json", harrell_c={"estimate": 0.55, "low": 0.47, "high": 0.63}
    )
    assert "do not show that the score is better than a coin" in page_text(study)


def test_empty_metrics_give_a_page_that_says_not_available(study):
    for name in ("splits.json", "provenance.json", "study.resolved.yaml"):
        (study.run_folder / name).unlink()
    (study.run_folder / "metrics.json").write_text("{}", encoding="utf-8")
    page = Page(page_text(study))
    assert (page.open, page.wrong) == ([], [])


def test_outcomes_of_single_patients_are_not_repeated(study):
    assert "12.345678" not in page_text(study)


@pytest.mark.parametrize("name", ["scores.csv", "metrics.json"])
def test_a_run_without_scores_or_metrics_is_refused_with_the_next_step(study, name):
    (study.run_folder / name).unlink()
    with pytest.raises(StoreError, match=rf"{name} is missing. .*`pathoml \w+`"):
        report_page(study)


def test_a_map_that_is_not_faithful_is_marked(study):
    shown = sorted(path.stem for path in (study.run_folder / "attention").glob("*.h5"))
    assert "Unfaithful" not in page_text(study)
    (study.run_folder / "faithfulness.json").write_text(
        json.dumps({"slides": {name: {"faithful": False} for name in shown}})
    )
    assert page_text(study).count("Unfaithful") == 6
