"""Step `evaluate`: metrics.json, permutation.json and what a statistician repeats them with, where
the scores, the tables or the configuration changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pathoml.compute.shards import Shard, in_part
from pathoml.config import Study, opened, resolved_yaml
from pathoml.evaluation.recipe import EVALUATE_OUTPUTS, evaluate_recipe
from pathoml.store.files import read_json, write_text
from pathoml.store.locks import at_work_on_run
from pathoml.store.publishing import is_fresh, publishing
from pathoml.study.cohort import cohort_of, read_tables
from pathoml.study.inputs import say_why
from pathoml.study.run_folder import RunFolder
from pathoml.training.imported import renew_imported_run
from pathoml.training.score_source import refuse_stale_scores
from pathoml.types import SILENT, Json, Progress


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What metrics.json, permutation.json and instability.json say; empty where only a part was
    computed.
    """

    fresh: bool  # nothing had to be done
    metrics: Json
    permutation: Json
    instability: Json


def evaluate_study(
    study: Study | Path | str, *, shard: Shard | None = None, progress: Progress = SILENT
) -> Evaluated:
    """Evaluate a run's scores if they, the tables or the configuration changed.

    Args:
        study: the study, or its folder.
        shard: compute only this part of the permutations and resamples; the whole puts them
            together.

    Raises:
        StoreError: there are no scores, or the run changed since it was trained.
        CohortError: the tables are refused.
    """
    study = opened(study)
    files, tables = RunFolder(study.run_folder), read_tables(study)
    cohort = cohort_of(study, *tables)
    refuse_stale_scores(study, cohort)
    renewed = renew_imported_run(study, cohort)
    recipe = evaluate_recipe(study, cohort)
    fresh = is_fresh(study.run_folder, recipe, EVALUATE_OUTPUTS)
    permutations = study.config.significance.permutations if files.models_index.exists() else 0
    resamples = study.config.significance.resamples if files.models_index.exists() else 0
    wanted = f"{permutations or 'no'} permutations"
    wanted += f", {resamples} resamples{in_part(shard)}" if resamples else in_part(shard)
    if not permutations and study.config.significance.permutations:
        wanted += ": these scores were not trained here"
    progress.heading(f"evaluate  runs/{study.config.run}: {'up to date' if fresh else wanted}")
    if renewed:
        progress.say(f"  clinical baseline of the imported scores again: {'; '.join(renewed)}")
    if not fresh:
        say_why(progress, study.run_folder, recipe, outputs=EVALUATE_OUTPUTS)
        if few := study.config.significance.why_no_intervals:
            progress.say(f"  {few}")
        # here, because loading torch takes seconds
        from pathoml.evaluation.permutation_blocks import remove_blocks
        from pathoml.evaluation.sections import evaluate_scores, repeat_part

        if shard:
            with at_work_on_run(study.run_folder, f"evaluate{in_part(shard)}", shared=True):
                repeat_part(study, shard, progress)
        else:
            with publishing(study.run_folder, recipe, EVALUATE_OUTPUTS) as out:
                evaluate_scores(study, progress, folder=out.folder, tables=tables)
                write_text(RunFolder(out.folder).resolved, resolved_yaml(study.config))
            remove_blocks(study)  # permutation.json holds them all
    elif not shard:
        _renew_configuration(study)
    if shard:
        return Evaluated(fresh=fresh, metrics={}, permutation={}, instability={})
    return Evaluated(
        fresh=fresh,
        metrics=read_json(files.metrics),
        permutation=read_json(files.permutation),
        instability=read_json(files.instability),
    )


def _renew_configuration(study: Study) -> None:
    """Write study.resolved.yaml where a key changed that neither models nor metrics rest on: these
    are up to date under the configuration that there is now.
    """
    path, text = RunFolder(study.run_folder).resolved, resolved_yaml(study.config)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
