"""`pathoml tile`: tiles/GRID/."""

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
    from pathoml.tiling.step import Tiled, TiledGrid

FEW_TILES = 5  # a slide with so few is named, for somebody to look whether its tissue was found
MOST_LISTED = 10


def command(
    ctx: Context, study: StudyArgument = Path(), shard: ShardOption = "", settings: SetOption = None
) -> None:
    """Find the tissue and lay tiles of one physical side over it: tiles/."""
    from pathoml.compute.shards import parse_shard
    from pathoml.config import load_study

    part = parse_shard(shard) if shard else None
    loaded = load_study(study, settings or ())
    if part is None:  # of a cluster's jobs, `submit` asks once
        refuse_what_does_not_fit(loaded, ["tile"])
    raise Exit(run(loaded, ctx.obj, part))


def run(study: Study, console: Console, shard: Shard | None = None) -> int:
    """Tile the slides whose tiles are missing or stale. Returns 1 if a slide failed."""
    from pathoml.tiling.step import tile_study

    return tell(tile_study(study, shard=shard, progress=console), console)


def tell(tiled: Tiled, console: Console) -> int:
    """Print what was tiled. Returns 1 if a slide failed."""
    done = [grid for grid in tiled.grids if not grid.fresh]
    for grid in done:
        if len(tiled.grids) > 1:
            console.say(f"  {grid.folder.name}:")
        _tell_grid(grid, console)
    return int(bool(tiled.failures))


def _tell_grid(grid: TiledGrid, console: Console) -> None:
    flagged = sum(c.flagged for c in grid.counts)
    console.say(
        f"  {sum(c.tiles for c in grid.counts)} tiles, {flagged} flagged; every slide on one page:"
        f" {grid.folder}/index.html"
    )
    few = sorted((c for c in grid.counts if c.tiles <= FEW_TILES), key=lambda c: c.tiles)
    for slide in few[:MOST_LISTED]:
        console.say(
            f"  FEW TILES {slide.slide_id}: {slide.tiles} tiles, {slide.tissue_mm2:.2f} mm2 of"
            " tissue; kept, as a needle biopsy is"
        )
    if len(few) > MOST_LISTED:
        console.say(f"  FEW TILES in {len(few) - MOST_LISTED} more slides; quality.csv has all")
    noted = [slide for slide in grid.counts if slide.notes]
    for slide in noted[:MOST_LISTED]:
        console.say(f"  NOTE {slide.slide_id}: {'; '.join(slide.notes)}")
    if len(noted) > MOST_LISTED:
        console.say(f"  NOTE on {len(noted) - MOST_LISTED} more slides; quality.csv has all")
    say_failures(grid.failures, console)
