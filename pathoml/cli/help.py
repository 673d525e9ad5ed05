"""Verbs as `pathoml --help` lists them, in the order in which they are used; and what is said of an
option that a verb has not.
"""

from __future__ import annotations

from typer import Context, Exit, Typer
from typer.core import TyperCommand

from pathoml.cli.console import Console
from pathoml.cli.interrupts import say_interrupted
from pathoml.cli.logbook import Logbook

PANELS = {
    "Begin": "demo init check config doctor power",
    "The steps of a study, in order": "run tile embed train evaluate explain discover report",
    "Look, and exchange with other tools": "view export import",
    "Compare, freeze, and score new patients": "benchmark lock predict",
    "Clusters, and care of a study": "submit status runs pack backup restore withdraw",
}


class Verb(TyperCommand):
    """A verb that knows the keys of study.yaml, which people try as options."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:  # type: ignore[override]  # its base is not public
        """Parse as any command does, but say where a key of study.yaml that is given as an option
        belongs.
        """
        known = {name for parameter in self.params for name in parameter.opts}
        tried = {word.partition("=")[0] for word in args if word.startswith("--")}
        for option in sorted(tried - known) if "--set" in known else []:
            if keys := keys_named(option.removeprefix("--").replace("-", "_")):
                ways = " or ".join(f"--set {key}=VALUE" for key in keys)
                ctx.fail(f"No such option: {option}. It is a key of study.yaml: {ways}")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> object:  # type: ignore[override]  # its base is not public
        """Call the verb; note in the study's log that it began, and say what was kept where
        somebody interrupts it.
        """
        console = ctx.ensure_object(Console)
        console.verb = str(ctx.info_name)
        logbook = Logbook(ctx, console)
        console.on_end = logbook.end
        logbook.begin()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Exit(say_interrupted(console)) from None
        except Exception as error:
            logbook.error = None if isinstance(error, Exit) else error
            raise


def keys_named(name: str) -> list[str]:
    """Return the keys of study.yaml of that name, with their section.

    >>> keys_named("epochs")
    ['train.epochs']
    """
    from pydantic import BaseModel

    from pathoml.config import StudyConfig

    found = []
    for section, field in StudyConfig.model_fields.items():
        if section == name:
            found.append(section)
        elif (
            isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
            and name in field.annotation.model_fields
        ):
            found.append(f"{section}.{name}")
    return found


def arrange(app: Typer) -> None:
    """Put the verbs of an app into the order and under the headings of PANELS."""
    panel_of = {verb: panel for panel, verbs in PANELS.items() for verb in verbs.split()}
    order = list(panel_of)
    for info in app.registered_commands:
        info.cls, info.rich_help_panel = Verb, panel_of[str(info.name)]
    app.registered_commands.sort(key=lambda info: order.index(str(info.name)))
