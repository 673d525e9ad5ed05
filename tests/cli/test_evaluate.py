"""`pathoml evaluate` on studies that lack what others have."""

from __future__ import annotations

from pathlib import Path

from support.learning import planted_cohort, write_study

from pathoml.cli import guarded, main
from pathoml.store.files import read_json


def test_a_study_without_covariates_is_evaluated_and_says_over_what_the_score_gains(
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path, *planted_cohort(30)[:2])
    text = (study.folder / "study.yaml").read_text()
    (study.folder / "study.yaml").write_text(text.replace("covariates: [age]", "covariates: []"))
    codes = [
        guarded(lambda verb=verb: main([verb, str(study.folder)])) for verb in ("train", "evaluate")
    ]  # type: ignore[misc]
    assert codes == [0, 0]
    assert (
        "no covariates" in read_json(study.run_folder / "permutation.json")["added_value"]["note"]
    )
