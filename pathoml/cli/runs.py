"""`pathoml runs`: the runs of a study, deleting one, and marking one as published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from pathoml.cli.arguments import StudyArgument
from pathoml.cli.console import Console
from pathoml.errors import ConfigError

if TYPE_CHECKING:
    from pathoml.config import Study

MEGABYTE = 10**6


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    delete: Annotated[
        str | None, Option("--delete", help="Delete this run, but what people wrote in it.")
    ] = None,
    confirm: Annotated[
        bool, Option("--confirm", help="Delete it; without it only a list is printed.")
    ] = False,
    publish: Annotated[
        str | None,
        Option("--publish", help="Mark this run as published: nothing writes over it."),
    ] = None,
    unpublish: Annotated[
        str | None, Option("--unpublish", help="Let this run be written over again.")
    ] = None,
) -> None:
    """List the runs of a study with their size; delete one; mark one as published, so that nothing
    writes over it.
    """
    from pathoml.config import load_study

    if sum(one is not None for one in (delete, publish, unpublish)) > 1:
        raise ConfigError("Give one of --delete, --publish and --unpublish.")
    loaded = load_study(study)
    if delete is not None:
        raise Exit(run_delete(loaded, delete, ctx.obj, confirmed=confirm))
    if publish is not None:
        raise Exit(run_publish(loaded, publish, ctx.obj))
    if unpublish is not None:
        raise Exit(run_unpublish(loaded, unpublish, ctx.obj))
    raise Exit(run(loaded, ctx.obj))


def run(study: Study, console: Console) -> int:
    """List the runs. Returns 0."""
    from pathoml.study.runs import runs_of

    found = runs_of(study)
    console.heading(f"runs  {study.runs_folder}: {len(found)}")
    if found:
        console.table(
            [
                (
                    one.name,
                    ", ".join(one.steps) or "-",
                    f"{one.size_bytes / MEGABYTE:.1f}",
                    one.changed.isoformat(),
                    one.published_by or "-",
                )
                for one in found
            ],
            ("run", "done", "MB", "last", "published"),
        )
        console.say("  only a published run is protected: any other is written over by `run`")
    return 0


def run_delete(study: Study, name: str, console: Console, *, confirmed: bool) -> int:
    """Say what goes and what stays; delete if confirmed. Returns 1 if something could not be
    removed.
    """
    from pathoml.study.runs import delete_run, find_run

    found = find_run(study, name)
    console.heading(f"runs  delete {name}: {found.size_bytes / MEGABYTE:.1f} MB")
    for path in found.by_people:
        console.say(f"  KEPT {path.relative_to(study.folder)}: people wrote it")
    if not confirmed and not found.published_by:
        console.say("  nothing was deleted; add --confirm to do it")
        return 0
    failed = delete_run(study, name)
    console.say("  deleted")
    for path, why in failed:
        console.say(f"  FAILED {path.relative_to(study.folder)} could not be removed: {why}")
    return int(bool(failed))


def run_publish(study: Study, name: str, console: Console) -> int:
    """Mark a run as published. Returns 0."""
    from pathoml.store.published import free_name, publish
    from pathoml.study.runs import find_run

    find_run(study, name)
    publish(study.runs_folder / name)
    console.heading(f"runs  {name} is published: nothing writes over it")
    console.say(f"  go on in another run: --set run={free_name(study.runs_folder, name)}")
    return 0


def run_unpublish(study: Study, name: str, console: Console) -> int:
    """Let a run be written over again. Returns 0."""
    from pathoml.store.published import give_up_published
    from pathoml.study.runs import find_run

    by = find_run(study, name).published_by
    give_up_published(study.runs_folder / name)
    said = f"was published ({by}), and may be written over now" if by else "was not published"
    console.heading(f"runs  {name} {said}")
    return 0
