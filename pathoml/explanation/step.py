"""Step `explain` as a whole: every patient's tiles, on one scale for the cohort, as HDF5, QuPath GeoJSON and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import percentileofscore

from pathoml.bags.reading import read_bags
from pathoml.bundles.lock import input_of, open_bundle, refuse_other_input
from pathoml.bundles.predict import cohort_without_outcomes
from pathoml.compute.devices import prepare_device
from pathoml.config import Study
from pathoml.errors import SlideError
from pathoml.explanation.contributions import BagExplanation, explain_bag, explain_features, slide_faithfulness, slide_maps
from pathoml.explanation.faithfulness import FLAGGED_WARNING, SlideFaithfulness, rank_agreement, share_from, summarise
from pathoml.explanation.gallery import Gallery
from pathoml.explanation.marks import NOT_CHECKED, UNFAITHFUL, UNFAITHFUL_SENTENCE, class_mark, flagged_sentence
from pathoml.explanation.overlay import MapScale, cohort_scale, draw_map, draw_tiles, tile_colours
from pathoml.recipes import EXPLAIN_VERSION
from pathoml.slides.identity import by_id
from pathoml.slides.reading import open_slide
from pathoml.store._hdf5 import read_tiles, write_attention
from pathoml.store.files import atomic_path, sha256_of_file, sweep_temporaries, write_json
from pathoml.store.geojson import tile_collection, write_geojson
from pathoml.store.provenance import record_step
from pathoml.study.layout import embeddings_folder, tiles_folder
from pathoml.tiling.step import flags_at, png_bytes, write_failures
from pathoml.training.model_stack import ModelStack, load_models
from pathoml.training.run import bag_slides, load_run
from pathoml.training.scoring import FoldScores
from pathoml.types import AttentionMap, Bag, Cohort, Image, Recipe

NOTHING = np.empty((0, 0))


ExplainOne = Callable[[int, Bag], BagExplanation]  # a patient's place in the cohort, and the patient's bag


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """Whose maps are drawn, and by which models."""

    run_folder: Path
    cohort: Cohort
    bags: Sequence[Bag]
    stack: ModelStack
    explain: ExplainOne
    score_type: str


def explain_study(study: Study, recipe: Recipe, on_slide: Callable[[int, int], None]) -> dict[str, str]:
    """Write attention/SLIDE.h5, .geojson, .png and _tiles.png for every slide, the cohort's gallery, and faithfulness.json.

    Returns:
        slide_id -> reason for slides whose pixels could not be read; their numbers are written all the same.
    """
    run = load_run(study)
    subject = _Subject(
        run_folder=study.run_folder,
        cohort=run.cohort,
        bags=run.bags,
        stack=run.stack,
        explain=lambda position, bag: explain_bag(run.stack, run.folds, bag, position),
        score_type="loco" if study.config.splits.scheme == "leave_one_centre_out" else "oof",
    )
    return _explain(study, subject, recipe, on_slide)


def explain_predicted(study: Study, bundle_folder: Path, on_slide: Callable[[int, int], None]) -> dict[str, str]:
    """Write the maps of patients whom a locked bundle scored into runs/NAME/; outcomes are not opened.

    None of the bundle's models saw them, so all explain and, in turns by seed, judge. Colours are on the scale of these patients.

    Raises:
        ConfigError: the study's tiles are not what the bundle was trained on.
        StoreError: the bundle or an embedding was changed.
    """
    bundle = open_bundle(bundle_folder)
    cohort, bags, first = read_bags(cohort_without_outcomes(study), embeddings_folder(study))
    refuse_other_input(bundle, input_of(study, first))
    stack, specs, _ = load_models(bundle_folder / "models", prepare_device(study.config.compute))
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
    subject = _Subject(
        run_folder=study.folder / "runs" / bundle["name"],
        cohort=cohort,
        bags=bags,
        stack=stack,
        explain=lambda _, bag: explain_features(stack, [ensemble], bag.features),
        score_type="locked",
    )
    recipe = Recipe(step="explain", inputs={"bundle": sha256_of_file(bundle_folder / "bundle.json"), "version": EXPLAIN_VERSION})
    return _explain(study, subject, recipe, on_slide)


def _explain(study: Study, subject: _Subject, recipe: Recipe, on_slide: Callable[[int, int], None]) -> dict[str, str]:
    folder = subject.run_folder / "attention"
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    explanations, found = [], _Collected()
    for position, bag in enumerate(subject.bags):
        explanation = subject.explain(position, bag)
        for index, slide_id in enumerate(bag.slide_ids):
            found.add(slide_id, explanation, bag, index, slide_faithfulness(subject.stack, explanation, bag, index, seed=position))
        explanations.append(replace(explanation, attention_by_model=NOTHING, contribution_by_model=NOTHING))  # they are large
    scale = cohort_scale([e.contribution * len(e.contribution) for e in explanations])
    risks = [e.log_risk for e in explanations]
    paths = {s.slide_id: s.path for s in subject.cohort.slides}
    total, done = sum(len(bag.slide_ids) for bag in subject.bags), 0
    failures: dict[str, str] = {}
    gallery = Gallery()
    for explanation, bag in zip(explanations, subject.bags):
        percentile = float(percentileofscore(risks, explanation.log_risk, kind="weak"))
        for tile_map in slide_maps(explanation, bag, bag_slides(study, bag), subject.score_type):
            write_attention(folder / f"{tile_map.slide_id}.h5", tile_map, recipe)
            gallery.add(tile_map, tile_map.contribution.astype(np.float64) * len(bag.features))
            found.flagged[tile_map.slide_id] = share_from(_flagged(study, tile_map), tile_map.contribution.astype(np.float64))
            try:
                mark = found.mark(tile_map.slide_id)
                _draw(folder, paths[tile_map.slide_id], tile_map, len(bag.features), scale, percentile, mark)
            except SlideError as error:
                failures[tile_map.slide_id] = by_id(str(error), tile_map.slide_id, paths[tile_map.slide_id])
            done += 1
            on_slide(done, total)
    gallery.write(folder, paths)
    events = sum(patient.event == 1 for patient in subject.cohort.patients)
    write_json(subject.run_folder / "faithfulness.json", found.to_json(events))
    write_failures(folder, failures)
    record_step(subject.run_folder, recipe, scale_limit=scale.limit)
    return failures


class _Collected:
    """What faithfulness.json will say, while the bags go by one after the other."""

    def __init__(self) -> None:
        self.checked: dict[str, SlideFaithfulness | None] = {}
        self.patient: dict[str, str] = {}
        self.log_risk: dict[str, float] = {}
        self.agreement: dict[str, float] = {}
        self.flagged: dict[str, float] = {}

    def add(self, slide_id: str, explanation: BagExplanation, bag: Bag, index: int, checked: SlideFaithfulness | None) -> None:
        self.checked[slide_id] = checked
        self.patient[slide_id], self.log_risk[slide_id] = bag.patient_id, explanation.log_risk
        self.agreement[slide_id] = rank_agreement(explanation.contribution_by_model[:, bag.slide_index == index])

    def mark(self, slide_id: str) -> str:
        """Return what has to stand on the map, "" for nothing."""
        checked = self.checked[slide_id]
        if checked is None:
            return NOT_CHECKED
        flagged = self.flagged.get(slide_id, 0.0)
        if not checked.faithful:
            return UNFAITHFUL_SENTENCE
        return flagged_sentence(flagged) if flagged > FLAGGED_WARNING else ""

    def to_json(self, events: int) -> dict[str, Any]:
        known = {slide_id: s for slide_id, s in self.checked.items() if s is not None}
        agreement = [a for a in self.agreement.values() if np.isfinite(a)]
        content: dict[str, Any] = {
            "method": "Tiles are deleted in 20 portions; judged by models that neither made the map nor saw the patient.",
            "cohort": {},
            "slides": {
                slide_id: {
                    "area": {"estimate": s.area, "low": s.low, "high": s.high, "n": s.n_tiles, "events": 0},
                    "faithful": s.faithful,
                    "bottom_area": s.bottom_area,
                    "shuffled_area": s.shuffled_area,
                    "rank_agreement": self.agreement[slide_id] if np.isfinite(self.agreement[slide_id]) else None,
                    "flagged_share": self.flagged[slide_id],
                    "flagged_warning": self.flagged[slide_id] > FLAGGED_WARNING,
                }
                for slide_id, s in known.items()
            },
            "not_checked": {
                slide_id: "fewer than 10 tiles, or no second repeat or seed that could judge"
                for slide_id, s in self.checked.items()
                if s is None
            },
        }
        if known:
            cohort = summarise(list(known.values()), [self.patient[s] for s in known], np.array([self.log_risk[s] for s in known]))
            content["cohort"] = {
                "area": {"estimate": cohort.area, "low": cohort.low, "high": cohort.high, "n": cohort.patients, "events": events},
                "faithful_slides": sum(s.faithful for s in known.values()),
                "slides": len(known),
                "high_risk_slides": cohort.high_risk_slides,
                "high_risk_better_than_random": _number(cohort.high_risk_better),
                "high_risk_shuffled_better_than_random": _number(cohort.high_risk_better_shuffled),
                "rank_agreement": float(np.mean(agreement)) if agreement else None,
                "flagged_share": float(np.mean(list(self.flagged.values()))),
            }
        return content


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _flagged(study: Study, tile_map: AttentionMap) -> npt.NDArray[np.bool_]:
    """Return (N,) which tiles of a map carry a flag of tiles/; none where the slide was imported without tiles."""
    path = tiles_folder(study) / f"{tile_map.slide_id}.h5"
    if not path.exists():
        return np.zeros(len(tile_map.xy_l0), dtype=bool)
    return flags_at(read_tiles(path)[0], tile_map.xy_l0) > 0


def _draw(folder: Path, path: Path | None, tile_map: AttentionMap, bag_size: int, scale: MapScale, percentile: float, mark: str) -> None:
    fraction = scale.fraction(tile_map.contribution.astype(np.float64) * bag_size)
    if path is None:
        _write_geojson(folder, tile_map, (0, 0), fraction, mark)
        return
    with open_slide(path) as reader:
        offset = getattr(reader, "bounds_l0", (0, 0))
        _write_geojson(folder, tile_map, offset, fraction, mark)
        _write_png(folder / f"{tile_map.slide_id}.png", draw_map(reader, tile_map, fraction, scale, percentile, mark))
        _write_png(folder / f"{tile_map.slide_id}_tiles.png", draw_tiles(reader, tile_map, fraction))


def _write_geojson(folder: Path, tile_map: AttentionMap, offset: tuple[int, int], fraction: npt.NDArray[np.float64], mark: str) -> None:
    colours = tile_colours(fraction, faithful=not mark.startswith(UNFAITHFUL))
    collection = tile_collection(tile_map, offset, colours, mark=mark, class_mark=class_mark(mark))
    write_geojson(folder / f"{tile_map.slide_id}.geojson", collection)


def _write_png(path: Path, image: Image) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(image))
