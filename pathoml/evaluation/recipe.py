"""Everything that decides what `evaluate` writes, and the files that it leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pathoml.config import Study
from pathoml.errors import PathomlError
from pathoml.evaluation.analysis_plan import PLAN, STAMP
from pathoml.store.files import sha256_of_json
from pathoml.store.hypotheses import ENDPOINTS, INTERACTIONS, hypotheses_of_others
from pathoml.store.provenance import file_hash, file_hashes
from pathoml.store.publishing import Outputs
from pathoml.study.endpoints import secondary_endpoints
from pathoml.study.inputs import columns_read, patients_read, slides_read, stored_content
from pathoml.study.layout import embeddings_folder, tiles_folder
from pathoml.study.public_cohorts import pretraining_section
from pathoml.study.run_folder import BUNDLE, RunFolder
from pathoml.survival.subgroups import parse_expression
from pathoml.training.recipe import train_recipe
from pathoml.types import Cohort, Recipe

EVALUATION_VERSION = 10  # and so on: each when the same inputs give other files
OF_AN_ENDPOINT = ("metrics.json", "metrics.csv", "cohort.csv", "analysis.R")
OF_THE_RUN = (
    *OF_AN_ENDPOINT,
    "permutation.json",
    "instability.json",
    "start_stop.csv",
    "imputed.csv",
)
EVALUATE_OUTPUTS = Outputs(
    always=OF_THE_RUN,
    globs=(
        *OF_THE_RUN,
        "instability.csv",
        *(f"offset/{name}" for name in OF_AN_ENDPOINT),
        *(f"endpoints/*/{name}" for name in OF_AN_ENDPOINT),
    ),
)
EVALUATE_READS = (
    "scores.csv",
    "baselines.csv",
    "nested_scores.csv",
    "seed_scores.csv",
    "repeat_scores.csv",
    "splits.json",
    "models/models.json",
)
# the columns of patients.csv that are looked for without being asked for
SUBTYPE_COLUMNS = ("subtype", "histology", "diagnosis")
SLIDE_COLUMNS = ("specimen", "organ", "scanner", "stain")
SEX_COLUMNS = ("sex", "gender", "geschlecht")
AGE_COLUMNS = ("age", "age_years", "age_at_diagnosis", "alter")
STAGE_COLUMNS = ("stage", "tnm", "t_stage", "ajcc_stage", "grade", "fnclcc", "fnclcc_grade")
# what Table 1 shows, and the score is held against, whether study.yaml names it or not
DESCRIBING_COLUMNS = (*SEX_COLUMNS, *AGE_COLUMNS, *SUBTYPE_COLUMNS, *STAGE_COLUMNS)
QUALITY = "quality.csv"  # of tiles/GRID


def evaluate_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return everything that decides metrics.json and what stands beside it."""
    config, run = study.config, RunFolder(study.run_folder)
    trained = run.models_index.exists()  # then `train` is fresh, or `evaluate` refuses
    return Recipe(
        step="evaluate",
        inputs={
            **file_hashes(study.run_folder, EVALUATE_READS),
            "patients": patients_read(cohort),
            "columns": columns_read(cohort, _columns(study, cohort)),
            "slides": slides_read(cohort, SLIDE_COLUMNS),
            "endpoint": cohort.endpoint,
            "time_zero": cohort.time_zero,
            "left out": [list(one) for one in cohort.excluded],
            "treatment": config.cohort.treatment,
            "treatment starts": [vars(start) for start in cohort.treatment_starts],
            "compared": _compared_with_excluded(study, cohort),
            **config.model_dump(mode="json", include={"significance", "evaluate"}),
            PLAN: file_hash(study.folder / PLAN),
            STAMP: file_hash(study.folder / STAMP),
            BUNDLE: "" if trained else file_hash(study.bundles_folder / config.run / BUNDLE),
            QUALITY: _quality(study),
            "embeddings": {} if trained else _embeddings(study, cohort),
            "what models saw before": sha256_of_json(pretraining_section(study, cohort)),
            **hypotheses_of_others(study.runs_folder, (ENDPOINTS, INTERACTIONS), run=config.run),
            **_secondary(study, cohort),
            **_offset(study),
            "version": EVALUATION_VERSION,
        },
    )


def _secondary(study: Study, cohort: Cohort) -> dict[str, Any]:
    """Return the secondary endpoints with the hashes of their files; nothing where there is none,
    so that runs of before stay up to date.
    """
    found = {
        one.name: {
            **file_hashes(one.study.run_folder, EVALUATE_READS),
            "patients": patients_read(one.cohort),
            "time_zero": one.cohort.time_zero,
            "left out": [list(pair) for pair in one.cohort.excluded],
        }
        for one in secondary_endpoints(study, cohort)
    }
    return {"secondary_endpoints": found} if found else {}


def _offset(study: Study) -> dict[str, Any]:
    """Return the hashes of the offset score's files; nothing where none is asked for."""
    if not study.config.train.offset:
        return {}
    run = RunFolder(study.run_folder).offset
    return {"offset": {"score": study.config.train.offset, **file_hashes(run, EVALUATE_READS)}}


def permutation_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return everything that decides the statistics of the permutations: what the run was trained
    on, and how often and with how many models it is repeated.

    A subgroup or a horizon does not, and so costs no training.
    """
    train = dict(train_recipe(study, cohort).inputs)
    train["train"] = {k: v for k, v in train["train"].items() if k != "nested"}
    significance = study.config.significance.model_dump(
        mode="json", include={"permutations", "repeats", "seeds"}
    )
    return Recipe(
        step="permute",
        inputs={**train, "significance": significance, "evaluation version": EVALUATION_VERSION},
    )


def resample_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return everything that decides how resamples score the patients: what the run was trained on,
    and with how many initialisations. Their number does not: each is the same among any others.
    """
    repeated = dict(permutation_recipe(study, cohort).inputs)
    repeated["train"] = {k: v for k, v in repeated["train"].items() if k != "offset"}
    significance = {"seeds": repeated["significance"]["seeds"]}
    return Recipe(step="resample", inputs={**repeated, "significance": significance})


def _columns(study: Study, cohort: Cohort) -> Sequence[str]:
    """Return the columns of patients.csv of which cells are read as they stand."""
    config = study.config
    subtype = next((n for n in SUBTYPE_COLUMNS if n in cohort.columns), None)
    return [
        *_compared_with_excluded(study, cohort)[:-1],
        *([subtype] if subtype else []),
        *columns_named(cohort.columns, DESCRIBING_COLUMNS),
        *_compared(config.evaluate.subgroups),
    ]


def columns_named(columns: Iterable[str], names: Collection[str]) -> list[str]:
    """Return the columns that go by one of these names, however they are capitalised.

    >>> columns_named(["patient_id", "Sex", "age at diagnosis"], SEX_COLUMNS + AGE_COLUMNS)
    ['Sex', 'age at diagnosis']
    """
    return [c for c in columns if c.strip().casefold().replace(" ", "_") in names]


def _quality(study: Study) -> str:
    """Return what `tile` says of the slides, where there is any."""
    try:
        return file_hash(tiles_folder(study) / QUALITY)
    except PathomlError:  # no encoder is needed by scores from elsewhere
        return ""


def _compared_with_excluded(study: Study, cohort: Cohort) -> list[Any]:
    """Return the columns in which the analysed are held against who was left out, and last those
    of them that are categories; [] where nobody was.
    """
    config, mine = study.config.cohort, [*study.config.cohort.covariates]
    if not cohort.excluded:
        return []
    treatment = [config.treatment] if config.treatment else []
    names = dict.fromkeys([config.centre, *mine, *treatment, study.config.endpoint.event])
    return [*names, list(config.categorical)]


def _compared(expressions: Iterable[str]) -> Sequence[str]:
    """Return the columns that expressions compare; none of one that `evaluate` will refuse."""
    found: list[str] = []
    for expression in expressions:
        try:
            found += [condition.column for condition in parse_expression(expression)]
        except PathomlError:
            continue
    return found


def _embeddings(study: Study, cohort: Cohort) -> dict[str, str]:
    """Return what a score that was not trained here is held against, where there is any."""
    try:
        return stored_content(embeddings_folder(study), cohort)
    except PathomlError:  # no encoder is needed by scores from elsewhere
        return {}
