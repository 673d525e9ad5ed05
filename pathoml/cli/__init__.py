"""The command line: `pathoml VERB [STUDY] [--set section.key=value ...]`. One file a verb; each
imports its step when it is called.

Exit codes: 0 done, 1 some slides failed (failures.csv says which and why), 2 the user's input, 70
our bug.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

import pathoml
from pathoml.cli.exit_codes import guarded
from pathoml.cli.help import arrange

app = typer.Typer(
    name="pathoml",
    help=(
        "From whole-slide images and a clinical table to an honest risk score, maps and a report."
        " Research use only."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
STUDY_VERBS = {
    "check": (
        "Read study.yaml and the tables, open every slide; print the flow of patients, what is"
        " refused, identifiers left in slides."
    ),
    "train": "Train all folds, repeats and seeds; write models and out-of-fold scores: runs/RUN/.",
    "explain": "Attention and signed contribution of every tile: runs/RUN/attention/.",
    "report": "One self-contained page: runs/RUN/report.html.",
    "run": (
        "Every stale step in order: check, tile, embed, train, evaluate, explain, discover, report."
    ),
}
StudyArgument = Annotated[
    Path, typer.Argument(help="The study folder.", show_default="the current folder")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key of study.yaml: section.key=value.")
]


def _add_study_verb(verb: str, text: str) -> None:
    def command(study: StudyArgument = Path(), settings: SetOption = None) -> None:
        from pathoml.cli.console import Console
        from pathoml.config import load_study

        raise typer.Exit(
            importlib.import_module(f"pathoml.cli.{verb}").run(
                load_study(study, settings or ()), Console()
            )
        )

    app.command(verb, help=text)(command)


SHARED_VERBS = {
    "tile": "Find the tissue and lay tiles of one physical side over it: tiles/.",
    "embed": "Run the encoder over the tiles: embeddings/.",
    "evaluate": (
        "Concordance with intervals, baselines, permutation p: metrics.json, permutation.json,"
        " analysis.R."
    ),
}
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard",
        help="Only part I of N of the slides (evaluate: of the permutations), as I/N.",
        show_default="all",
    ),
]


def _add_shared_verb(verb: str, text: str) -> None:
    def command(
        study: StudyArgument = Path(), shard: ShardOption = "", settings: SetOption = None
    ) -> None:
        from pathoml.cli.console import Console
        from pathoml.compute.shards import parse_shard
        from pathoml.config import load_study

        part = parse_shard(shard) if shard else None
        raise typer.Exit(
            importlib.import_module(f"pathoml.cli.{verb}").run(
                load_study(study, settings or ()), Console(), part
            )
        )

    app.command(verb, help=text)(command)


for _verb, _text in SHARED_VERBS.items():
    _add_shared_verb(_verb, _text)
for _verb, _text in STUDY_VERBS.items():
    _add_study_verb(_verb, _text)


@app.command("submit")
def submit_command(
    study: StudyArgument = Path(),
    shards: Annotated[
        int,
        typer.Option(
            min=1, max=10_000, help="Jobs among which slides and permutations are divided."
        ),
    ] = 8,
    sbatch: Annotated[
        list[str] | None,
        typer.Option("--sbatch", help="An option of sbatch for every job: --partition=long."),
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", help="An option of sbatch for embedding and training: --gres=gpu:1."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the scripts and submit nothing.")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Run the study on a SLURM cluster: arrays of jobs that tile, embed and permute, one that
    trains, and one for the rest.
    """
    from pathoml.cli import submit as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    loaded = load_study(study, settings or ())
    options = verb.Options(
        shards=shards, every=sbatch or [], gpu=gpu or [], settings=settings or [], dry_run=dry_run
    )
    raise typer.Exit(verb.run(loaded, options, Console()))


@app.command("status")
def status_command(study: StudyArgument = Path(), settings: SetOption = None) -> None:
    """Say which steps are done, for how many slides, what failed, which cluster jobs still run."""
    from pathoml.cli import status as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    raise typer.Exit(verb.run(load_study(study, settings or ()), Console()))


@app.command("pack")
def pack_command(
    study: StudyArgument = Path(),
    gigabytes: Annotated[
        float, typer.Option("--size", min=0.001, max=64, help="Size of a pack in GB.")
    ] = 2.0,
    settings: SetOption = None,
) -> None:
    """Put the embeddings of many slides into few large files, where a file system counts files;
    everything reads them as before.
    """
    from pathoml.cli import pack as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    raise typer.Exit(verb.run(load_study(study, settings or ()), Console(), gigabytes))


@app.command("withdraw")
def withdraw_command(
    patient: Annotated[str, typer.Argument(help="patient_id, as in patients.csv.")],
    study: StudyArgument = Path(),
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Do it; without it only a list is printed.")
    ] = False,
    bundles: Annotated[
        bool,
        typer.Option(
            "--bundles", help="Remove locked models that learned from the patient as well."
        ),
    ] = False,
) -> None:
    """Remove a patient who withdrew from tables, tiles, embeddings, runs and readings; list the
    models that learned from them.
    """
    from pathoml.cli import withdraw as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study
    from pathoml.errors import ConfigError

    if (Path(patient) / "study.yaml").exists():
        raise ConfigError(
            f"The patient comes first, then the study: `pathoml withdraw PATIENT {patient}`."
        )
    raise typer.Exit(
        verb.run(load_study(study), patient, Console(), confirmed=confirm, bundles_too=bundles)
    )


@app.command("discover")
def discover_command(
    study: StudyArgument = Path(),
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Ratings of the naming sheet or of the viewer, as CSV."),
    ] = None,
    spots: Annotated[
        Path | None,
        typer.Option(
            "--spots", help="Spatial transcriptomics of one slide, as .h5ad; goes with --slide."
        ),
    ] = None,
    slide: Annotated[
        str,
        typer.Option("--slide", help="The slide_id of the section that --spots was measured on."),
    ] = "",
    settings: SetOption = None,
) -> None:
    """Find groups of similar tiles, test them against the outcome, write sheets for naming:
    runs/RUN/features/.
    """
    from pathoml.cli import discover as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    raise typer.Exit(
        verb.run(load_study(study, settings or ()), Console(), labels, spots=spots, slide_id=slide)
    )


@app.command("demo")
def demo_command(
    folder: Annotated[Path, typer.Argument(help="Where to put the synthetic study.")] = Path(
        "demo-study"
    ),
    patients: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Patients of the synthetic cohort; claims need 60.",
            show_default="60, or 8 with --tiny",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic cohort.")] = 1,
    tiny: Annotated[
        bool,
        typer.Option(
            "--tiny", help="8 patients on small slides: a first look within minutes, no claims."
        ),
    ] = False,
    study: Annotated[
        str,
        typer.Option(
            "--study",
            help=(
                "sts: only write the synthetic twin of the sarcoma study, two cohorts, to"
                " rehearse on."
            ),
        ),
    ] = "",
    scale: Annotated[
        str,
        typer.Option(
            "--scale", help="Of --study: full, features only; small, fewer patients with slides."
        ),
    ] = "full",
) -> None:
    """Draw a synthetic multi-centre cohort with known truth and run all of pathoml on it."""
    from pathoml.cli import demo as verb
    from pathoml.cli.console import Console

    if study:
        raise typer.Exit(verb.write_twin(folder, study, scale=scale, seed=seed, console=Console()))
    raise typer.Exit(verb.run(folder, patients=patients, seed=seed, tiny=tiny, console=Console()))


@app.command("init")
def init_command(
    study: Annotated[Path, typer.Argument(help="The study folder to make.")],
    slides: Annotated[Path, typer.Option("--slides", help="The folder with the slides.")],
) -> None:
    """Write study.yaml, slides.csv and a patients.csv to fill in."""
    from pathoml.cli import init as verb
    from pathoml.cli.console import Console

    raise typer.Exit(verb.run(study, slides, Console()))


@app.command("power")
def power_command(
    study: StudyArgument = Path(),
    settings: SetOption = None,
    patients: Annotated[
        int | None,
        typer.Option(min=2, help="Plan with this many patients instead of reading the study."),
    ] = None,
    events: Annotated[int | None, typer.Option(min=1, help="Events among them.")] = None,
    treated_share: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Share of patients with the treatment.")
    ] = None,
) -> None:
    """Say which effects the cohort's n and events can show, how precise C will be, and how many
    parameters they pay for.
    """
    from pathoml.cli import power as verb
    from pathoml.cli.console import Console

    raise typer.Exit(
        verb.run(
            study,
            settings or [],
            Console(),
            patients=patients,
            events=events,
            treated_share=treated_share,
        )
    )


@app.command("doctor")
def doctor_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Where studies lie; the speed of its disk is tried.",
            show_default="the current folder",
        ),
    ] = Path(),
) -> None:
    """Say what works on this machine, what is missing and how to get it."""
    from pathoml.cli import doctor as verb
    from pathoml.cli.console import Console

    raise typer.Exit(verb.run(Console(), folder))


@app.command("config")
def config_command(
    what: Annotated[
        str,
        typer.Argument(
            help="'show' the values in force, or the 'schema': every key, type and default."
        ),
    ] = "show",
    study: StudyArgument = Path(),
    settings: SetOption = None,
) -> None:
    """Show the resolved configuration, or every key there is."""
    from pathoml.cli import config as verb
    from pathoml.cli.console import Console

    raise typer.Exit(verb.run(what, study, settings or [], console=Console()))


@app.command("import")
def import_command(
    study: Annotated[Path, typer.Argument(help="The study folder.")],
    source: Annotated[Path, typer.Argument(help="What the other tool wrote: a file or a folder.")],
    name: Annotated[
        str,
        typer.Option(
            "--from",
            help="A file of pathoml/interop/ that can import, or scores: a score a patient.",
        ),
    ],
    column: Annotated[
        str | None, typer.Option("--column", help="Of --from scores: the score's column.")
    ] = None,
    settings: SetOption = None,
) -> None:
    """Read features or scores of another tool into the study."""
    from pathoml.cli import exchange as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    raise typer.Exit(
        verb.run_import(
            load_study(study, settings or ()), name, source, console=Console(), column=column
        )
    )


@app.command("export")
def export_command(
    study: StudyArgument = Path(),
    name: Annotated[
        str,
        typer.Option(
            "--to", help="figures (PNG and SVG), or a file of pathoml/interop/ that can export."
        ),
    ] = "qupath",  # what pathologists have
    target: Annotated[
        Path | None,
        typer.Option("--out", help="The folder to write.", show_default="runs/RUN/export/NAME"),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Write a run, or the study's embeddings, as another tool reads them."""
    from pathoml.cli import exchange as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    raise typer.Exit(
        verb.run_export(load_study(study, settings or ()), name, target, console=Console())
    )


@app.command("view")
def view_command(
    study: StudyArgument = Path(),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the viewer.")] = 8765,
    bind: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str,
        typer.Option(
            help="Secret in the address, for a bind that is not loopback; made up if left out."
        ),
    ] = "",
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A further name that people type to reach this machine."),
    ] = None,
    blinded: Annotated[
        bool,
        typer.Option(
            help=(
                "Serve the blinded reading room only: no scores, no outcome, no maps before a read."
            )
        ),
    ] = False,
    static: Annotated[
        Path | None,
        typer.Option(help="Write a folder that opens without any server, instead of serving."),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Open the slides, their maps and the reading room in the browser."""
    from pathoml.cli import view as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    loaded, console = load_study(study, settings or ()), Console()
    if static is not None:
        raise typer.Exit(verb.run_static(loaded, console, static))
    raise typer.Exit(
        verb.run(
            loaded, console, port=port, bind=bind, token=token, hosts=host or [], blinded=blinded
        )
    )


@app.command("lock")
def lock_command(
    study: StudyArgument = Path(),
    name: Annotated[str, typer.Option("--name", help="The folder under bundles/.")] = "locked",
    settings: SetOption = None,
) -> None:
    """Freeze the run's recipe: an ensemble trained on all patients, with scaler and cut-offs:
    bundles/NAME/.
    """
    from pathoml.cli import lock as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    raise typer.Exit(verb.run(load_study(study, settings or ()), name, Console()))


@app.command("predict")
def predict_command(
    study: Annotated[
        Path,
        typer.Argument(help="The study to score; its slides must be embedded as the bundle says."),
    ],
    bundle: Annotated[Path, typer.Option("--bundle", help="The folder that `pathoml lock` wrote.")],
    maps: Annotated[
        bool, typer.Option("--maps", help="Draw the maps too, into runs/NAME/attention/.")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Score new patients with a locked bundle, outcomes unseen: runs/NAME/scores.csv and drift.csv,
    with maps on request.
    """
    from pathoml.cli import predict as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    raise typer.Exit(verb.run(load_study(study, settings or ()), bundle, Console(), maps=maps))


@app.command("benchmark")
def benchmark_command(
    study: StudyArgument = Path(),
    encoders: Annotated[
        list[str] | None,
        typer.Option("--encoder", help="Encoders to compare; the study's if none."),
    ] = None,
    heads: Annotated[list[str] | None, typer.Option("--head", help="Heads to compare.")] = None,
    permutations: Annotated[
        int, typer.Option(min=0, help="Permutations of the best of all recipes.")
    ] = 0,
    settings: SetOption = None,
) -> None:
    """Compare encoders and heads on the same folds: C with paired intervals, cost, and what
    choosing costs.
    """
    from pathoml.cli import benchmark as verb
    from pathoml.cli.console import Console
    from pathoml.config import load_study

    chosen = heads or ["abmil", "mean_pool", "ridge_cox"]
    raise typer.Exit(
        verb.run(
            load_study(study, settings or ()),
            encoders or [],
            chosen,
            permutations=permutations,
            console=Console(),
        )
    )


arrange(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pathoml {pathoml.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json",
            envvar="PATHOML_LOG_JSON",
            help="One JSON object a line: time, level, step, slide, message.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            envvar="PATHOML_DEBUG",
            help="Show the traceback of every error, the user's mistakes too.",
        ),
    ] = False,
) -> None:
    from pathoml.cli.console import Console

    Console.as_json, Console.debug = log_json, debug


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(guarded(lambda: app(arguments, standalone_mode=True)))
