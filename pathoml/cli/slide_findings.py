"""What `check` says of the slides' files: which are not there and why, which cannot be read, which
`tile` will refuse, what in them may name a patient, and which are there twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.types import Cohort, Slide

MOST_LISTED = 20


def say_missing(study: Study, slides: Sequence[Slide], console: Console) -> int:
    """Say which slides' paths lead to no file, and why: of those whose folder has other files each,
    and together those whose disk may not be here. Returns how many.
    """
    from pathoml.slides.missing import why_missing
    from pathoml.slides.whereabouts import whereabouts
    from pathoml.study.inputs import named

    places = [(s.slide_id, s.path, whereabouts(s.path)) for s in slides if s.path is not None]
    start = f"paths in slides.csv are absolute, or start in {study.folder}"
    gone = [(slide_id, path) for slide_id, path, place in places if place == "gone"]
    for slide_id, path in gone[:MOST_LISTED]:
        why = why_missing(path) or f"its path leads to no file; {start}"
        console.say(
            f"  MISSING slide {slide_id}: {why}. Correct the column 'path', or drop the row: it is"
            " left out of the scores."
        )
    _say_more(len(gone), "whose file is missing", console)
    causes: dict[str, list[str]] = {}
    for slide_id, path, place in places:
        if place == "away":
            causes.setdefault(why_missing(path) or start, []).append(slide_id)
    for cause, away in causes.items():
        console.say(
            f"  MISSING {len(away)} slides ({named(away)}): the folders of their files cannot be"
            f" reached, or are empty; {cause}. Mount their disk, or correct the column 'path'."
            " What was made of them before is used."
        )
    return len(gone) + sum(len(away) for away in causes.values())


def look_into_slides(study: Study, cohort: Cohort, console: Console) -> int:
    """Say of the files that are there what stands in the way of using them, and what is left in
    them that may name a patient. Returns how many cannot be used.
    """
    from pathoml.engines.local import available_workers
    from pathoml.slides.identity import by_id, identifiers_left
    from pathoml.slides.missing import is_there
    from pathoml.slides.probing import Prober, SlideFacts, probe_each

    files = [(s.slide_id, s.path) for s in cohort.slides if s.path is not None and is_there(s.path)]
    left: dict[str, list[str]] = {}
    facts: dict[str, SlideFacts] = {}
    unreadable: list[str] = []
    with console.bar("check", "slides") as bar:
        probed = probe_each([path for _, path in files], Prober.facts, workers=available_workers())
        for number, ((slide_id, path), (_, found)) in enumerate(zip(files, probed), 1):
            if found.fault is None:
                facts[slide_id] = found
                for kind in identifiers_left(path):
                    left.setdefault(kind, []).append(slide_id)
            else:
                why = by_id(found.fault, slide_id, path)
                unreadable.append(f"  UNREADABLE slide {slide_id}: {why}")
            bar(number, len(files))
    for line in unreadable[:MOST_LISTED]:
        console.say(line)
    _say_more(len(unreadable), "that cannot be read", console)
    refused = _say_refused(study, cohort, facts, console)
    _say_identifiers(left, cohort, console)
    return len(unreadable) + refused


def _say_refused(
    study: Study, cohort: Cohort, facts: Mapping[str, object], console: Console
) -> int:
    """Say which slides `tile` will refuse for their scale or size, and of which the scale is
    doubtful. Returns how many it will refuse.
    """
    from pathoml.errors import ConfigError, SlideError
    from pathoml.slides.probing import SlideFacts
    from pathoml.study.layout import scales, vectors_encoding
    from pathoml.tiling.jobs import tile_jobs
    from pathoml.tiling.scale import checked_scale, scale_doubt

    if not cohort.slides or vectors_encoding(study):
        return 0
    refused: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    try:
        jobs = [job for scale in scales(study) for job in tile_jobs(scale, cohort)]
    except ConfigError as error:  # of what tiles are asked for; it is said when they are
        console.say(f"  WARNING {error}")
        return 0
    for job in jobs:
        slide_id = job.slide.slide_id
        found = facts.get(slide_id)
        if slide_id in refused or not isinstance(found, SlideFacts):
            continue
        try:
            mpp, _ = checked_scale(found, job)
        except SlideError as error:
            refused[slide_id] = str(error)
            continue
        if doubt := scale_doubt(mpp, found.objective):
            doubtful[slide_id] = doubt
    for slide_id, why in list(refused.items())[:MOST_LISTED]:
        console.say(f"  REFUSED by tile, slide {slide_id}: {why}", slide=slide_id)
    _say_more(len(refused), "that tile will refuse", console)
    for slide_id, doubt in list(doubtful.items())[:MOST_LISTED]:
        console.say(
            f"  WARNING slide {slide_id} {doubt}. Which is right decides how much tissue a tile"
            " shows: state it in a column 'mpp' of slides.csv."
        )
    _say_more(len(doubtful), "whose scale does not fit their objective", console)
    return len(refused)


def _say_identifiers(left: Mapping[str, Sequence[str]], cohort: Cohort, console: Console) -> None:
    """Say which kinds of identifiers are left, and where an id itself is one."""
    from pathoml.slides.identity import IN_A_NAME, kinds_in_a_name

    for kind, found in left.items():
        console.say(f"  IDENTIFIERS {kind}: {len(found)} slides ({_first(found)})")
    named = {slide_id for kind in IN_A_NAME for slide_id in left.get(kind, ())}
    speaking = [
        s.slide_id
        for s in cohort.slides
        if kinds_in_a_name(s.slide_id)
        or kinds_in_a_name(s.patient_id)
        or (s.slide_id in named and s.path is not None and _is_of(s.slide_id, s.path))
    ]
    if speaking:
        console.say(
            f"  IDENTIFIERS in slide_id or patient_id: {len(speaking)} slides ({_first(speaking)})."
            " Ids are the names of files, the words of pages and the ends of addresses of this"
            " study, so all of them hold it."
        )
    if speaking or named:
        console.say(
            "  `pathoml init NEW_STUDY --slides FOLDER --pseudonyms KEYFILE` makes a study with"
            " neutral ids and keeps in KEYFILE, outside of it, whose they are."
        )
    if set(left) - set(IN_A_NAME):
        inside = (
            "Remove also what stands inside the files"
            if speaking  # then what it names is in every file of the study
            else "What stands inside the files is not read or copied by pathoml; remove it"
        )
        console.say(f"  {inside} before they leave the hospital.")


def _is_of(slide_id: str, path: Path) -> bool:
    """Return whether a slide_id was made of its file's name."""
    from pathoml.cli.init import unique_ids

    own = unique_ids([path])[0]
    return slide_id in (path.stem, own) or slide_id.startswith(f"{own}-")


def say_twice(study: Study, slides: Sequence[Slide], console: Console, *, read: bool) -> bool:
    """Say which rows are of one file, of copies of one, or of levels of one DICOM slide. Returns
    whether two patients have one.

    Args:
        read: compare the content of files of one size; else only what is known of it, and what is
            one file of the disk.
    """
    from pathoml.slides.contents import SlideContents, mark_of, same_size
    from pathoml.slides.missing import is_there
    from pathoml.study.layout import contents_folder

    there = [(s, s.path) for s in slides if s.path is not None and is_there(s.path)]
    contents = SlideContents(contents_folder(study))
    alike = {path for group in same_size([path for _, path in there]) for path in group}
    found: dict[str, list[Slide]] = {}
    for slide, path in there:
        if path in alike:
            try:
                known = read or contents.is_known(path)
                key = contents.sha256(path) if known else mark_of(path)
            except OSError:  # told as unreadable
                continue
            found.setdefault(key, []).append(slide)
    two_patients, series = False, _same_series(there) if read else []
    by_levels = [{slide.slide_id for slide in levels} for levels in series]
    for twins in found.values():
        ids, files = {s.slide_id for s in twins}, {s.path.resolve() for s in twins if s.path}
        if len(files) == len(twins) and any(ids <= levels for levels in by_levels):
            continue  # a series is one content, whichever of its files is named
        if len(twins) > 1:
            two_patients |= _say_twins("the same file", twins, console)
    for levels in series:
        one_file = len({s.path.resolve() for s in levels if s.path}) == 1
        if not one_file:
            two_patients |= _say_twins("the same DICOM slide, by its levels", levels, console)
    return two_patients


def _same_series(slides: Sequence[tuple[Slide, Path]]) -> list[list[Slide]]:
    from pathoml.slides.dicom import read_header

    of_series: dict[tuple[Path, str], list[Slide]] = {}
    for slide, path in slides:
        header = read_header(path) if path.is_file() else None
        if header and header.series:
            of_series.setdefault((path.resolve().parent, header.series), []).append(slide)
    return [levels for levels in of_series.values() if len(levels) > 1]


def _say_twins(what: str, twins: Sequence[Slide], console: Console) -> bool:
    """Say which slides are one; return whether they are of several patients."""
    from pathoml.study.inputs import named

    whose = sorted({slide.patient_id for slide in twins})
    advice = "Keep one row of slides.csv."
    if len(whose) > 1:
        advice = (
            f"They are of {len(whose)} patients ({named(whose)}): one slide cannot be of two, and"
            " `train` refuses it. Correct slides.csv."
        )
    console.say(f"  TWICE {what}: {', '.join(slide.slide_id for slide in twins)}. {advice}")
    return len(whose) > 1


def _first(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _say_more(count: int, what: str, console: Console) -> None:
    if count > MOST_LISTED:
        console.say(f"  ... and {count - MOST_LISTED} more {what}")
