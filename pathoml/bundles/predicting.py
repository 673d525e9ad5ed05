"""Step `predict`: score another study's patients with a locked bundle; writes runs/NAME/scores.csv
and drift.csv.

patients.csv is not opened at all: nobody can say that the outcome was seen. A patient is who
slides.csv says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pathoml.bags.origin import read_origins, refuse_other_files
from pathoml.bags.reading import read_bags
from pathoml.bundles.drift import COLUMNS, drift_rows
from pathoml.bundles.learned_from import seen_before
from pathoml.bundles.new_centres import harmonise_new_centres
from pathoml.bundles.opening import (
    bundle_models,
    ensemble_scores,
    input_of,
    open_bundle,
    refuse_made_otherwise,
    refuse_other_input,
)
from pathoml.compute.devices import prepare_device
from pathoml.config import Study, opened
from pathoml.errors import ConfigError
from pathoml.explanation.recipe import remove_maps
from pathoml.store.embeddings import read_embeddings
from pathoml.store.files import atomic_path, sha256_of_file
from pathoml.store.hdf5 import stored_attr
from pathoml.store.packs import is_stored
from pathoml.store.provenance import MODELS, recorded_inputs, recorded_recipes
from pathoml.store.publishing import publishing
from pathoml.store.scores import write_scores
from pathoml.store.tables import write_table
from pathoml.study.cohort import cohort_without_outcomes
from pathoml.study.file_names import SAFE_ID
from pathoml.study.layout import embeddings_folder
from pathoml.study.no_map import no_map
from pathoml.study.public_cohorts import pretraining_alarms, pretraining_section
from pathoml.study.run_folder import BUNDLE, RunFolder
from pathoml.training.models import load_models, models_sha256
from pathoml.training.score_source import PREDICT_OUTPUTS, predict_recipe
from pathoml.types import SILENT, Progress, RiskScore

IN_SAMPLE = "in_sample"  # in provenance.json: of how many patients the bundle has learned


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a prediction did."""

    folder: Path
    patients: int
    slides: int
    lights: Mapping[str, int]  # slides by their worst light
    harmonised: str = ""  # how centres were brought to those of the training, as a sentence
    # slide_id -> reason for slides whose maps were asked for and could not be drawn
    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # of what the model and its encoder saw of these patients before
    no_map: str = ""  # why no map was drawn
    notes: tuple[str, ...] = ()  # what is not known, or a little otherwise, of the features
    in_sample: tuple[str, ...] = ()  # patients that the bundle has learned from


def predict(
    study: Study | Path | str,
    bundle: Path | str,
    *,
    name: str = "",
    maps: bool = False,
    progress: Progress = SILENT,
) -> Predicted:
    """Score every patient of slides.csv whose slides are embedded; patients.csv is not opened.
    Patients that the bundle has learned from are scored as `insample`, which nothing is judged by.

    Args:
        study: a study or its folder.
        bundle: the folder that `lock` wrote.
        name: the folder under runs/; the bundle's own name if not given.
        maps: draw the maps too, into runs/NAME/attention/.

    Raises:
        ConfigError: the study's encoder, tile size, resolution or preprocessing is not the
            bundle's; runs/NAME holds scores that this bundle did not make.
        StoreError: the bundle or an embedding was changed; features were made otherwise than those
            that the bundle learned from, or of other slide files than there are.
    """
    study, folder = opened(study), Path(bundle)
    progress.heading(f"predict  {folder}")
    done = _score(study, folder, name)
    if not maps:
        return done
    if sentence := no_map(study, cohort_without_outcomes(study)):
        remove_maps(done.folder)
        return replace(done, no_map=sentence)
    from pathoml.bundles.maps import explain_predicted

    with progress.bar("explain", "slides") as bar:
        failures = explain_predicted(study, folder, bar, run_folder=done.folder)
        return replace(done, failures=failures)


def _imported_from(study: Study, slide_id: str) -> str:
    return stored_attr(embeddings_folder(study) / f"{slide_id}.h5", "imported_from")


def refuse_other_scores(run_folder: Path, bundle_sha256: str) -> None:
    """Raise ConfigError if a folder of a run holds scores that were not made by this bundle: they
    would be lost, and out-of-fold scores replaced by scores of another kind.
    """
    done, run = recorded_recipes(run_folder), RunFolder(run_folder)
    if not (done or run.scores.exists() or run.models.exists() or run.splits.exists()):
        return
    made_by = recorded_inputs(run_folder, "predict").get("bundle")
    if made_by == bundle_sha256 and not run.models_index.exists() and "import" not in done:
        return
    if run.models_index.exists() or "train" in done:
        what = "a trained run"
    elif "import" in done:
        what = "imported scores"
    else:
        what = "scores of another bundle" if made_by else "scores"
    raise ConfigError(
        f"{run_folder} holds {what}, which would be lost. Choose a folder of their own for these"
        " scores: add --name NAME."
    )


def _score(study: Study, bundle_folder: Path, name: str) -> Predicted:
    bundle = open_bundle(bundle_folder)
    folder = study.runs_folder / (name or bundle["name"])
    if not SAFE_ID.fullmatch(folder.name) or folder.parent != study.runs_folder:
        raise ConfigError(
            f"--name {name!r}: a run's name needs letters, digits, '.', '_' and '-' only, since it"
            " names a folder."
        )
    refuse_other_scores(folder, sha256_of_file(bundle_folder / BUNDLE))
    everyone = cohort_without_outcomes(study)
    origins = read_origins(study, everyone)
    refuse_other_files(study, [one for part in origins for one in part])
    cohort, bags, first = read_bags(everyone, embeddings_folder(study))
    refuse_other_input(bundle, input_of(study, first))
    notes = refuse_made_otherwise(study, bundle, origins)
    seen = seen_before(study, cohort, bundle, folder=bundle_folder)
    stack, _, _ = load_models(bundle_folder / MODELS, prepare_device(study.config.compute))
    bags, harmonised = harmonise_new_centres(stack, bags)
    log_risk, between_models = ensemble_scores(np.asarray(stack.log_risks(bags)), bundle)
    scale, hashes = bundle["out_of_fold"], bundle_models(bundle)
    scores = [
        RiskScore(
            patient_id=patient.patient_id,
            centre=patient.centre,
            log_risk=float(risk),
            score_sd=float(risk / scale["sd"]),
            score_type="insample" if patient.patient_id in seen.patients else "locked",
            fold="",
            n_repeats=1,
            repeat_sd=float(spread),
            n_slides=len(bag.slide_ids),
            n_tiles=len(bag.features),
            model_sha256=models_sha256(hashes),
            splits_sha256=sha256_of_file(bundle_folder / BUNDLE),
            data_cut="",
            score_group="high" if risk > scale["quantiles"]["0.5"] else "low",
        )
        for patient, bag, risk, spread in zip(cohort.patients, bags, log_risk, between_models)
    ]
    of_patient = {s.patient_id: s.log_risk for s in scores}
    rows = []
    for slide in cohort.slides:
        path = embeddings_folder(study) / f"{slide.slide_id}.h5"
        if is_stored(path):
            rows += drift_rows(
                bundle["drift"], slide, read_embeddings(path), score=of_patient[slide.patient_id]
            )
    recipe = predict_recipe(study, everyone, sha256_of_file(bundle_folder / BUNDLE))
    with publishing(folder, recipe, PREDICT_OUTPUTS) as out:
        write_scores(out.folder, scores, endpoint=str(bundle.get("endpoint", "")))
        with atomic_path(RunFolder(out.folder).drift) as temporary:
            write_table(temporary, COLUMNS, rows)
        out.note(
            bundle=bundle["name"],
            endpoint=f"{bundle.get('endpoint', '')}, from {bundle.get('time_zero', '')}",
            training=bundle["training"],
            **({IN_SAMPLE: len(seen.patients)} if seen.patients else {}),
            **({"harmonised": harmonised} if harmonised else {}),
            input={**bundle["input"], "imported_from": _imported_from(study, first.slide_id)},
        )
    worst: dict[str, str] = defaultdict(lambda: "green")
    for row in rows:
        worst[str(row[0])] = max(
            worst[str(row[0])], str(row[4]), key=("green", "amber", "red").index
        )
    of_run = study.config.model_copy(update={"run": folder.name})
    pretraining = pretraining_section(study.model_copy(update={"config": of_run}), cohort)
    return Predicted(
        folder=folder,
        patients=len(scores),
        slides=len(worst),
        lights=dict(Counter(worst.values())),
        harmonised=harmonised,
        warnings=(
            *(alarm["message"] for alarm in pretraining_alarms(pretraining)),
            *seen.sentences(len(scores)),
        ),
        notes=notes,
        in_sample=tuple(sorted(seen.patients)),
    )
