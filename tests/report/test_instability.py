"""What the page says of the instability of single predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.learning import planted_cohort

from pathoml.evaluation.instability import summarised
from pathoml.evaluation.resamples import Scored
from pathoml.report.instability import instability_context, unsteady
from pathoml.store.files import write_json
from pathoml.store.tables import write_table
from pathoml.study.run_folder import RunFolder


def write_found(folder: Path, *, patients: int = 40, noise: float = 0.5) -> dict[str, object]:
    """Write the files of resamples whose scores move by `noise` SD; return the summary."""
    cohort, rng = planted_cohort(patients, seed=1)[0], np.random.default_rng(2)
    score = rng.normal(size=patients) - cohort.time_months / cohort.time_months.std()
    first = Scored(score=score, is_high=score > np.median(score))
    moved = [score + noise * rng.normal(size=patients) for _ in range(30)]
    again = [Scored(score=one, is_high=one > np.median(one)) for one in moved]
    drawn = [np.ones(patients, dtype=np.int64)] * 30
    summary, table = summarised(cohort, first, again, drawn=drawn, horizons=(12.0, 24.0))
    partitions = {"harrell_c": [0.61, 0.66], "harrell_c_sd": 0.035}
    found = {"resamples": 30, "seeds": 1, "note": "how", "partitions": partitions, **summary}
    write_json(folder / "instability.json", found)
    write_table(folder / "instability.csv", list(table), zip(*table.values()))
    return found


def test_each_patient_has_a_line_at_each_horizon(tmp_path: Path) -> None:
    write_found(tmp_path)
    drawn = instability_context(RunFolder(tmp_path), {})["instability_svg"]
    assert [drawn.count(f"{h} months") for h in (12, 24)] == [1, 1]
    assert drawn.count('id="instability-LineCollection_') == 2


def test_the_sentence_names_the_typical_patient_and_widens_with_the_noise(tmp_path: Path) -> None:
    said = {}
    for noise in (0.1, 1.0):
        found = write_found(tmp_path, noise=noise)
        typical = found["risk"]["12"]["typical"]
        said[noise] = typical["high"] - typical["low"]
        percent = [f"{100 * typical[name]:.0f}\u00a0%" for name in ("original", "low", "high")]
        assert unsteady(found).count("months") == 1
        assert all(text in unsteady(found) for text in percent)
    assert said[1.0] > 3 * said[0.1] > 0


def test_c_of_each_partition_and_seed_alone_stands_beside_it(tmp_path: Path) -> None:
    write_found(tmp_path)
    context = instability_context(RunFolder(tmp_path), {"seeds": {"harrell_c": [0.6, 0.7, 0.65]}})
    assert context["c_alone"] == [("partition", [0.61, 0.66]), ("seed", [0.6, 0.7, 0.65])]


def test_a_run_of_before_shows_nothing(tmp_path: Path) -> None:
    context = instability_context(RunFolder(tmp_path), {})
    assert (context["instability"], context["unsteady"]) == ({}, "")
    assert context["instability_svg"] == context["calibration_instability_svg"] == ""
