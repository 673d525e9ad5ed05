"""`pathoml run`: every step that is stale, in order."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, console: Console) -> int:
    """Run check, tile, embed, train, evaluate, explain, discover and report. Returns 1 if a slide
    failed on the way.
    """
    from pathoml.cli import check, discover, embed, evaluate, explain, report, tile, train

    codes = [check.run(study, console, slides_too=False)]  # `tile` opens them all
    for step in (tile, embed, train, evaluate, explain, discover, report):
        codes.append(step.run(study, console))
    return max(codes)
