"""Where the scores of a run came from, if they were not trained there, and whether they still rest
on what lies in the study.
"""

from __future__ import annotations

from dataclasses import replace

from pathoml.bags.origin import refuse_other_features
from pathoml.config import Study
from pathoml.errors import PathomlError, StoreError
from pathoml.store.provenance import recorded_inputs, recorded_recipes
from pathoml.store.publishing import is_fresh, unproved
from pathoml.study.cohort import cohort_without_outcomes
from pathoml.study.inputs import slides_read, stored_content, what_changed, why_stale
from pathoml.study.layout import embeddings_folder
from pathoml.study.run_folder import RunFolder
from pathoml.training.imported_recipe import import_recipe
from pathoml.training.recipe import TRAIN_OUTPUTS, train_recipe
from pathoml.types import Cohort, Recipe

ELSEWHERE = ("import", "predict")  # the steps that bring scores that were not trained here
PREDICT_OUTPUTS = replace(TRAIN_OUTPUTS, always=("scores.csv", "drift.csv"))
PREDICT_VERSION = 1  # raise it when the same bundle scores the same features otherwise


def predict_recipe(study: Study, cohort: Cohort, bundle_sha256: str) -> Recipe:
    """Return everything that decides the scores of a locked bundle.

    Args:
        cohort: without outcomes; patients.csv is not opened.
        bundle_sha256: of bundle.json.
    """
    return Recipe(
        step="predict",
        inputs={
            "bundle": bundle_sha256,
            "slides": slides_read(cohort, ("centre",)),
            "embeddings": stored_content(embeddings_folder(study), cohort),
            "version": PREDICT_VERSION,
        },
    )


def score_source(study: Study, cohort: Cohort) -> Recipe | None:
    """Return what the run's scores would rest on if they were imported, or predicted by their
    bundle, again; None where the run was trained, or is to be.
    """
    folder = study.run_folder
    done = recorded_recipes(folder)
    if RunFolder(folder).models_index.exists():
        return None
    if "import" in done:
        return import_recipe(study, cohort)
    if "predict" in done:
        bundle = str(recorded_inputs(folder, "predict").get("bundle", ""))
        return predict_recipe(study, cohort_without_outcomes(study), bundle)
    return None


def refuse_stale_scores(study: Study, cohort: Cohort) -> None:
    """Raise StoreError if a run's scores are those of other tables, slides or settings than there
    are now: they must not be judged by these.
    """
    folder = study.run_folder
    if RunFolder(folder).models_index.exists():
        recipe = train_recipe(study, cohort)
        if not is_fresh(folder, recipe, TRAIN_OUTPUTS):
            why = why_stale(folder, recipe, TRAIN_OUTPUTS) or "its training was not recorded"
            raise StoreError(
                f"{folder} is not trained, or its data or configuration changed since ({why}). Run"
                " `pathoml train`, or pathoml.train(study), first."
            )
        refuse_other_features(study, cohort)
    elif "predict" in recorded_recipes(folder):
        try:
            now = score_source(study, cohort)
        except PathomlError:  # slides.csv or the encoder is not here: the scores are all there is
            return
        changed = what_changed(recorded_inputs(folder, "predict"), now.inputs if now else {})
        changed += unproved(folder, "predict", PREDICT_OUTPUTS)
        if changed:
            raise StoreError(
                f"{folder} was predicted from something else: {'; '.join(changed)}. Run `pathoml"
                " predict` with the bundle again."
            )
