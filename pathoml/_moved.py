"""Modules by the names that they had before there were rooms: found, with a warning that names the
new place. They go with the release after 0.1.0.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# old -> the modules that now hold what it held, the first of them its heir
MOVED = {
    "analysis_plan": "evaluation.analysis_plan",
    "artefacts": "tiling.artefacts",
    "attention": "explanation.contributions",
    "attribution": "explanation.integrated_gradients",
    "baseline_table": "evaluation.included_excluded",
    "baselines": "training.baselines",
    "batch_sizes": "embedding.batch_sizes",
    "bundle": "bundles.locking bundles.opening",
    "cli.border": "cli.exit_codes",
    "cli.verbs": "cli.help",
    "cohort": "study.cohort",
    "comparison": "evaluation.comparison",
    "compiling": "embedding.compiling",
    "devices": "compute.devices",
    "discovery.sheets": "slides.sheets",
    "drift": "bundles.drift",
    "effects": (
        "evaluation.interactions evaluation.competing_risks "
        "evaluation.model_form evaluation.planning"
    ),
    "embed_fleet": "embedding.fleet compute.processes",
    "embed_jobs": "embedding.jobs study.layout",
    "encoder_model": "embedding.network",
    "faithfulness": "explanation.faithfulness",
    "files": "store.files",
    "folding": "embedding.batch_norm",
    "freed_memory": "compute.memory",
    "imported_scores": "interop.scores",
    "joining": "embedding.magnifications",
    "leaks": "evaluation.leaks evaluation.evidence",
    "ledger": "store.hypotheses",
    "losses": "training.losses",
    "machine_memory": "compute.measured",
    "map_figures": "interop.figures",
    "map_marks": "explanation.marks",
    "model_card": "bundles.model_card",
    "model_stack": "training.model_stack training.models",
    "nested": "training.nested",
    "overlay": "explanation.overlay slides.pictures",
    "packs": "store.packs",
    "permutation": "evaluation.permutation",
    "permutation_blocks": "evaluation.permutation_blocks",
    "predicted_risk": "evaluation.predicted_risk",
    "prediction": "bundles.predicting",
    "probing": "store.probe",
    "prognostic_score": "evaluation.nomogram",
    "projection": "bags.projection",
    "prospective": "evaluation.locked_scores",
    "provenance": "store.provenance",
    "quality": "tiling.quality",
    "r_handover": "evaluation.analysis_r",
    "ready_encoder": "embedding.ready_encoder",
    "recipes": (
        "discovery.recipe evaluation.recipe explanation.recipe report.recipe "
        "store.provenance training.recipe"
    ),
    "recolouring": "embedding.recolouring",
    "regions": "tiling.regions",
    "report.further_figures": "report.detail_figures",
    "report.sections": "report.details",
    "restaining": "embedding.restaining",
    "ridge_models": "training.fit",
    "runs": "training.run",
    "score_columns": "store.scores",
    "scoring": "training.scoring store.scores",
    "shards": "compute.shards",
    "slides.identifiers": "slides.identity slides.contents",
    "slides.jpeg_tiff": "slides.readers.jpeg_tiff",
    "slides.openslide_reader": "slides.readers.openslide",
    "slides.plain_image": "slides.readers.plain_image",
    "slurm_jobs": "compute.slurm",
    "specimens": "evaluation.specimens",
    "split_files": "study.split_files",
    "splits": "study.splits",
    "stacked_layers": "training.stacked_layers",
    "stains": "slides.stains",
    "start_stop": "evaluation.start_stop",
    "survival.r_script": "evaluation.analysis_r",
    "tables": "store.tables",
    "tile_bank": "bags.tile_bank",
    "tile_gallery": "explanation.gallery",
    "timing": "study.timing",
    "tissue": "tiling.tissue",
    "tissue_folds": "tiling.tissue_folds",
    "training_log": "training.log",
    "training_run": "training.step training.all_folds store.scores types",
    "viewer.answers": "viewer.requests",
    "viewer.gate": "viewer.access",
    "viewer.run_folders": "study.run_folder",
    "withdrawal": "store.withdrawal",
}


class Moved(MetaPathFinder, Loader):
    """Finds `pathoml.tables`, which is pathoml.store.tables now; asked after all other finders."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return how an old name is loaded, None for any other."""
        package, _, old = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == "pathoml" and old in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module whose names are looked for in their new places."""
        old = spec.name.partition(".")[2]
        return _OldModule(spec.name, [f"pathoml.{place}" for place in MOVED[old].split()])

    def exec_module(self, module: ModuleType) -> None:
        """Warn whoever imports it."""
        warnings.warn(f"{module.__doc__}", DeprecationWarning, stacklevel=2)


class _OldModule(ModuleType):
    def __init__(self, name: str, places: Sequence[str]) -> None:
        super().__init__(name, f"{name} has moved: import from {' or '.join(places)}.")
        self._places = places

    def __getattr__(self, name: str) -> Any:
        for place in self._places if not name.startswith("__") else ():
            found = importlib.import_module(place)
            if hasattr(found, name):
                return getattr(found, name)
        raise AttributeError(f"{self.__doc__} None of them has {name!r}.")
