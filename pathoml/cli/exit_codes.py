"""The border of the program: how a command ends when something is wrong, and what is said of it.

A user's mistake and what the machine refuses are sentences and exit code 2; anything else is our
bug, keeps its traceback, and is 70.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from pathoml.cli.console import Console, json_line
from pathoml.errors import PathomlError
from pathoml.store.refusals import refused_by_the_machine


def _say_error(text: str, kind: str, console: Console) -> None:
    sys.stderr.write(f"{json_line(f'FAILED: {text}', type=kind) if console.as_json else text}\n")


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
            traceback.print_exc()
        _say_error(str(error), type(error).__name__, console)
        return error.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except KeyboardInterrupt:
        sys.stderr.write(
            "Interrupted. What was finished is kept; the same command goes on from there.\n"
        )
        return 130
    except Exception as error:  # noqa: BLE001 - the border of the program: tell what the machine refused, or name it as our bug
        refused = refused_by_the_machine(error)
        if refused:
            if console.debug:
                traceback.print_exc()
            _say_error(
                f"{refused} What was finished is kept; the same command goes on from there.",
                type(error).__name__,
                console,
            )
            return 2
        traceback.print_exc()
        sys.stderr.write(
            "This is a bug of pathoml. Please report the lines above; they hold no patient data"
            " beyond ids.\n"
        )
        return 70
    return 0
