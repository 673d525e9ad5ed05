"""analysis_plan.yaml: which interactions were planned before anybody looked. Without it, or if it
was changed since, they are exploratory.

The plan is stamped by `sha256sum analysis_plan.yaml > analysis_plan.sha256`; the hash goes into
metrics.json, and a copy of it belongs where the study cannot change it: the registry entry, the
ethics application, the protocol paper.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import read_yaml
from pathoml.errors import ConfigError

KEYS = {"treatment_interaction", "subgroups"}
PLAN, STAMP = "analysis_plan.yaml", "analysis_plan.sha256"


@dataclass(frozen=True, kw_only=True)
class AnalysisPlan:
    """What was planned, and the hash of the file that says so; empty where there is no plan."""

    treatment_interaction: bool = False
    subgroups: tuple[str, ...] = ()
    sha256: str = ""


def read_analysis_plan(study_folder: Path) -> AnalysisPlan:
    """Return the plan of a study, or an empty one.

    Raises:
        ConfigError: the plan is not stamped, was changed after it was, or has a key that is not
            known.
    """
    path, stamp = study_folder / PLAN, study_folder / STAMP
    if not path.exists():
        return AnalysisPlan()
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if not stamp.exists():
        raise ConfigError(
            f"{path.name} is not stamped. Run `sha256sum analysis_plan.yaml > analysis_plan.sha256`"
            f" in {study_folder}."
        )
    stamped = (stamp.read_text(encoding="utf-8").split() or [""])[0].lower()
    if stamped != found:
        raise ConfigError(
            f"{path.name} was changed after it was stamped ({found[:12]}, not {stamped[:12]}). "
            "Restore it, or stamp a new plan."
        )
    plan = read_yaml(content, path.name) or {}
    if (
        not isinstance(plan, dict)
        or not set(plan) <= KEYS
        or not isinstance(plan.get("subgroups", []), list)
    ):
        raise ConfigError(
            f"{path.name} may hold treatment_interaction: true and subgroups: [expressions],"
            " nothing else."
        )
    return AnalysisPlan(
        treatment_interaction=plan.get("treatment_interaction") is True,
        subgroups=tuple(str(expression) for expression in plan.get("subgroups", [])),
        sha256=found,
    )
