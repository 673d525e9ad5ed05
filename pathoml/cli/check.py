"""`pathoml check`: what was understood of study.yaml and the tables, before anything is computed."""

from __future__ import annotations

from collections import Counter

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, console: Console) -> int:
    """Print the flow of patients and what is left out. Returns 1 if a slide file is missing."""
    from pathoml.cohort import read_cohort
    from pathoml.plugins import load_plugin
    from pathoml.splits import make_splits
    from pathoml.study import embeddings_folder
    from pathoml.tables import find_table, read_table

    config = study.config
    embeddings_folder(study)  # an unknown encoder is refused, unless its features were imported
    load_plugin("pathoml.mil", config.train.head, "Head")
    cohort = read_cohort(study)
    make_splits(cohort, config.splits)
    console.heading(f"check  {study.folder}")
    for stem in ("slides", "patients") if cohort.slides else ("patients",):
        table = read_table(find_table(study.folder, stem), config.cohort.missing)
        console.say(f"  {table.path.name}: {len(table.rows)} rows, read as {table.understood}")
    console.say(f"  endpoint: {cohort.endpoint}, from {cohort.time_zero}; {int(cohort.event.sum())} events")
    if config.secondary_endpoints:
        console.say("  NOT ANALYSED: secondary_endpoints; run each as its own study.yaml endpoint with another `run` for now")
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
        console.say(f"  left out, {reason}: {count} ({', '.join(ids[:5])}{', ...' if count > 5 else ''})")
    missing = [s for s in cohort.slides if s.path is not None and not s.path.exists()]
    for slide in missing[:20]:
        console.say(f"  MISSING slide {slide.slide_id}: {slide.path}. Correct the column 'path' in slides.csv.")
    return int(bool(missing))
