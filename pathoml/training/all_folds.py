"""Every fold, repeat and seed of a run: from embeddings and tables to models, splits, scores and
baselines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.bags.harmonisation import said_of_centres
from pathoml.bags.projection import choose_projection
from pathoml.bags.reading import mean_features, read_bags
from pathoml.bags.tile_bank import where_tiles_lie
from pathoml.compute.devices import prepare_device
from pathoml.config import Study, StudyConfig, resolved_yaml
from pathoml.errors import CohortError
from pathoml.store.files import sha256_of_file, write_text
from pathoml.store.hdf5 import stored_attr
from pathoml.store.scores import write_baselines, write_columns, write_repeats, write_scores
from pathoml.study.layout import embeddings_folder
from pathoml.study.public_cohorts import (
    pretraining_alarms,
    pretraining_notes,
    pretraining_section,
)
from pathoml.study.run_folder import RunFolder
from pathoml.study.split_files import read_foreign_splits
from pathoml.study.splits import (
    about_splits,
    check_splits,
    leave_out_centres,
    make_splits,
    write_splits,
)
from pathoml.survival.design import parameters_with_score
from pathoml.survival.power import over_budget
from pathoml.training.baselines import Baselines
from pathoml.training.clinical_part import NO_COVARIATES, clinical_columns
from pathoml.training.endpoints import (
    PLAIN,
    TOLD,
    ModelFolders,
    all_endpoints,
    offset_endpoint,
    write_endpoint,
)
from pathoml.training.fit import fit_models
from pathoml.training.heads import is_solved
from pathoml.training.initial_origin import (
    cohorts_learned_from,
    initial_origin,
    said_of_models,
)
from pathoml.training.initial_weights import read_initial_weights
from pathoml.training.log import MLFLOW, write_logs
from pathoml.training.loop import LogRow, OnEpoch, model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.nested import inner_scores, nested_of, nested_specs, write_nested
from pathoml.training.offset import OffsetModels, offset_models, offset_ridge_folds
from pathoml.training.outcomes import Lessons, strata_of
from pathoml.training.scoring import (
    averaged,
    fold_scores,
    risk_scores,
    score_type_of,
    seed_folds,
)
from pathoml.training.solving import seeds_of, tiles_seen, without_effect
from pathoml.training.trained import Trained
from pathoml.training.vector_baselines import read_vectors, vector_baselines
from pathoml.types import Array, Bag, Cohort, Embeddings, Split


def train_all_folds(study: Study, cohort: Cohort, on_epoch: OnEpoch, *, folder: Path) -> Trained:
    """Train every fold, repeat and seed; write models/, splits.json, scores.csv (and .dta, .sav),
    baselines.csv and log.csv, and the same of each secondary endpoint into endpoints/NAME.

    Args:
        folder: to write into as if it were the run's; below runs/, and empty.

    Raises:
        CohortError: the cohort cannot be split or trained on; says why.
    """
    config, run = study.config, RunFolder(folder)
    written = study.with_run(folder.relative_to(study.runs_folder).as_posix())
    strata_of(cohort, config.train.strata)  # refused before bags are read
    if config.train.offset and not clinical_columns(cohort):
        raise CohortError(NO_COVARIATES)
    cohort, bags, slide = read_bags(cohort, embeddings_folder(study))
    splits = (
        read_foreign_splits(study.folder / config.splits.file, cohort)
        if config.splits.file
        else make_splits(cohort, config.splits)
    )
    check_splits(splits, cohort)
    specs = model_specs(splits, seeds_of(config.train))
    origin = initial_origin(study, cohort)
    initial = read_initial_weights(config.train, bags[0].features.shape[1])
    if refusal := Lessons(cohort, config.train.strata).refusal(specs):
        raise CohortError(refusal)
    vectors = read_vectors(study, cohort)  # refused before anything is trained
    means = mean_features(bags)  # (B, D)
    endpoints = all_endpoints(written, cohort, splits, specs=specs)
    if config.train.offset:
        endpoints = endpoints.with_offset(_offset(cohort, means, specs, config))
    device = prepare_device(config.compute)
    write_text(run.resolved, resolved_yaml(config))
    write_splits(run.splits, splits, **about_splits(config.splits))
    log: list[LogRow] = []
    learned_from = cohorts_learned_from(study, cohort, origin)
    models = ModelFolders(run, endpoints, said=said_of_models(slide.encoder, learned_from))
    lessons = Lessons(cohort, config.train.strata, outcomes=endpoints.outcomes)
    inner = _inner_models(cohort, splits[0], config) if config.train.nested else []
    if lessons.refusal(inner):  # inner folds are smaller; `evaluate` says that there are none
        inner = []
    within_inner = _offset(cohort, means, inner, config) if config.train.offset and inner else None
    nesting = endpoints.nested(inner, lessons, offset=within_inner)
    outer_part, inner_part = _progress(
        on_epoch, config.train.epochs, len(endpoints.specs), len(nesting.specs)
    )
    blocks = fit_models(
        cohort,
        bags,
        endpoints.specs,
        config=config.train,
        device=device,
        seed=config.splits.seed,
        outcomes=endpoints.outcomes,
        on_epoch=outer_part,
        log=log,
    )
    every = np.empty((len(endpoints.specs), len(bags)))  # (M, B) of all endpoints
    for block in blocks:
        every[block.models] = block.raw
        models.save(block)
    raw = every[endpoints.primary]
    encoder: dict[str, Any] = {
        "encoder": slide.encoder,
        "encoder_sha256": slide.encoder_sha256,
        "tile_px": slide.grid.tile_px,
        "mpp": slide.grid.mpp,
    }
    hashes = models.finish(raw, **encoder)
    folds = fold_scores(raw, specs, cohort.patient_ids)
    scores = risk_scores(
        cohort,
        bags,
        folds,
        model_hashes=hashes,
        splits_sha256=sha256_of_file(run.splits),
        score_type=_score_type(cohort, splits, config),
        data_cut=config.endpoint.data_cut.isoformat() if config.endpoint.data_cut else "",
    )
    write_scores(folder, scores, endpoint=config.endpoint.name)
    by_seed = seed_folds(raw, specs, cohort.patient_ids)
    write_columns(
        run.seed_scores,
        cohort.patient_ids,
        {seed: averaged(some) for seed, some in by_seed.items()},
        prefix="seed ",
    )
    baselines = Baselines.fitted(
        cohort,
        bags,
        splits,
        means=means,
        strata=config.train.strata,
        vectors=vector_baselines(cohort, vectors, splits, study=study, specs=specs, device=device),
    )
    table = baselines.repeats(folds, by_seed)
    write_repeats(run.repeat_scores, cohort.patient_ids, table)
    within = np.empty((0, len(bags)))  # (M', B) of the inner models of all endpoints
    if inner:
        within = inner_scores(
            cohort, bags, nesting.specs, config=config.train, device=device,
            seed=config.splits.seed, outcomes=endpoints.outcomes, on_epoch=inner_part
        )  # fmt: skip
        nested = nested_of(
            within[nesting.primary], inner, cohort.patient_ids, outer=splits[0], outer_scores=folds
        )
        write_nested(folder, cohort.patient_ids, nested)
    write_baselines(
        run.baselines,
        cohort,
        ridge=averaged(baselines.ridge_cox),
        clinical=averaged(baselines.clinical) if baselines.clinical else None,
        vectors={name: averaged(found) for name, found in baselines.vectors.items()},
    )
    settings = config.train.model_dump(mode="json")
    write_logs(folder, _rows_of(log, PLAIN), settings, mlflow=_mlflow(study))
    for one in endpoints.others:
        own = every[one.models][:, one.endpoint.known]
        write_endpoint(
            one,
            bags,
            own,
            specs=endpoints.specs[one.models],
            hashes=models.finish(own, endpoint=one.endpoint.name, **encoder),
            inner=nesting.of(one.endpoint.name, within),
            means=means,
            score_type=scores[0].score_type,
            log=_rows_of(log, (one.endpoint.name, False)),
            settings=settings,
        )
    if endpoints.beside:
        offset = endpoints.beside
        own = offset.raw(every, endpoints.primary)
        write_endpoint(
            offset_endpoint(written, cohort, splits, models=endpoints.primary),
            bags,
            own,
            specs=specs,
            hashes=models.finish_offset(own, offset.score, **encoder),
            inner=(inner, nesting.beside.raw(within, nesting.primary)) if nesting.beside else None,
            means=means,
            score_type=scores[0].score_type,
            log=_rows_of(log, TOLD),
            settings=settings,
            ridge_cox=offset_ridge_folds(cohort, splits, means, score=offset.score),
        )
    features = _features(study, slide.slide_id)
    features |= _vectors(bags, slide, imported="imported_from" in features)
    if initial:
        tiles = initial.tiles_seen
    elif is_solved(config.train):
        tiles = tiles_seen(config.train)
    else:
        width = choose_projection(config.train.projection, len(bags), device)
        tiles = where_tiles_lie(width, device)
    if "vector_of" in features:
        tiles = tiles.replace("tiles are", "vectors are")
    begun = initial.noted(origin.noted(cohort)) if initial and origin else {}
    pretraining = pretraining_section(study, cohort, initial=begun)
    events = int(cohort.event.sum())
    budget = over_budget(len(bags), events, parameters_with_score(clinical_columns(cohort)))
    return Trained(
        folder=study.run_folder,
        models=len(endpoints.specs),
        patients=len(bags),
        events=events,
        excluded=cohort.excluded,
        tiles=tiles,
        harmonised=said_of_centres(cohort.centre) if config.train.harmonise else "",
        over_budget=budget,
        device=device.type,
        initial_weights=begun,
        began_with=initial.in_words if initial else "",
        warnings=(
            *(alarm["message"] for alarm in pretraining_alarms(pretraining)),
            *pretraining_notes(pretraining),
            *without_effect(config.train),
            *(said for said in [initial.equal_seeds(config.train) if initial else ""] if said),
        ),
        solved=is_solved(config.train),
        features=features,
        encoder=encoder,
        endpoints=endpoints.said,
        offset=endpoints.offset_said,
    )


def _mlflow(study: Study) -> Path | None:
    """Return where MLflow keeps one training after another, None where it is not asked for."""
    return study.run_folder / MLFLOW if study.config.compute.mlflow else None


def _offset(
    cohort: Cohort, means: Array, specs: Sequence[ModelSpec], config: StudyConfig
) -> OffsetModels:
    return offset_models(cohort, means, specs, strata=config.train.strata, seed=config.splits.seed)


def _rows_of(log: Sequence[LogRow], learned: tuple[str, bool]) -> list[LogRow]:
    return [row for row in log if (row["endpoint"], row["offset"]) == learned]


def _score_type(cohort: Cohort, splits: Sequence[Split], config: StudyConfig) -> str:
    """Return what the scores are: of splits that were read from a file, by what they are."""
    scheme = config.splits.scheme
    if config.splits.file:
        scheme = "leave_one_centre_out" if leave_out_centres(splits, cohort) else "stratified"
    return score_type_of(scheme)


def _features(study: Study, slide_id: str) -> dict[str, object]:
    """Return what was done to tiles before the encoder, of features that were made here."""
    path = embeddings_folder(study) / f"{slide_id}.h5"
    if tool := stored_attr(path, "imported_from"):
        return {"imported_from": tool}
    tiles = study.config.tiles.model_dump(
        mode="json", include={"min_tissue", "exclude", "context_mpp"}
    )
    return {**tiles, "stain": study.config.stain.model_dump(mode="json")}


def _vectors(bags: Sequence[Bag], slide: Embeddings, *, imported: bool) -> dict[str, object]:
    """Return what the bags have one vector of, where they have no tiles: a slide that has one tile
    here is small, and one that was imported so is a vector in the clothes of a tile.
    """
    single = imported and all(len(bag.features) == len(bag.slide_ids) for bag in bags)
    of = slide.vector_of or ("slide" if single else "")
    return {"vector_of": of} if of else {}


def _inner_models(cohort: Cohort, split: Split, config: StudyConfig) -> list[ModelSpec]:
    """Return the models of nested scores; none where a fold's training patients are too few to be
    divided, which `evaluate` says.
    """
    try:
        return nested_specs(cohort, split, config.splits, seeds=seeds_of(config.train))
    except CohortError:
        return []


def _progress(on_epoch: OnEpoch, epochs: int, outer: int, inner: int) -> tuple[OnEpoch, OnEpoch]:
    """Return one function for each of two passes over the models, so that both fill one bar."""
    total = epochs * (outer + inner)
    return lambda done, _: on_epoch(done, total), lambda done, _: on_epoch(
        epochs * outer + done, total
    )
