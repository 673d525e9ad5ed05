"""`pathoml view`: the viewer on this machine, or a folder that opens without any server."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from typer import Context, Exit, Option

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console
from pathoml.errors import ConfigError

if TYPE_CHECKING:
    from pathoml.config import Study

LOOPBACK_BINDS = ("127.0.0.1", "localhost", "::1")
SHORTEST_TOKEN = 16
TOKEN_VARIABLE = "PATHOML_VIEW_TOKEN"


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    port: Annotated[int, Option(min=1, max=65535, help="Port of the viewer.")] = 8765,
    bind: Annotated[
        str, Option(help="Address to listen on; loopback is this machine only.")
    ] = "127.0.0.1",
    token: Annotated[
        str,
        Option(
            envvar=TOKEN_VARIABLE,
            help=(
                "Secret in the address, without which nobody is let in; made up at every start if"
                " left out."
            ),
        ),
    ] = "",
    rater: Annotated[
        list[str] | None,
        Option(
            "--rater",
            help="A rater who gets a link of their own to the reading room; may be repeated.",
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        Option("--host", help="A further name that people type to reach this machine."),
    ] = None,
    blinded: Annotated[
        bool,
        Option(
            help=(
                "Serve the blinded reading room only: no scores, no outcome, no maps before a read."
            )
        ),
    ] = False,
    run_head: Annotated[
        bool,
        Option(
            "--run-head",
            help=(
                "Run the file of the study that train.head names, for the risk without a region;"
                " code of a study is not run unasked."
            ),
        ),
    ] = False,
    static: Annotated[
        Path | None,
        Option(help="Write a folder that opens without any server, instead of serving."),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Open the slides, their maps and the reading room in the browser."""
    from pathoml.config import load_study

    loaded = load_study(study, settings or ())
    source = ctx.get_parameter_source("token")
    if static is None and source is not None and source.name == "COMMANDLINE":
        ctx.obj.say(
            "Everybody on this machine who lists its processes sees --token. Set"
            f" {TOKEN_VARIABLE} in the environment instead."
        )
    if static is not None:
        raise Exit(run_static(loaded, ctx.obj, static))
    raise Exit(
        run(
            loaded,
            ctx.obj,
            port=port,
            bind=bind,
            token=token,
            hosts=host or [],
            raters=rater or [],
            blinded=blinded,
            run_head=run_head,
        )
    )


def run(
    study: Study,
    console: Console,
    *,
    port: int,
    bind: str,
    token: str,
    hosts: list[str],
    raters: list[str],
    blinded: bool,
    run_head: bool,
) -> int:
    """Serve until interrupted, to whoever has the address with the token or a rater's link to the
    reading room.
    """
    _need_viewer()
    from pathoml.viewer.access import LOOPBACK, Border
    from pathoml.viewer.server import create_app
    from pathoml.viewer.serving import server_of
    from pathoml.viewer.visitors import new_token, rater_token

    local = bind in LOOPBACK_BINDS
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"--token has {len(token)} characters; it needs at least {SHORTEST_TOKEN}. Leave it out"
            " to have one made."
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError("--token holds blanks or letters beyond ASCII. Use letters and digits.")
    if not local:
        console.say(
            f"Bound to {bind}: other machines can reach the viewer, unencrypted. Whoever reads the"
            " network reads the token too."
        )
    names = (*LOOPBACK, *hosts, *(() if bind in ("0.0.0.0", "::") else (_as_host(bind),)))
    if not local and not hosts and bind in ("0.0.0.0", "::"):
        raise ConfigError(
            "--bind 0.0.0.0 answers only to names that you allow: add --host NAME, as people will"
            " type it in the browser."
        )
    _need_free_port(bind, port)
    border = Border(
        hosts=tuple(name.lower() for name in names),
        token=token or new_token(),
        raters=tuple(raters),
    )
    app = create_app(study, border=border, blinded_only=blinded, warm=True, run_head=run_head)
    shown = next(iter(hosts), "127.0.0.1" if local else _as_host(bind))
    console.heading(f"view  runs/{study.config.run}")

    def address(page: str, secret: str) -> str:
        return f"http://{shown}:{port}{page}?token={quote(secret, safe='')}"

    console.say(f"  open {address('/reading' if blinded else '/', border.token)}")
    for rater in raters:
        console.say(f"  for {rater}: {address('/reading', rater_token(border.token, rater))}")
    console.say(
        "  Whoever has an address is let in: hand it on as you would a key. Research use only, not"
        " a medical device. Stop with Ctrl+C."
    )
    server_of(app, host=bind, port=port).run()
    return 0


def _as_host(bind: str) -> str:
    """Return an address as a browser's host names it."""
    return f"[{bind.lower()}]" if ":" in bind else bind.lower()


def run_static(study: Study, console: Console, folder: Path) -> int:
    """Write a folder that opens from a disk, with overviews instead of whole slides."""
    _need_viewer()
    from pathoml.viewer.static_copy import write_static

    with console.bar("static", "slides") as bar:
        failures = write_static(study, folder, bar)
    console.say(
        f"  open {folder / 'index.html'} in a browser; it needs no server. It holds study ids and"
        " scores: share it as such."
    )
    if failures:
        console.table(list(failures.items()), ("slide left out", "reason"))
    return 1 if failures else 0


def _need_free_port(bind: str, port: int) -> None:
    """Raise ConfigError where nothing can listen, before an address is printed that may show
    somebody else's study.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as uvicorn does: a port just left is free
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise ConfigError(
                f"{bind}, port {port}: {error.strerror}. If another viewer runs there, stop it, or "
                f"take the next port: --port {port + 1}."
            ) from error


def _need_viewer() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"The viewer needs {error.name}. Install it with: pip install 'pathoml[viewer]'."
        ) from error
