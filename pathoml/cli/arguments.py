"""Arguments and options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyArgument = Annotated[
    Path, typer.Argument(help="The study folder.", show_default="the current folder")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key of study.yaml: section.key=value.")
]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard",
        help="Only part I of N of the slides (evaluate: of permutations and resamples), as I/N.",
        show_default="all",
    ),
]
