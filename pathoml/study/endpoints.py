"""The secondary endpoints of a study: each is a study of its own as far as its outcome goes, on the
patients, bags and folds of the primary one, with its files in runs/RUN/endpoints/NAME.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pathoml.config import DatesConfig, EndpointConfig, Study
from pathoml.errors import CohortError, ConfigError
from pathoml.study.cohort import read_cohort
from pathoml.study.run_folder import RunFolder
from pathoml.types import Bools, Cohort, Fold, Json, Split

NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9 ._()+-]+")  # of a folder, on every file system
LONGEST_NAME = 100
WITHOUT_PRIMARY = "without the primary endpoint, whose folds are used"
WITHOUT_SLIDE = "no slide could be embedded"


@dataclass(frozen=True, kw_only=True)
class SecondaryEndpoint:
    """An endpoint beside the primary one, and the patients of whom it is known."""

    name: str  # as study.yaml has it, a title
    study: Study  # whose endpoint is this one, and whose run lies in runs/RUN/endpoints/NAME
    cohort: Cohort  # patients who have both endpoints, in the primary cohort's order
    known: Bools  # (B,) of the primary cohort's patients: whether they are in `cohort`

    @property
    def run(self) -> RunFolder:
        """runs/RUN/endpoints/NAME."""
        return RunFolder(self.study.run_folder)

    def splits(self, splits: Sequence[Split]) -> list[Split]:
        """Return the primary endpoint's splits without the patients who lack this endpoint."""
        chosen = set(self.cohort.patient_ids)

        def kept(ids: Sequence[str]) -> tuple[str, ...]:
            return tuple(p for p in ids if p in chosen)

        return [
            replace(
                split,
                folds=tuple(
                    Fold(name=f.name, train=kept(f.train), test=kept(f.test)) for f in split.folds
                ),
            )
            for split in splits
        ]

    @property
    def flow(self) -> Json:
        """Patients of the table, analysed, events of each kind, and the reasons for leaving out."""
        codes = Counter(p.event for p in self.cohort.patients)
        reasons = Counter(reason for _, reason in self.cohort.excluded)
        return {
            "patients": len(self.cohort.patients) + len(self.cohort.excluded),
            "analysed": len(self.cohort.patients),
            "events": codes[1],
            "competing_events": codes[2],
            "censored": codes[0],
            "excluded": dict(sorted(reasons.items())),
        }


def secondary_endpoints(study: Study, primary: Cohort) -> list[SecondaryEndpoint]:
    """Return the secondary endpoints of study.yaml with their outcomes.

    Args:
        primary: the patients who are trained and scored for the primary endpoint.

    Raises:
        ConfigError: two endpoints of one name; dates that count from another day than the endpoint.
        CohortError: patients.csv lacks a column, or rows are refused.
    """
    return [_endpoint(one, primary) for one in endpoint_studies(study)]


def endpoint_studies(study: Study) -> list[Study]:
    """Return for each secondary endpoint the study as if it were the primary one, with runs/RUN/
    endpoints/NAME as its run.

    Raises:
        ConfigError: two endpoints of one name; dates that count from another day than the endpoint.
    """
    config, seen = study.config, {endpoint_folder(study.config.endpoint.name).lower()}
    studies = []
    for endpoint in config.secondary_endpoints:
        folder = endpoint_folder(endpoint.name)
        if folder.lower() in seen:
            raise ConfigError(
                f"study.yaml: secondary_endpoints: the name {endpoint.name!r} stands twice among"
                " the endpoints, and it names a folder of the run. Give each a name of its own."
            )
        seen.add(folder.lower())
        studies.append(
            study.model_copy(
                update={
                    "config": config.model_copy(
                        update={
                            "endpoint": endpoint,
                            "secondary_endpoints": (),
                            "dates": _dates_of(study, endpoint),
                            "run": f"{config.run}/endpoints/{folder}",
                        }
                    )
                }
            )
        )
    return studies


def offset_study(study: Study) -> Study:
    """Return the study as if the offset score were its score, with runs/RUN/offset as its run."""
    config = study.config
    update = {"secondary_endpoints": (), "run": f"{config.run}/offset"}
    return study.model_copy(update={"config": config.model_copy(update=update)})


def endpoint_folder(name: str) -> str:
    """Return the folder's name of an endpoint: its own, without what a file system may refuse.

    >>> endpoint_folder("overall survival"), endpoint_folder("PFS/OS: first")
    ('overall survival', 'PFS_OS_ first')
    """
    return NOT_IN_A_NAME.sub("_", name)[:LONGEST_NAME].strip(" .") or "_"


def untrainable(endpoint: SecondaryEndpoint, splits: Sequence[Split]) -> str:
    """Return why models of the endpoint cannot be trained on the primary endpoint's folds, "" if
    they can.
    """
    happened = {p.patient_id for p in endpoint.cohort.patients if p.event == 1}
    for split in endpoint.splits(splits):
        for fold in split.folds:
            if not happened.intersection(fold.train):
                return (
                    f"{split.name}, fold {fold.name} has no event of {endpoint.name} among its"
                    f" {len(fold.train)} training patients"
                )
    return ""


def _endpoint(study: Study, primary: Cohort) -> SecondaryEndpoint:
    try:
        whole = read_cohort(study)
    except CohortError as error:
        raise CohortError(f"secondary_endpoints, {study.config.endpoint.name}: {error}") from error
    analysed, left_out = set(primary.patient_ids), dict(primary.excluded)
    by_id = {p.patient_id: p for p in whole.patients if p.patient_id in analysed}
    patients = tuple(by_id[p] for p in primary.patient_ids if p in by_id)
    chosen = {p.patient_id for p in patients}
    elsewhere = tuple(
        (
            p.patient_id,
            WITHOUT_SLIDE if left_out.get(p.patient_id) == WITHOUT_SLIDE else WITHOUT_PRIMARY,
        )
        for p in whole.patients
        if p.patient_id not in chosen
    )
    return SecondaryEndpoint(
        name=study.config.endpoint.name,
        study=study,
        cohort=replace(
            whole,
            patients=patients,
            slides=tuple(s for s in whole.slides if s.patient_id in chosen),
            excluded=whole.excluded + elsewhere,
        ),
        known=np.array([p in chosen for p in primary.patient_ids], dtype=bool),
    )


def _dates_of(study: Study, endpoint: EndpointConfig) -> DatesConfig:
    """Return the columns with dates that hold for an endpoint: all but the day of the primary
    endpoint's own event or last visit, if both count from one day.
    """
    primary, dates = study.config.endpoint, study.config.dates
    if _same_day(endpoint.time_zero, primary.time_zero):
        own = dates.exit if endpoint.time == primary.time else None
        return dates.model_copy(update={"exit": own})
    if dates.entry or dates.landmark_months:
        key = "dates.entry" if dates.entry else "dates.landmark_months"
        raise ConfigError(
            f"study.yaml: secondary_endpoints: {endpoint.name} counts from {endpoint.time_zero!r},"
            f" but {key} counts from the primary endpoint's {primary.time_zero!r}. Give both the"
            " same time_zero, or analyse it in a study.yaml of its own."
        )
    return DatesConfig()


def _same_day(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
