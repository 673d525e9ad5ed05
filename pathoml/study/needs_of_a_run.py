"""What a run still takes once there are embeddings: bytes, files and hours of its steps.

Source of what is assumed: benchmarks/results/heads.md (38 CPU seconds for 25 solved models of 246
patients x 2,000 tiles x 1,024 features), and the sizes of files of the demo and of docs/scale.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study
from pathoml.encoders.finding import find_encoder
from pathoml.errors import EncoderError
from pathoml.study.made_files import mean_bytes
from pathoml.study.run_folder import RunFolder
from pathoml.types import Cohort

SOLVED_HEADS = ("mean_extremes", "ridge_cox")  # known without torch; others are trained
SLOWER = 10.0  # times, of a head that is trained
BOOTSTRAP_S = 0.01
MAP_FILE, MAP_EACH, MAP_FILES, MAP_S, MAP_TILE_S = 3_000_000, 600, 4, 1.0, 5e-4
PHENOTYPES_FILE, PHENOTYPES_EACH, PHENOTYPES_S = 2_000_000, 200, 1.0
# the sheets by which phenotypes are named: there are the more, the larger the cohort, to a limit
SHEETS_ONCE, SHEETS_EACH, SHEETS_GROW = 4_000_000, 450_000, 75
TABLES, TABLE_FILES, REPORT = 800_000, 15, 4_000_000  # of train and of evaluate; of the report
BEGIN_S = 5.0  # until torch is loaded
PROJECTED = 64  # columns of a model's projection, if study.yaml does not say
MODEL_S = 1.5 / (246 * 2_000 * 1_024)  # a solved model, by patient's tile and number of features
MODEL_FIXED_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one step still takes."""

    step: str
    what: str  # "98 slides", "75 models"
    folder: Path  # where it writes
    size: int  # bytes, 0 where nothing is to do
    files: int
    seconds: float
    stands_on: str  # what the figures rest on


def run_needs(
    study: Study, cohort: Cohort, tiles_of: Mapping[str, float], *, trains: bool
) -> list[Need]:
    """Return what training, evaluation, maps and phenotypes of a run still take.

    Args:
        tiles_of: slide_id -> its tiles.
    """
    config, run = study.config, RunFolder(study.run_folder)
    patients, tiles = len(cohort.patients), sum(tiles_of.values())
    try:
        dim = find_encoder(config.encoder).dim
    except EncoderError:
        dim = 1024
    by_centre = config.splits.scheme == "leave_one_centre_out"
    folds = len(set(cohort.centre.tolist())) if by_centre else config.splits.folds
    solved = config.train.head in SOLVED_HEADS
    repeats = 1 if by_centre else config.splits.repeats
    seeds = 1 if solved else config.train.seeds
    models = folds * repeats * seeds * (1 + len(config.secondary_endpoints))
    model_s = MODEL_FIXED_S + MODEL_S * (tiles or patients) * dim * (1 if solved else SLOWER)
    asked = config.significance.repeats
    enough = -(-600 // max(patients, 1))  # partitions that score 600 patients in all
    partitions = min(repeats, max(1, enough) if asked == "auto" else asked)
    again = folds * partitions * (1 if solved else config.significance.seeds)
    permuted = config.significance.permutations * again + config.significance.resamples * folds
    basis = "assumed"
    projected = config.train.projection if isinstance(config.train.projection, int) else PROJECTED
    needs = []
    if trains and not run.scores.exists():
        inner = folds * folds * seeds if config.train.nested else 0
        needs.append(
            Need(
                step="train",
                what=f"{models} models",
                folder=run.path,
                size=TABLES + round(models / max(seeds, 1) * 4 * dim * projected),
                files=models + TABLE_FILES,
                seconds=BEGIN_S + (models + inner) * model_s,
                stands_on=basis,
            )
        )
    if not run.metrics.exists():
        needs.append(
            Need(
                step="evaluate",
                what=f"{permuted} models by chance" if trains and permuted else "scores",
                folder=run.path,
                size=TABLES,
                files=TABLE_FILES,
                seconds=BEGIN_S
                + (permuted * model_s if trains else 0)
                + config.significance.bootstraps * BOOTSTRAP_S,
                stands_on=basis,
            )
        )
    if trains and tiles:
        needs += _maps(study, cohort, tiles_of)
    if not run.report.exists():
        needs.append(
            Need(
                step="report",
                what="1 page",
                folder=run.path,
                size=REPORT,
                files=1,
                seconds=BEGIN_S,
                stands_on=basis,
            )
        )
    return needs


def _maps(study: Study, cohort: Cohort, tiles_of: Mapping[str, float]) -> list[Need]:
    run, needs = RunFolder(study.run_folder), []
    done = {path.stem for path in run.maps()}
    todo = [slide.slide_id for slide in cohort.slides if slide.slide_id not in done]
    tiles = sum(tiles_of[i] for i in todo)
    each = mean_bytes(run.attention, (".h5", ".png", ".geojson", "_tiles.png"))
    if todo:
        needs.append(
            Need(
                step="explain",
                what=f"{len(todo)} slides",
                folder=run.attention,
                size=round(len(todo) * (each or MAP_FILE) + (0 if each else tiles * MAP_EACH)),
                files=MAP_FILES * len(todo),
                seconds=BEGIN_S + len(todo) * MAP_S + tiles * MAP_TILE_S,
                stands_on=f"{len(done)} maps" if each else "assumed",
            )
        )
    if not run.codebook.exists():
        every = sum(tiles_of.values())
        needs.append(
            Need(
                step="discover",
                what=f"{len(tiles_of)} slides",
                folder=run.features,
                size=round(
                    SHEETS_ONCE
                    + min(len(tiles_of), SHEETS_GROW) * SHEETS_EACH
                    + len(tiles_of) * PHENOTYPES_FILE
                    + every * PHENOTYPES_EACH
                ),
                files=3 * len(tiles_of) + TABLE_FILES,
                seconds=BEGIN_S + len(tiles_of) * PHENOTYPES_S + every * MAP_TILE_S,
                stands_on="assumed",
            )
        )
    return needs
