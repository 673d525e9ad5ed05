"""The border of the program: how a command ends when something is wrong, and what is said of it.

A user's mistake and what the machine refuses are sentences and exit code 2; anything else is our
bug, keeps its traceback, and is 70.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

from pathoml.cli.console import Console, NobodyReads, json_line, printable
from pathoml.cli.interrupts import INTERRUPTED, interrupted_text, say_interrupted
from pathoml.cli.surroundings import TERMINATED, Terminated
from pathoml.errors import PathomlError
from pathoml.store.refusals import refused_by_the_machine

UNREAD = 141  # as a shell ends what writes into a closed pipe


def _say_error(text: str, kind: str, console: Console) -> None:
    _write(json_line(f"FAILED: {text}", type=kind) if console.as_json else text)


def _write(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody reads
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def _forget_output() -> None:
    """Lead what is still to be printed nowhere: Python would complain of it when it ends."""
    with contextlib.suppress(OSError, ValueError):  # not a stream of the system's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def guarded(command: Callable[[], object], console: Console | None = None) -> int:
    """Return the exit code of a command: a user's mistake is a sentence, our bug keeps its
    traceback.

    Args:
        console: of the command; it knows whether errors are to be JSON, or shown in full.
    """
    console = console or Console()
    try:
        command()
    except PathomlError as error:
        if console.debug:
            _write(traceback.format_exc().rstrip())
        _say_error(str(error), type(error).__name__, console)
        return error.exit_code
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer made it of Ctrl-C
            say_interrupted(console)
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except KeyboardInterrupt:
        return say_interrupted(console)
    except Terminated:
        _write(interrupted_text(console, sys.argv[1:]))
        return TERMINATED
    except (NobodyReads, BrokenPipeError):  # `head` has seen enough
        _forget_output()
        return UNREAD
    except Exception as error:  # noqa: BLE001 - the border of the program: tell what the machine refused, or name it as our bug
        refused = refused_by_the_machine(error)
        if refused:
            if console.debug:
                _write(traceback.format_exc().rstrip())
            _say_error(
                f"{refused} What was finished is kept; the same command goes on from there.",
                type(error).__name__,
                console,
            )
            return 2
        _write(traceback.format_exc().rstrip())
        _write(
            "This is a bug of pathoml. Please report the lines above; they hold no patient data"
            " beyond ids."
        )
        return 70
    return 0
