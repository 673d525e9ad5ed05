"""Whether metrics.json is of the tables and settings that there are now: a page with the numbers of
a former table is not written.
"""

from __future__ import annotations

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.provenance import file_hash, recorded_inputs
from pathoml.store.tables import table_names
from pathoml.study.cohort import read_cohort
from pathoml.study.current_run import outdated
from pathoml.study.inputs import changed_tables, what_changed
from pathoml.types import Json

SECTIONS = ("significance", "evaluate")  # of study.yaml, as `evaluate` records them


def refuse_other_tables(study: Study) -> None:
    """Raise StoreError if patients.csv or slides.csv say other than when the scores were evaluated,
    or metrics.json is of other scores than those that there are now.

    A folder of a run may be read without the tables; then there is nothing to compare.
    """
    if sentence := outdated(study.run_folder, "evaluate"):
        raise StoreError(f"{study.run_folder}: {sentence}")
    recorded = recorded_inputs(study.run_folder, "evaluate")
    if not recorded or not _has_tables(study):
        return
    changed = changed_tables(recorded, read_cohort(study))
    if changed:
        raise StoreError(
            f"{study.run_folder}/metrics.json is of other tables than there are now"
            f" ({'; '.join(changed)}). Run `pathoml run`, or `pathoml evaluate` where nothing was"
            " trained, first."
        )


def stale_alarms(study: Study) -> list[Json]:
    """Return an alarm where study.yaml says other than what the scores were evaluated with, and
    where readings were weighed against other tables or phenotypes than there are now.
    """
    gone = [outdated(study.run_folder, step) for step in ("explain", "discover")]
    found = [_other_settings(study), _other_readings(study), *gone]
    return [{"name": "stale", "message": message} for message in found if message]


def _other_settings(study: Study) -> str:
    recorded = recorded_inputs(study.run_folder, "evaluate")
    now = study.config.model_dump(mode="json", include=set(SECTIONS))
    was = {name: recorded[name] for name in SECTIONS if name in recorded}
    changed = what_changed(was, {name: now[name] for name in was})
    return (
        "The numbers of this page are of other settings than those of study.yaml now:"
        f" {'; '.join(changed)}. Run `pathoml evaluate`."
        if changed
        else ""
    )


def _other_readings(study: Study) -> str:
    recorded = recorded_inputs(study.run_folder, "labels")
    if not recorded or not _has_tables(study):
        return ""
    changed = changed_tables(recorded, read_cohort(study))
    codebook = "features/codebook.json"
    if recorded.get(codebook) != file_hash(study.run_folder / codebook):
        changed.append("phenotypes")
    return (
        "What raters said of the phenotypes was weighed against others than there are now:"
        f" {'; '.join(changed)}. Run `pathoml discover --labels FILE` again."
        if changed
        else ""
    )


def _has_tables(study: Study) -> bool:
    return any((study.folder / name).exists() for name in table_names("patients"))
