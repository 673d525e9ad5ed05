"""`pathoml withdraw`: remove patients from a study, and say what had learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit, Option

from pathoml.cli.console import Console
from pathoml.errors import ConfigError

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.store.withdrawal import Left, Withdrawal

MOST_LISTED = 20  # files of one kind; the rest is counted


def command(
    ctx: Context,
    patients: Annotated[
        list[str] | None,
        Argument(
            metavar="PATIENT... [STUDY]",
            help="patient_id of one or several, as in patients.csv; after -- if one begins with -."
            " The study folder last; it is the current folder if it is left out. No patient: a"
            " withdrawal that was interrupted is finished.",
            show_default=False,
        ),
    ] = None,
    slides: Annotated[
        list[str] | None,
        Option("--slide", help="One slide, such as one that slides.csv no longer names."),
    ] = None,
    confirm: Annotated[
        bool, Option("--confirm", help="Do it; without it only a list is printed.")
    ] = False,
    bundles: Annotated[
        bool,
        Option("--bundles", help="Remove locked models that learned from the patient as well."),
    ] = False,
) -> None:
    """Remove patients who withdrew from tables, tiles, embeddings, runs and readings; list the
    models that learned from them, and what of them is not pathoml's to remove.
    """
    from pathoml.config import load_study

    ids, folder = patients_and_study(patients or [])
    raise Exit(
        run(
            load_study(folder), ids, ctx.obj, confirmed=confirm, bundles_too=bundles,
            slides=slides or (),
        )
    )  # fmt: skip


def patients_and_study(words: Sequence[str]) -> tuple[tuple[str, ...], Path]:
    """Return the patients and the study folder among the words of the command line: the last word
    is the study if a folder has that name.

    Raises:
        ConfigError: a study comes before a patient.
    """
    *first, last = words or [""]
    for word in first:
        if (Path(word) / "study.yaml").exists():
            raise ConfigError(
                f"The patient comes first, then the study: `pathoml withdraw PATIENT {word}`."
            )
    if (Path(last) / "study.yaml").exists() and last:
        return tuple(first), Path(last)
    if first and Path(last).is_dir():
        return tuple(first), Path(last)
    return tuple(words), Path()


def run(
    study: Study,
    patient_ids: Sequence[str],
    console: Console,
    *,
    confirmed: bool,
    bundles_too: bool,
    slides: Sequence[str] = (),
) -> int:
    """List what goes; remove it if confirmed. Returns 1 if a file of the study names the patient
    afterwards, or could not be removed or looked into.
    """
    from pathoml.store.locks import at_work
    from pathoml.store.tables import WITHDRAWING
    from pathoml.store.withdrawal import plan_withdrawal, withdraw

    if not patient_ids and not slides and not (study.folder / WITHDRAWING).exists():
        raise ConfigError(
            "Say who withdraws: `pathoml withdraw PATIENT [STUDY]`, with the id as in patients.csv."
        )
    plan = plan_withdrawal(study, *patient_ids, slides=slides)
    _say_plan(study, plan, console, bundles_too=bundles_too)
    if not confirmed:
        console.say("  nothing was removed; add --confirm to do it")
        return 0
    with at_work(study.folder, "withdraw"):  # no step writes meanwhile what is removed
        plan = plan_withdrawal(study, *patient_ids, slides=slides)
        left = withdraw(study, plan, bundles_too=bundles_too)
    console.say("  removed")
    return _say_left(study, left, console)


def _say_plan(study: Study, plan: Withdrawal, console: Console, *, bundles_too: bool) -> None:
    who = ", ".join(sorted(plan.ids.patients)) or "no patient"
    console.heading(f"withdraw  {who}: {len(plan.slide_ids)} slides")
    for patient in plan.resumed:
        console.say(f"  the withdrawal of {patient}, which was interrupted, is finished too")
    tables = " and ".join(path.name for path in plan.tables) or "no table"
    console.say(
        f"  rows of {tables}, {len(plan.files)} files of tiles, embeddings and logs,"
        f" {plan.readings} readings of these slides"
    )
    if plan.slide_ids:
        console.say("  the sheet of the tiles, index.html; `pathoml tile` draws it anew")
    for folder in plan.runs:
        away = f" (a link to {folder.resolve()})" if folder.is_symlink() else ""
        console.say(
            f"  the run {folder.name}{away}: its models and tables hold the patient; `pathoml run`"
            " makes it anew"
        )
    for path in plan.ratings:
        console.say(
            f"  KEPT {path.relative_to(study.folder)}: what the rater wrote of others' slides; what"
            " was written of these slides goes"
        )
    for folder in plan.held.copies:
        console.say(
            f"  the copy {folder.relative_to(study.folder)}; `pathoml view --static` writes it anew"
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
    _say_some(
        console,
        [
            f"  not touched, yours to remove: {path.relative_to(study.folder)}"
            for path in plan.held.listed
        ],
    )
    if plan.unclaimed:
        console.say(
            f"  slides.csv does not say whose these slides were: {', '.join(plan.unclaimed)}. If"
            " one was the patient's, name it with --slide."
        )
    _say_unseen(study, plan.held.unseen, console)
    console.say(
        "  what was copied out of this folder (exports, backups, locked models that were given"
        " away) is not known here"
    )


def _say_left(study: Study, left: Left, console: Console) -> int:
    _say_some(
        console,
        [
            f"  STILL NAMES the patient or a slide: {path.relative_to(study.folder)}. Remove it by"
            " hand if it is a copy of yours."
            for path in left.names
        ],
    )
    for path, why in left.failed:
        console.say(
            f"  FAILED {path.relative_to(study.folder)} could not be removed: {why}. See to it, and"
            " run the same command again."
        )
    return int(bool(left.names or left.failed or left.away))


def _say_unseen(study: Study, unseen: Sequence[tuple[Path, str]], console: Console) -> None:
    _say_some(
        console,
        [
            f"  NOT SEARCHED {path.relative_to(study.folder)}: {why}. Look whether it names the"
            " patient."
            for path, why in unseen
        ],
    )


def _say_some(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:MOST_LISTED]:
        console.say(line)
    if len(lines) > MOST_LISTED:
        console.say(f"  and {len(lines) - MOST_LISTED} more")
