"""The names of a run's files, each written once, and where the run's tiles and embeddings lie, as
the run itself says: the viewer loads no encoder, and with it no torch, to find a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.files import read_json
from pathoml.store.hdf5 import stored_attr
from pathoml.store.provenance import MODELS, MODELS_INDEX, PROVENANCE
from pathoml.store.ratings import KEY, current_sheet
from pathoml.store.scores import BASELINES, NESTED, REPEATS, SCORES, SEEDS
from pathoml.study.layout import grid_name

BUNDLE = "bundle.json"  # of bundles/NAME: what a locked model is; written last


@dataclass(frozen=True)
class RunFolder:
    """runs/RUN, or another folder of a run, and where its files lie."""

    path: Path

    @property
    def resolved(self) -> Path:
        """The configuration that the run was made, or last evaluated, with."""
        return self.path / "study.resolved.yaml"

    @property
    def provenance(self) -> Path:
        """Which step was done with what."""
        return self.path / PROVENANCE

    @property
    def splits(self) -> Path:
        """Who trained and who was tested."""
        return self.path / "splits.json"

    @property
    def models(self) -> Path:
        """The weights, and models.json that lists them."""
        return self.path / MODELS

    @property
    def models_index(self) -> Path:
        return self.models / MODELS_INDEX

    @property
    def scores(self) -> Path:
        """A row per patient."""
        return self.path / SCORES

    @property
    def imported(self) -> Path:
        """The scores as they were imported."""
        return self.path / "imported.csv"

    @property
    def baselines(self) -> Path:
        return self.path / BASELINES

    @property
    def nested_scores(self) -> Path:
        return self.path / NESTED

    @property
    def seed_scores(self) -> Path:
        return self.path / SEEDS

    @property
    def repeat_scores(self) -> Path:
        """A row per patient and partition: comparable within a fold."""
        return self.path / REPEATS

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def metrics_table(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def start_stop(self) -> Path:
        """Patients as intervals, for a model with a treatment that begins later."""
        return self.path / "start_stop.csv"

    @property
    def cohort_table(self) -> Path:
        """The analysed patients as they were read, for R."""
        return self.path / "cohort.csv"

    @property
    def imputed(self) -> Path:
        """The covariates with their empty cells drawn, one set below another."""
        return self.path / "imputed.csv"

    @property
    def permutation(self) -> Path:
        return self.path / "permutation.json"

    @property
    def instability(self) -> Path:
        return self.path / "instability.json"

    @property
    def instability_table(self) -> Path:
        """A row per patient: how far score and risks move over resamples."""
        return self.path / "instability.csv"

    @property
    def analysis_r(self) -> Path:
        """With which a statistician repeats the numbers."""
        return self.path / "analysis.R"

    @property
    def endpoints(self) -> Path:
        """The secondary endpoints, a folder each, named by study/endpoints.py."""
        return self.path / "endpoints"

    @property
    def offset(self) -> Path:
        """The offset score, with the files that the run's own score has (train.offset)."""
        return self.path / "offset"

    @property
    def attention(self) -> Path:
        """The maps of `explain`."""
        return self.path / "attention"

    def map_of(self, slide_id: str) -> Path:
        """Return the file of a slide's map."""
        return self.attention / f"{slide_id}.h5"

    def maps(self) -> list[Path]:
        """Return the files of all maps, in the order of their names."""
        return sorted(self.attention.glob("*.h5"))

    @property
    def faithfulness(self) -> Path:
        """Which maps hold."""
        return self.path / "faithfulness.json"

    @property
    def features(self) -> Path:
        """What `discover` found."""
        return self.path / "features"

    @property
    def phenotypes(self) -> Path:
        return self.features / "phenotypes.csv"

    @property
    def codebook(self) -> Path:
        return self.features / "codebook.json"

    @property
    def labels(self) -> Path:
        """What raters called the phenotypes."""
        return self.features / "labels.json"

    @property
    def naming_sheet(self) -> Path:
        """The phenotypes as raters see them: the sheet of the codebook that is there now."""
        return self.features / current_sheet(self.features)

    @property
    def naming_key(self) -> Path:
        """Which phenotype each item of the naming sheet is."""
        return self.naming_sheet / KEY

    def assignments_of(self, slide_id: str) -> Path:
        """Return the file that says to which phenotype each tile of a slide belongs."""
        return self.features / "assignments" / f"{slide_id}.h5"

    def spots_of(self, slide_id: str) -> Path:
        """Return the table of a slide's spots."""
        return self.features / "spots" / f"{slide_id}.csv"

    @property
    def drift(self) -> Path:
        """Of `predict`."""
        return self.path / "drift.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"


def run_tiles_folder(study: Study) -> Path | None:
    """Return tiles/GRID of the run's models; before training the grid of study.yaml, else the
    newest; None if nothing was tiled.
    """
    tiles, index = study.all_tiles, RunFolder(study.run_folder).models_index
    stated = read_json(index) if index.is_file() else {}
    tile_px, mpp = (
        stated.get("tile_px", study.config.tiles.tile_px),
        stated.get("mpp", study.config.tiles.mpp),
    )
    if tile_px and mpp and (tiles / grid_name(int(tile_px), float(mpp))).is_dir():
        return tiles / grid_name(int(tile_px), float(mpp))
    context = study.config.tiles.context_mpp
    around = (
        grid_name(0, context).removeprefix("0px") if context else "none"
    )  # the coarser of two magnifications is not what is mapped
    grids = [p for p in tiles.glob("*px_*mpp") if p.is_dir() and not p.name.endswith(around)]
    return max(grids, key=lambda p: p.stat().st_mtime) if grids else None


def run_embeddings(study: Study, slide_id: str) -> Path | None:
    """Return the file of a slide's embeddings that the run was trained on, known by its content;
    None if the slide had none then.

    Raises:
        StoreError: the run was trained on other embeddings than those that are there now.
    """
    provenance = RunFolder(study.run_folder).provenance
    steps = read_json(provenance).get("steps", {}) if provenance.is_file() else {}
    trained_on = steps.get("train", {}).get("inputs", {}).get("embeddings", {}).get(slide_id, "")
    if not trained_on:
        return None
    for path in (
        folder / f"{slide_id}.h5" for folder in study.all_embeddings.glob("*") if folder.is_dir()
    ):
        if stored_attr(path, "content_sha256") == trained_on:
            return path
    raise StoreError(
        f"The embeddings of slide {slide_id} changed since the run was trained. Run `pathoml run`."
    )
