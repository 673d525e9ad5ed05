"""Maps of patients whom a locked bundle scored: `predict --maps`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pathoml.bags.reading import read_bags
from pathoml.bundles.new_centres import harmonise_new_centres
from pathoml.bundles.opening import input_of, open_bundle, refuse_other_input
from pathoml.compute.devices import prepare_device
from pathoml.config import Study
from pathoml.explanation.contributions import explain_features
from pathoml.explanation.maps import Subject, write_maps
from pathoml.explanation.recipe import EXPLAIN_OUTPUTS, EXPLAIN_VERSION
from pathoml.store.files import sha256_of_file
from pathoml.store.provenance import MODELS, file_hashes
from pathoml.store.publishing import publishing
from pathoml.store.scores import SCORES
from pathoml.study.cohort import cohort_without_outcomes
from pathoml.study.layout import embeddings_folder
from pathoml.study.run_folder import BUNDLE
from pathoml.training.models import load_models
from pathoml.training.scoring import FoldScores
from pathoml.types import Recipe


def explain_predicted(
    study: Study,
    bundle_folder: Path,
    on_slide: Callable[[int, int], None],
    *,
    run_folder: Path | None = None,
) -> Mapping[str, str]:
    """Write the maps of patients whom a locked bundle scored into runs/NAME/; outcomes are not
    opened.

    None of the bundle's models saw them, so all explain and, in turns by seed, judge. Colours are
    on the scale of these patients.

    Args:
        run_folder: of the scores; runs/NAME of the bundle's name if not given.

    Raises:
        ConfigError: the study's tiles are not what the bundle was trained on.
        StoreError: the bundle or an embedding was changed.
    """
    bundle = open_bundle(bundle_folder)
    cohort, bags, first = read_bags(cohort_without_outcomes(study), embeddings_folder(study))
    refuse_other_input(bundle, input_of(study, first))
    stack, specs, _ = load_models(bundle_folder / MODELS, prepare_device(study.config.compute))
    bags, _ = harmonise_new_centres(stack, bags)
    nobody = np.zeros(len(bags))
    ensemble = FoldScores(
        repeat="locked",
        fold="all",
        reference=bundle["reference"],
        sd=bundle["out_of_fold"]["sd"],
        cutoff=0.0,
        centred=nobody,
        is_training=nobody > 0,
        models=tuple(range(len(specs))),
    )
    target = run_folder or study.runs_folder / bundle["name"]
    recipe = Recipe(
        step="explain",
        inputs={
            "bundle": sha256_of_file(bundle_folder / BUNDLE),
            **file_hashes(target, (SCORES,)),
            "version": EXPLAIN_VERSION,
        },
    )
    with publishing(target, recipe, EXPLAIN_OUTPUTS) as out:
        subject = Subject(
            folder=out.folder,
            cohort=cohort,
            bags=bags,
            explain=lambda _, bag: explain_features(
                stack, [ensemble], bag.features, centre=bag.centre
            ),
            score_type="locked",
        )
        drawn = write_maps(study, subject, recipe, on_slide=on_slide)
        out.note(scale_limit=drawn.scale_limit)
    return drawn.failures
