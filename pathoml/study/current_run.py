"""What of a run may be shown and exported: maps of the models that there are, phenotypes of these,
readings of those phenotypes, of slides that the study has. What an earlier state left is not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.provenance import file_hash, recorded_inputs, recorded_recipe
from pathoml.store.publishing import is_whole, proved_names, unfinished_steps
from pathoml.store.tables import read_study_table, table_names
from pathoml.study.run_folder import RunFolder

# step -> the files of the run whose hashes are in its recipe, and what is said of it
OF_MODELS = ("models/models.json", "scores.csv")
RESTS_ON: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "evaluate": (OF_MODELS, "The metrics", "evaluate"),
    "explain": (OF_MODELS, "The maps", "explain"),
    "discover": (OF_MODELS, "The phenotypes", "discover"),
    "labels": (
        ("features/codebook.json",),
        "What raters said of the phenotypes",
        "discover --labels FILE",
    ),
}
OF_SCORES = ("train", "import", "predict", "evaluate")
NOWHERE = ".outdated"  # no run has a file below it


@dataclass(frozen=True)
class CurrentRun(RunFolder):
    """A run's folder in which nothing is found that belongs to an earlier state of the run."""

    outdated: Mapping[str, str] = field(default_factory=dict)  # step -> a sentence
    slides: frozenset[str] | None = None  # of slides.csv; None where there is none

    @property
    def attention(self) -> Path:
        return self._unless_outdated("explain", super().attention)

    @property
    def faithfulness(self) -> Path:
        return self._unless_outdated("explain", super().faithfulness)

    @property
    def features(self) -> Path:
        return self._unless_outdated("discover", super().features)

    @property
    def labels(self) -> Path:
        return self._unless_outdated("labels", super().labels)

    def maps(self) -> list[Path]:
        """Return the files of the maps of the study's slides, in the order of their names."""
        proved = proved_names(self.path, "explain")
        return [
            path
            for path in super().maps()
            if (self.slides is None or path.stem in self.slides)
            and (proved is None or path.relative_to(self.path).as_posix() in proved)
        ]

    def _unless_outdated(self, step: str, path: Path) -> Path:
        return self.path / NOWHERE / path.name if step in self.outdated else path


def current_run(study: Study) -> CurrentRun:
    """Return the run's folder, in which only what is of its present state is found."""
    slides = None
    if any((study.folder / name).exists() for name in table_names("slides")):
        rows = read_study_table(study, "slides").rows
        slides = frozenset(row["slide_id"] for row in rows)
    found = {step: outdated(study.run_folder, step) for step in RESTS_ON}
    if found["discover"] and not found["labels"] and recorded_inputs(study.run_folder, "labels"):
        found["labels"] = found["discover"]
    said = {step: sentence for step, sentence in found.items() if sentence}
    return CurrentRun(study.run_folder, said, slides)


def maps_in_force(run_folder: Path) -> str:
    """Return the recipe of the run's maps, "" where there are none of its models and scores, or
    some are lost or were changed.
    """
    if outdated(run_folder, "explain") or not is_whole(run_folder, "explain"):
        return ""
    return recorded_recipe(run_folder, "explain")


def refuse_unfinished(study: Study) -> None:
    """Raise StoreError if a process was killed while scores or metrics of the run changed places:
    what lies there is no state of it.
    """
    if stopped := [step for step in unfinished_steps(study.run_folder) if step in OF_SCORES]:
        commands = " and ".join(f"`pathoml {step}`" for step in stopped)
        raise StoreError(
            f"{study.run_folder}: {commands} was stopped while files of the run changed places. Run"
            " `pathoml run` first."
        )


def outdated(run_folder: Path, step: str) -> str:
    """Return a sentence on what a step left if that is of other models, scores or phenotypes than
    the run has now, or was interrupted; "" if it stands, or nobody knows.
    """
    files, what, command = RESTS_ON[step]
    again = f"Run `pathoml {command}`."
    if step in unfinished_steps(run_folder):
        return f"{what} were changing places when pathoml was stopped. {again}"
    recorded = recorded_inputs(run_folder, step)
    changed = [
        name
        for name in files
        if name in recorded and recorded[name] != file_hash(run_folder / name)
    ]
    maps = recorded.get("maps")
    if step == "discover" and maps and maps != recorded_recipe(run_folder, "explain"):
        changed.append("maps")
    if not changed:
        return ""
    return f"{what} rest on what the run had before: {', '.join(changed)} changed since. {again}"
