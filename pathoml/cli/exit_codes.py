"""The border of the program: how a command ends when something is wrong, and what is said of it.

A user's mistake and what the machine refuses are sentences and exit code 2; anything else is our
bug, keeps its traceback, and is 70.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable

from pathoml.cli.console import Console, json_line
from pathoml.cli.interrupts import say_interrupted
from pathoml.errors import PathomlError

NO_BUGS = {  # what a machine refuses, told as such
    errno.ENOSPC: "finds no room on its disk: free some, or move the study",
    errno.EDQUOT: "finds no room in your quota: free some, or move the study",
    errno.EFBIG: "finds no room: it would be larger than files may be here",
    errno.EACCES: "may not be written or read by you: ask its owner, or copy the study",
    errno.EPERM: "may not be written or read by you: ask its owner, or copy the study",
    errno.EROFS: "may not be written, its disk is read-only: copy the study to another",
    errno.EIO: (
        "could not be read or written, its disk or network failed: try again, and look at the disk"
    ),
    errno.ENAMETOOLONG: (
        "has a name longer than this disk takes: shorten the slide_id or the folder"
    ),
}


def _say_error(text: str, kind: str, console: Console) -> None:
    sys.stderr.write(f"{json_line(f'FAILED: {text}', type=kind) if console.as_json else text}\n")


def _refused_by_the_machine(error: Exception) -> str:
    """Return what the disk or the memory refused as a sentence, "" if it is none of that.

    >>> _refused_by_the_machine(OSError(errno.ENOSPC, "No space left", "scores.csv"))
    'scores.csv finds no room on its disk: free some, or move the study (No space left).'
    """
    if isinstance(error, OSError) and error.errno in NO_BUGS:
        return f"{error.filename or 'A file'} {NO_BUGS[error.errno]} ({error.strerror})."
    number = re.search(
        r"\(os error (\d+)\)|errno = (\d+)", str(error)
    )  # as safetensors and HDF5 tell what the system told them
    code = int(number[1] or number[2]) if number else 0
    if code in NO_BUGS:
        return f"A file {NO_BUGS[code]} ({os.strerror(code)})."
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    ):
        return (
            "This machine has too little memory for that: ask for more, or set compute.workers"
            " lower."
        )
    return ""


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
        return say_interrupted(console)
    except Exception as error:  # noqa: BLE001 - the border of the program: tell what the machine refused, or name it as our bug
        refused = _refused_by_the_machine(error)
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
