"""`pathoml power`: what the cohort's n and events can show, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Context, Exit, Option

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console

INTERVAL = 1.959963984540054  # standard errors to each side of a 95 % interval


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    settings: SetOption = None,
    patients: Annotated[
        int | None,
        Option(min=2, help="Plan with this many patients instead of reading the study."),
    ] = None,
    events: Annotated[int | None, Option(min=1, help="Events among them.")] = None,
    treated_share: Annotated[
        float | None, Option(min=0.01, max=0.99, help="Share of patients with the treatment.")
    ] = None,
) -> None:
    """Say which effects the cohort's n and events can show, how precise C will be, and how many
    parameters they pay for.
    """
    raise Exit(
        run(
            study,
            settings or [],
            ctx.obj,
            patients=patients,
            events=events,
            treated_share=treated_share,
        )
    )


def run(
    folder: Path,
    settings: list[str],
    console: Console,
    *,
    patients: int | None,
    events: int | None,
    treated_share: float | None,
) -> int:
    """Print the smallest effects that are found with 80 % power, the half-width of C, and the
    affordable parameters.

    Numbers given on the command line stand for a cohort that is only planned; else the study's
    tables are read.
    """
    from pathoml.errors import CohortError
    from pathoml.survival.fold_concordance import WIDENING
    from pathoml.survival.power import (
        affordable_parameters,
        c_standard_error,
        detectable_hazard_ratio,
        detectable_interaction,
        planned_follow_up,
    )

    if (patients is None) != (events is None):
        raise CohortError(
            "Give both --patients and --events, or neither to read the study's tables."
        )
    covariates: int | None = None
    not_understood = ""
    if patients is not None and events is not None:
        time, seen = planned_follow_up(patients, events)
        entry = None
    else:
        from pathoml.config import load_study
        from pathoml.study.cohort import read_cohort, share_treated, treated
        from pathoml.survival.design import fit_design
        from pathoml.training.clinical_part import clinical_columns

        study = load_study(folder, settings)
        cohort = read_cohort(study)
        time, seen, entry = cohort.time_months, cohort.event, cohort.entry_months
        patients, events = len(time), int(seen.sum())
        columns = clinical_columns(cohort)
        covariates = len(fit_design(columns).names) if columns else 0
        treatment = study.config.cohort.treatment
        if treated_share is None and treatment:
            cells = [p.covariates.get(treatment) for p in cohort.patients]
            try:
                treated_share = share_treated(treated(cells, treatment))
            except CohortError as error:
                not_understood = str(error)
    if events == 0:
        raise CohortError(
            f"{patients} patients have no event yet: nothing can be shown. Wait for more follow-up."
        )
    share = 0.5 if treated_share is None else treated_share
    budget = affordable_parameters(patients, events)
    rows = [
        (
            "hazard ratio per SD of a score that these patients train",
            f"{detectable_hazard_ratio(events, widening=WIDENING):.2f}",
        ),
        ("hazard ratio per SD of a locked score", f"{detectable_hazard_ratio(events):.2f}"),
        (
            f"interaction with a treatment given to {share:.0%}",
            f"{detectable_interaction(events, treated_share=share):.2f}",
        ),
        (
            "Harrell's C of a score that these patients train, half-width of the 95 % interval",
            f"+/- {INTERVAL * WIDENING * c_standard_error(time, seen, entry_months=entry):.3f}",
        ),
        (
            "Harrell's C of a locked score, half-width",
            f"+/- {INTERVAL * c_standard_error(time, seen, entry_months=entry):.3f}",
        ),
        ("parameters, ten events each", f"{budget['ten_events_each']:.0f}"),
        ("parameters, shrinkage 0.9 (Riley)", f"{budget['riley_shrinkage']:.0f}"),
    ]
    console.heading(f"power  {patients} patients, {events} events; 80 % power, two-sided 5 %")
    console.table(rows, ("smallest effect found, precision, budget", ""))
    if not_understood:
        console.say(f"  treated: half of the patients is assumed. {not_understood}")
    if covariates is not None and covariates > budget["ten_events_each"]:
        console.say(
            f"  WARNING the clinical model has {covariates} parameters,"
            f" {budget['ten_events_each']:.0f} can be paid for."
        )
    return 0
