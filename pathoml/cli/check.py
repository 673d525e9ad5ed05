"""`pathoml check`: what is understood of study.yaml and the tables before computing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typer import Context, Exit

from pathoml.cli.ahead import say_ahead
from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console
from pathoml.cli.slide_findings import look_into_slides, say_missing, say_twice

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.store.tables import Table
    from pathoml.study.endpoints import SecondaryEndpoint
    from pathoml.types import Cohort, Split


def command(ctx: Context, study: StudyArgument = Path(), settings: SetOption = None) -> None:
    """Read study.yaml and the tables, open every slide; print the flow of patients, what is
    refused, identifiers left in slides.
    """
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), ctx.obj))


def run(study: Study, console: Console, *, slides_too: bool = True) -> int:
    """Print the flow of patients and what is left out. Returns 1 if a slide file is missing,
    cannot be read, or has no scale of which tiles can be made.

    Args:
        slides_too: open every slide file: unreadable ones, those that `tile` will refuse,
            identifiers that are left in them, files that are there twice.
    """
    from pathoml.plugins import load_plugin
    from pathoml.study.cohort import cohort_of, read_tables
    from pathoml.study.endpoints import secondary_endpoints
    from pathoml.study.event_codes import refuse_no_event
    from pathoml.study.layout import embeddings_folder
    from pathoml.study.splits import make_splits
    from pathoml.training.heads import is_of_a_file, refuse_unknown_head

    config = study.config
    load_plugin("pathoml.engines", config.compute.engine, "map_items")
    refuse_unknown_head(config.train.head, study.folder)
    if config.train.loss != "cox":  # what only needs torch where it can be wrong
        from pathoml.training.solving import refuse_other_loss

        refuse_other_loss(config.train)
    patients_table, slides_table = read_tables(study)
    cohort = cohort_of(study, patients_table, slides_table)
    if cohort.slides:  # scores from elsewhere need none
        embeddings_folder(study)  # an unknown encoder is refused, unless its features were imported
    refuse_no_event(patients_table, config.endpoint)
    splits = make_splits(cohort, config.splits)
    secondary = secondary_endpoints(study, cohort)
    console.heading(f"check  {study.folder}")
    _say_tables(study, patients_table, slides_table, console)
    if few := config.significance.why_no_intervals:
        console.say(f"  WARNING {few}")
    console.say(
        f"  endpoint: {cohort.endpoint}, from {cohort.time_zero}; {int(cohort.event.sum())} events"
    )
    for line in _timing(cohort):
        console.say(f"  {line}")
    _say_flow(cohort, console)
    _say_pretraining(study, cohort, console)
    if is_of_a_file(config.train.head):
        console.say(
            f"  NOTE train.head = {config.train.head} is code of the study: `check`, `status` and"
            " `view` do not run it, the steps that make models do. Read it first if the study is"
            " not yours."
        )
    _say_endpoints(cohort, secondary, splits, console, divided_here=not config.splits.file)
    odd = _say_widths(study, cohort, console)
    if slides_too:
        say_ahead(study, cohort, console)
    missing = say_missing(study, cohort.slides, console)
    twice = say_twice(study, cohort.slides, console, read=slides_too)
    unusable = look_into_slides(study, cohort, console) if slides_too else 0
    return int(odd > 0 or missing > 0 or twice or unusable > 0)


def _say_tables(
    study: Study, patients_table: Table, slides_table: Table | None, console: Console
) -> None:
    """Print how the tables and their columns are understood, and what is odd in them."""
    from pathoml.study.column_summaries import summarise_columns
    from pathoml.study.oddities import odd_things

    tables = [table for table in (slides_table, patients_table) if table is not None]
    for table in tables:
        console.say(f"  {table.path.name}: {len(table.rows)} rows, read as {table.understood}")
        for note in table.notes:
            if not note.startswith("WARNING"):
                console.say(f"  {table.path.name}: {note}")
    console.table(
        [
            (c.table, c.column, c.used_as, c.read_as, c.holds, c.missing)
            for c in summarise_columns(study, patients_table, slides_table)
        ],
        ("table", "column", "used as", "read as", "holds", "missing"),
    )
    for sentence in odd_things(study, patients_table, slides_table):
        console.say(f"  WARNING {sentence}{'' if sentence.endswith(('.', '?')) else '.'}")


def _say_flow(cohort: Cohort, console: Console) -> None:
    """Print patients, events and slides by centre, and who is left out for which reason."""
    slides = Counter(p.centre for p in cohort.patients for _ in p.slide_ids)
    rows = [
        (c, int((cohort.centre == c).sum()), int(cohort.event[cohort.centre == c].sum()), slides[c])
        for c in sorted(set(cohort.centre.tolist()))
    ]
    totals = ("all", len(cohort.patients), int(cohort.event.sum()), sum(slides.values()))
    console.table([*rows, totals], ("centre", "patients", "events", "slides"))
    reasons = Counter(reason for _, reason in cohort.excluded)
    for reason, count in reasons.items():
        ids = [p for p, r in cohort.excluded if r == reason]
        console.say(
            f"  left out, {reason}: {count} ({', '.join(ids[:5])}{', ...' if count > 5 else ''})"
        )


def _say_widths(study: Study, cohort: Cohort, console: Console) -> int:
    """Say which slides have features of another width than most, and warn where the encoder does
    not give that width. Returns how many have another.
    """
    from pathoml.encoders.finding import find_encoder
    from pathoml.errors import EncoderError
    from pathoml.store.embeddings import stored_width
    from pathoml.study.layout import embeddings_folder, scales, vector_of

    if not cohort.slides:
        return 0
    folder, name = embeddings_folder(study), study.config.encoder
    widths = {s.slide_id: stored_width(folder / f"{s.slide_id}.h5") for s in cohort.slides}
    counts = Counter(width for width in widths.values() if width)
    if not counts:
        return 0
    usual = counts.most_common(1)[0][0]
    odd = [slide_id for slide_id, width in widths.items() if width not in (0, usual)]
    if odd:
        console.say(
            f"  WIDTHS {len(odd)} slides have features of"
            f" {' or '.join(str(w) for w in sorted(counts) if w != usual)} numbers, the others of"
            f" {usual}: {', '.join(odd[:5])}{', ...' if len(odd) > 5 else ''}. They are of another"
            f" encoder: remove them from {folder} and embed or import them again."
        )
    try:
        gives = find_encoder(name).dim * len(scales(study))
    except EncoderError:  # its features were imported
        return len(odd)
    if gives != usual and not vector_of(folder.name):
        console.say(
            f"  WARNING the features in {folder} have {usual} numbers, {name} gives {gives}: they"
            " are of another encoder. Name it in study.yaml, or embed the slides again."
        )
    return len(odd)


def _say_pretraining(study: Study, cohort: Cohort, console: Console) -> None:
    """Say which public cohorts the patients are of, and what the encoder and the initial weights
    learned from.
    """
    from pathoml.study.public_cohorts import (
        pretraining_alarms,
        pretraining_notes,
        pretraining_section,
    )
    from pathoml.training.initial_origin import initial_origin

    origin = initial_origin(study, cohort)
    if origin is not None:
        console.say(f"  initial weights: {_fitting(study, cohort)}")
    known = origin.noted(cohort) if origin else {}
    section = pretraining_section(study, cohort, initial=known)
    for one in section["study_is"]:
        carry = f"{one['patients']} patients carry its ids" if one["patients"] else "cohort.source"
        console.say(f"  public cohort {one['name']}: {carry}")
    for alarm in pretraining_alarms(section):
        console.say(f"  WARNING {alarm['message']}")
    for note in pretraining_notes(section):
        console.say(f"  NOTE {note}")


def _fitting(study: Study, cohort: Cohort) -> str:
    """Return how the initial weights fit the head, of the embeddings that there are.

    Raises:
        ConfigError: they do not.
    """
    # here, because loading torch takes seconds
    from pathoml.bags.reading import embedded_width
    from pathoml.encoders.finding import find_encoder
    from pathoml.study.layout import embeddings_folder, scales
    from pathoml.training.heads import is_of_a_file
    from pathoml.training.initial_weights import read_initial_weights

    if is_of_a_file(study.config.train.head):  # building it would run it
        return "whether they fit is seen by `train`, since the head is code of the study"
    width = embedded_width(cohort, embeddings_folder(study))
    if width is None:  # then the encoder is one of ours
        width = len(scales(study)) * find_encoder(study.config.encoder).dim
    weights = read_initial_weights(study.config.train, width)
    return weights.in_words if weights else "none"


def _timing(cohort: Cohort) -> list[str]:
    """Return what is understood of entry and of the start of treatments."""
    lines, entry = [], cohort.entry_months
    if entry is not None:
        lines.append(
            f"entry: {int((entry > 0).sum())} of {len(entry)} patients come under observation after"
            " time zero; everything counts them from then on"
        )
    for start in cohort.treatment_starts:
        if not start.dated:
            lines.append(
                f"treatment {start.column}: {start.treated} treated, no date of it"
                " (dates.treatment): whether it began at time zero is not known"
            )
        elif start.later:
            models = "the landmark decides" if start.by_landmark else "in no model from time zero"
            lines.append(
                f"treatment {start.column}: {start.later} of {start.treated} treated began it under"
                f" observation; {models}"
            )
    return lines


def _say_endpoints(
    cohort: Cohort,
    secondary: Sequence[SecondaryEndpoint],
    splits: Sequence[Split],
    console: Console,
    *,
    divided_here: bool,
) -> None:
    """Say of each endpoint, beside the primary one, whom it has and how many events, and which
    cannot be trained.

    Args:
        divided_here: the folds will be these, and not another program's.
    """
    from pathoml.study.endpoints import untrainable

    if not secondary:
        return
    codes = Counter(p.event for p in cohort.patients)
    table = [(f"{cohort.endpoint} (primary)", len(cohort.patients), codes[1], codes[2], codes[0])]
    for one in secondary:
        flow = one.flow
        counts = (flow[key] for key in ("analysed", "events", "competing_events", "censored"))
        table.append((one.name, *counts))
    console.table(table, ("endpoint", "patients", "events", "competing", "censored"))
    console.say(
        "  secondary endpoints are trained and judged on the folds of the primary one"
        f" ({cohort.endpoint}), whose events stratify them"
    )
    for one in secondary:
        for reason, count in one.flow["excluded"].items():
            console.say(f"  {one.name}: left out, {reason}: {count}")
        if one.cohort.time_zero != cohort.time_zero:
            console.say(f"  {one.name}: time counts from {one.cohort.time_zero}")
        if why := untrainable(one, splits) if divided_here else "":
            console.say(f"  {one.name}: NOT TRAINED, since {why}")
