"""`pathoml withdraw`: remove a patient from a study, and say what had learned from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit, Option

from pathoml.cli.arguments import StudyArgument
from pathoml.cli.console import Console
from pathoml.errors import ConfigError

if TYPE_CHECKING:
    from pathoml.config import Study


def command(
    ctx: Context,
    patient: Annotated[
        str, Argument(help="patient_id, as in patients.csv; after -- if it begins with -.")
    ],
    study: StudyArgument = Path(),
    confirm: Annotated[
        bool, Option("--confirm", help="Do it; without it only a list is printed.")
    ] = False,
    bundles: Annotated[
        bool,
        Option("--bundles", help="Remove locked models that learned from the patient as well."),
    ] = False,
) -> None:
    """Remove a patient who withdrew from tables, tiles, embeddings, runs and readings; list the
    models that learned from them.
    """
    from pathoml.config import load_study

    if (Path(patient) / "study.yaml").exists():
        raise ConfigError(
            f"The patient comes first, then the study: `pathoml withdraw PATIENT {patient}`."
        )
    raise Exit(run(load_study(study), patient, ctx.obj, confirmed=confirm, bundles_too=bundles))


def run(
    study: Study, patient_id: str, console: Console, *, confirmed: bool, bundles_too: bool
) -> int:
    """List what goes; remove it if confirmed. Returns 1 if a file of the study names the patient
    afterwards.
    """
    from pathoml.store.locks import at_work
    from pathoml.store.withdrawal import plan_withdrawal, withdraw

    plan = plan_withdrawal(study, patient_id)
    console.heading(f"withdraw  {patient_id}: {len(plan.slide_ids)} slides")
    console.say(
        f"  rows of patients.csv and slides.csv, {len(plan.files)} files of tiles, embeddings and"
        " logs, readings of these slides"
    )
    console.say("  the sheet of the tiles, index.html; `pathoml tile` draws it anew")
    for folder in plan.runs:
        console.say(
            f"  the run {folder.name}: its models and tables hold the patient; `pathoml run` makes"
            " it anew"
        )
    for folder in plan.bundles:
        fate = (
            "is removed (--bundles)"
            if bundles_too
            else "STAYS: add --bundles to remove it, and tell those who use it"
        )
        console.say(
            f"  AFFECTED locked model {folder.name}: it learned from this patient and {fate}"
        )
    for file in plan.slide_files:
        console.say(f"  a slide file, not touched, yours to remove: {file}")
    if not confirmed:
        console.say("  nothing was removed; add --confirm to do it")
        return 0
    with at_work(study.folder, "withdraw"):  # no step writes meanwhile what is removed
        plan = plan_withdrawal(study, patient_id)
        left = withdraw(study, plan, bundles_too=bundles_too)
    console.say("  removed")
    for path in left:
        console.say(
            f"  STILL NAMES the patient or a slide: {path.relative_to(study.folder)}. Remove it by"
            " hand if it is a copy of yours."
        )
    return int(bool(left))
