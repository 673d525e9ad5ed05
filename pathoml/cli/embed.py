"""`pathoml embed`: embeddings/ENCODING/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typer import Context, Exit

from pathoml.cli.ahead import refuse_what_does_not_fit
from pathoml.cli.arguments import SetOption, ShardOption, StudyArgument
from pathoml.cli.console import Console, say_failures

if TYPE_CHECKING:
    from pathoml.compute.shards import Shard
    from pathoml.config import Study
    from pathoml.embedding.loop import EmbedReport
    from pathoml.embedding.step import Embedded, JoinedScales

SLOWEST = 5  # slides named at the end


def command(
    ctx: Context, study: StudyArgument = Path(), shard: ShardOption = "", settings: SetOption = None
) -> None:
    """Run the encoder over the tiles: embeddings/."""
    from pathoml.compute.shards import parse_shard
    from pathoml.config import load_study

    part = parse_shard(shard) if shard else None
    loaded = load_study(study, settings or ())
    if part is None:  # of a cluster's jobs, `submit` asks once
        refuse_what_does_not_fit(loaded, ["embed", "join"])
    raise Exit(run(loaded, ctx.obj, part))


def run(study: Study, console: Console, shard: Shard | None = None) -> int:
    """Embed the slides whose embeddings are missing or stale. Returns 1 if a slide failed."""
    from pathoml.embedding.step import embed_study

    return tell(embed_study(study, shard=shard, progress=console), console)


def tell(embedded: Embedded, console: Console) -> int:
    """Print how fast it was, and what failed. Returns 1 if a slide failed."""
    for scale in embedded.scales:
        if scale.report is not None:
            if len(embedded.scales) > 1:
                console.say(f"  {scale.folder.name}:")
            _tell_report(scale.report, console)
    if embedded.joined:
        _tell_joined(embedded.joined, console)
    return int(bool(embedded.failures))


def _tell_report(report: EmbedReport, console: Console) -> None:
    if report.tiles:
        share = report.waited / report.seconds
        console.say(
            f"  {report.tiles / report.seconds:.1f} tiles/s with reading and writing; the encoder "
            f"waited {share:.0%} of the time for tiles"
        )
        console.say(f"  {report.how}")
    for slide_id, seconds in report.slide_seconds.items():
        console.record("slide", slide=slide_id, seconds=round(seconds, 2))
    slowest = sorted(report.slide_seconds.items(), key=lambda item: -item[1])[:SLOWEST]
    if len(report.slide_seconds) > 1:
        console.table(
            [(slide_id, f"{seconds:.1f}") for slide_id, seconds in slowest],
            ("slowest slides", "seconds"),
        )
    say_failures(report.failures, console)


def _tell_joined(joined: JoinedScales, console: Console) -> None:
    if joined.tiles.tiles:
        console.say(
            f"  {joined.tiles.tiles} tiles with the features around them; of {joined.tiles.beside}"
            " the tile around is not embedded and the nearest beside it stands in,"
            f" {joined.tiles.left_out} have none and are left out"
        )
    say_failures(joined.failures, console)
