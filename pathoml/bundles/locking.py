"""Step `lock`: freeze a validated recipe into bundles/NAME/, an ensemble trained on all patients
that can score new ones.

bundles/NAME/ holds models/ (safetensors and models.json) and bundle.json: what the models must be
fed with (encoder, its weights, tile size, resolution, preprocessing), the scaler and cut-offs, both
from out-of-fold scores, baseline survival, and the ranges that new slides are compared with. Every
file's SHA-256 is in bundle.json and in SHA256SUMS; bundle.json's own is the bundle's name in
scores.csv.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import pathoml
from pathoml.bags.origin import refuse_other_features
from pathoml.bundles.drift import reference_ranges
from pathoml.bundles.learned_from import learned_from
from pathoml.bundles.model_card import model_card
from pathoml.bundles.opening import SUMS, how_made, input_of
from pathoml.compute.devices import prepare_device
from pathoml.config import Study, StudyConfig, opened
from pathoml.errors import ConfigError
from pathoml.store.embeddings import read_embeddings
from pathoml.store.files import json_text, read_json, sha256_of_file, write_text
from pathoml.store.learned import LEARNED_FROM
from pathoml.store.locks import at_work
from pathoml.store.provenance import MODELS, file_hash, recorded_inputs
from pathoml.store.publishing import new_folder
from pathoml.study.cohort import read_cohort
from pathoml.study.file_names import SAFE_ID
from pathoml.study.inputs import changed_tables
from pathoml.study.layout import embeddings_folder
from pathoml.study.public_cohorts import INITIAL, pretraining_alarms, pretraining_section
from pathoml.study.run_folder import BUNDLE, RunFolder
from pathoml.survival.cox import fit_cox
from pathoml.training.fit import fit_models
from pathoml.training.heads import is_installed, is_solved
from pathoml.training.initial_origin import (
    cohorts_learned_from,
    initial_origin,
    said_of_models,
)
from pathoml.training.left_out import leaving_out
from pathoml.training.loop import OnEpoch
from pathoml.training.model_stack import ModelSpec
from pathoml.training.models import save_block, save_index
from pathoml.training.run import LoadedRun, load_run
from pathoml.training.scoring import out_of_fold, standardise
from pathoml.types import NOTICE, SILENT, Cohort, Progress

FEWEST_MODELS = 5  # at least, in the ensemble: between-model spread is part of every locked score
QUANTILES = (0.25, 0.5, 0.75)  # cut-offs of the out-of-fold log-risk
CARD = "MODEL_CARD.md"  # people write into it, so it has no hash


def lock(study: Study | Path | str, name: str, *, progress: Progress = SILENT) -> Path:
    """Train the ensemble on all patients, write bundles/NAME and return that folder.

    Args:
        study: a study or its folder.

    Raises:
        StoreError: the run is not trained, its data changed since, or its features are not those
            that study.yaml and the slides that there are would give.
        ConfigError: the recipe won a benchmark whose optimism was not removed, its head is of no
            installed package, or the bundle exists already.
    """
    study = opened(study)
    progress.heading(f"lock  bundles/{name}")
    refuse_unadjusted_winner(study)
    refuse_head_that_is_not_installed(study)
    folder = study.bundles_folder / name
    if not SAFE_ID.fullmatch(folder.name) or folder.parent != study.bundles_folder:
        raise ConfigError(
            f"--name {name!r}: a bundle's name needs letters, digits, '.', '_' and '-' only, since"
            " it names a folder."
        )
    if (folder / BUNDLE).exists():
        raise ConfigError(
            f"{folder} exists already. A locked bundle is never changed: choose another --name."
        )
    refuse_what_people_wrote(folder)
    with (
        at_work(study.folder, "lock", shared=True),
        new_folder(folder, "lock") as made,
        progress.bar("lock", "model epochs") as bar,
    ):
        _write_bundle(study, name, bar, folder=made)
        shutil.rmtree(folder, ignore_errors=True)  # without a bundle: of a lock that was killed
    return folder


def ensemble_of(cohort: Cohort, config: StudyConfig) -> list[ModelSpec]:
    """Return the models of a bundle: all learn from all patients and differ by their seed; of a
    head that is solved each leaves out another fifth, since seeds change nothing there.
    """
    ids = cohort.patient_ids
    if not is_solved(config.train):
        seeds = range(1, max(FEWEST_MODELS, config.train.seeds) + 1)
        return [ModelSpec(repeat="locked", fold="all", seed=s, train=tuple(ids)) for s in seeds]
    of_all = ModelSpec(repeat="locked", fold="all", seed=1, train=tuple(ids))
    each = leaving_out(of_all, cohort, parts=FEWEST_MODELS, seed=config.splits.seed)
    return [replace(one, fold=f"without-{k}") for k, one in enumerate(each, 1)]


def _write_bundle(study: Study, name: str, on_epoch: OnEpoch, *, folder: Path) -> None:
    run = load_run(study)
    config, cohort = study.config, run.cohort
    origins = refuse_other_features(study, cohort)
    specs = ensemble_of(cohort, config)
    device = prepare_device(config.compute)
    cohorts = cohorts_learned_from(study, cohort, initial_origin(study, cohort))
    entries, raw = [], []
    for block in fit_models(
        cohort,
        run.bags,
        specs,
        config=config.train,
        device=device,
        seed=config.splits.seed,
        on_epoch=on_epoch,
    ):
        entries += save_block(
            folder / MODELS,
            block.stack,
            specs[block.models],
            said=said_of_models(config.encoder, cohorts),
        )
        raw.append(block.raw)
        head = block.stack.spec
    save_index(folder / MODELS, head, entries, notice=NOTICE)
    files = {f"models/{e['file']}": e["sha256"] for e in entries} | {
        "models/models.json": sha256_of_file(folder / "models/models.json")
    }
    first = read_embeddings(embeddings_folder(study) / f"{run.bags[0].slide_ids[0]}.h5")
    content = {
        "name": name,
        "run": study.config.run,  # which is published by this
        "notice": NOTICE,
        "pathoml_version": pathoml.__version__,
        "endpoint": cohort.endpoint,
        "time_zero": cohort.time_zero,
        "not_predicted": [
            *(endpoint.name for endpoint in config.secondary_endpoints),
            *(["the offset score"] if config.train.offset else []),
        ],
        "input": {**input_of(study, first), **how_made(origins)},
        LEARNED_FROM: learned_from(study, cohort, _trained(study)["recipe_sha256"]),
        "training": {
            "patients": len(cohort.patients),
            "events": int(cohort.event.sum()),
            "models": len(specs),
            # of the patients, by each model: 0 where all learn from all
            "left_out": 1 - len(specs[0].train) / len(cohort.patients),
            "train": {**vars(config.train), "init": None},  # a path means nothing elsewhere
            **({INITIAL: begun} if (begun := _trained(study).get(INITIAL)) else {}),
            "public_cohorts": cohorts,
            "solved": is_solved(config.train),
        },
        "out_of_fold": out_of_fold_scale(run),
        "reference": float(
            np.concatenate(raw).mean()
        ),  # mean raw log-risk of the training patients, subtracted from every score
        "baseline_survival": baseline_survival(run),
        "drift": reference_ranges(
            cohort,
            run.bags,
            scores=np.concatenate(raw).mean(0) - float(np.concatenate(raw).mean()),
        ),
        "files": files,
        "train_recipe_sha256": _trained(study)["recipe_sha256"],
    }
    metrics, permutation = (_if_there(study, name) for name in ("metrics.json", "permutation.json"))
    write_text(
        folder / CARD,
        model_card(
            content,
            cohort,
            metrics,
            permutation=permutation,
            pretraining=pretraining_alarms(pretraining_section(study, cohort)),
        ),
    )
    text = json_text(content)
    sums = {"bundle.json": hashlib.sha256(text.encode()).hexdigest(), **files}
    write_text(folder / SUMS, "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()))
    write_text(folder / BUNDLE, text)


def _trained(study: Study) -> dict[str, Any]:
    """Return what `train` recorded of the run."""
    return dict(read_json(RunFolder(study.run_folder).provenance)["steps"]["train"])


def _if_there(study: Study, name: str) -> dict[str, Any]:
    """Return what `evaluate` found; {} where it did not, or of other scores or tables."""
    path, recorded = study.run_folder / name, recorded_inputs(study.run_folder, "evaluate")
    scores = file_hash(RunFolder(study.run_folder).scores)
    other = recorded and (
        recorded.get("scores.csv") != scores or changed_tables(recorded, read_cohort(study))
    )
    return read_json(path) if path.exists() and not other else {}


def out_of_fold_scale(run: LoadedRun) -> dict[str, Any]:
    """Return SD and cut-offs of the out-of-fold log-risk: an ensemble's scores of its own patients
    would be overfitted.
    """
    log_risk = out_of_fold(run.folds).mean(axis=0)  # (B,)
    return {
        "sd": float(log_risk.std(ddof=1)),
        "quantiles": {str(q): float(np.quantile(log_risk, q)) for q in QUANTILES},
    }


def baseline_survival(run: LoadedRun) -> dict[str, list[float] | float]:
    """Return Breslow's survival of a patient with score 0, and the log hazard ratio of one SD, both
    on out-of-fold scores.
    """
    cohort: Cohort = run.cohort
    score = standardise(out_of_fold(run.folds, "standardised"))
    time, event, entry = cohort.time_months, cohort.event, cohort.entry_months
    fit = fit_cox(score[:, None], time, event, ridge=1e-6, entry_months=entry, names=["score_sd"])
    hazard = np.exp(score * fit.coefficients[0])
    times = np.unique(time[event])
    entered = np.zeros(len(time)) if entry is None else entry
    steps = [
        float(((time == t) & event).sum() / hazard[(time >= t) & (entered < t)].sum())
        for t in times
    ]
    survival = np.exp(-np.cumsum(steps))
    return {
        "times_months": times.tolist(),
        "survival": survival.tolist(),
        "log_hazard_ratio_per_sd": float(fit.coefficients[0]),
    }


def refuse_unadjusted_winner(study: Study) -> None:
    """Raise ConfigError if a benchmark picked this recipe and nobody removed its optimism."""
    path = study.runs_folder / "benchmark.json"
    if not path.exists():
        return
    content = read_json(path)
    train = study.config.train
    mine = (study.config.encoder, train.head, train.harmonise)
    chosen = {(c["encoder"], c["head"], c.get("harmonise")) for c in content.get("candidates", [])}
    if mine in chosen and len(chosen) > 1 and content.get("selection", {}).get("p_value") is None:
        raise ConfigError(
            f"{path} compared {len(chosen)} recipes and this one is among them: the best of "
            "several looks better than it is. Run `pathoml benchmark` with --permutations 199, "
            "which corrects for the choice, before locking."
        )


def refuse_what_people_wrote(folder: Path) -> None:
    """Raise ConfigError if a folder without a bundle holds more than a lock that was killed left,
    such as a model card that somebody filled in.
    """
    theirs = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.parent.name != MODELS
        and path.name != SUMS
        and not path.name.startswith(".")
    ]
    if theirs:
        raise ConfigError(
            f"{folder} holds {theirs[0].relative_to(folder)} and no {BUNDLE}: what somebody wrote"
            " is not written over. Choose another --name, or move it away."
        )


def refuse_head_that_is_not_installed(study: Study) -> None:
    """Raise ConfigError if nobody else could find the code of the run's head."""
    head = study.config.train.head
    if not is_installed(head):
        raise ConfigError(
            f"The head {head} belongs to no installed package, so that the bundle could not be used"
            " elsewhere. Put it into a package with an entry point pathoml.mil (docs/extend.md),"
            " and train again with its name."
        )
