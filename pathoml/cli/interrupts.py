"""Ctrl-C: what was kept is said, and the command ends within a second, in the middle of a long
calculation too; a second one ends it at once.

Python raises KeyboardInterrupt between two of its own operations. A product of large matrices, a
library that holds a lock, or a pool that waits for its workers lets it wait for minutes. So a
thread hears of the signal as well, and ends the process where nobody else did. That loses nothing:
files are written under another name first, and a command that is killed leaves no torn one.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from pathoml.cli.console import Console, json_line, printable

INTERRUPTED = 130  # as a shell names a command that SIGINT ended
PATIENCE_S = 0.4  # for what Python does of its own to end: a pool, open files, threads
SHOW_CURSOR = "\x1b[?25h"  # which a moving bar hides
KEPT = {  # bar -> what is there to go on from
    "check": "Nothing was changed.",
    "draw": "The study was not drawn whole: it is drawn anew.",
    "tile": "Slides that were tiled are kept.",
    "embed": "Slides that were embedded are kept.",
    "join": "Slides that were embedded are kept.",
    "train": "Tiles and embeddings are kept; training begins anew.",
    "permute": "Models and scores are kept, and the permutations that were finished in blocks.",
    "resample": "Models and scores are kept, and the resamples that were finished in blocks.",
    "evaluate": "Models and scores are kept, and the permutations that were finished in blocks.",
    "explain": "Models and scores are kept.",
    "discover": "Models and scores are kept.",
}
SERVERS = ("view",)  # verbs that run until somebody stops them: then all is well
READ_ONLY = ("check", "config", "doctor", "power", "status", "view")  # verbs that leave nothing


def interrupted_text(console: Console, words: Sequence[str]) -> str:
    """Return what is said of a command that was interrupted: where it was, what is kept, and how it
    goes on.

    Args:
        words: of the command line, without the program's name.

    >>> console = Console()
    >>> console.verb, console.reached = "run", ("embed", "12 of 40 slides")
    >>> print(interrupted_text(console, ["run", "my study"]))
    Interrupted in embed at 12 of 40 slides. Slides that were embedded are kept.
    It goes on with: pathoml run 'my study'
    """
    what, where = console.reached or (console.step, "")
    place = (f" in {what}" if what else "") + (f" at {where}" if where else "")
    if console.verb in READ_ONLY:
        return f"Interrupted{place}. Nothing was changed."
    kept = KEPT.get(what, "What was finished is kept.")
    return f"Interrupted{place}. {kept}\nIt goes on with: {shlex.join(['pathoml', *words])}"


def say_interrupted(console: Console) -> int:
    """Say it once, on the error stream, and return the exit code."""
    if not console.interrupted:
        console.interrupted = True
        with suppress(OSError, ValueError):  # nobody may be there to read it
            after = "\n" if sys.stderr.isatty() else ""  # the ^C that a terminal prints
            text = interrupted_text(console, sys.argv[1:])
            if console.as_json:
                text = json_line(text, step=console.step, type="Interrupted")
            sys.stderr.write(f"{after}{printable(text)}\n")
            sys.stderr.flush()
    return INTERRUPTED


@contextmanager
def answering_interrupts(console: Console) -> Iterator[None]:
    """See to it that SIGINT ends this process within a second while the context is open.

    Only for a process of its own: whoever calls the command line from Python keeps what they do
    about signals.
    """
    if threading.current_thread() is not threading.main_thread() or not _is_heard():
        yield
        return
    ears, mouth = socket.socketpair()  # a socket, since Windows takes nothing else
    mouth.setblocking(False)
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)

    def pressed(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            leave(console)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, pressed)
    # what cleans up after a process that was ended says so, which is no news to who ended it
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    watch = threading.Thread(target=_watch, args=(ears, console), name="interrupts", daemon=True)
    watch.start()
    try:
        yield
    finally:
        if console.interrupted:  # what Python takes apart at its end can take seconds
            with suppress(OSError, ValueError):  # nobody may be there to read it
                sys.stdout.flush()
            leave(console)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(before)
        mouth.close()  # the watch reads the end, and is done


def _is_heard() -> bool:
    """Whether SIGINT raises KeyboardInterrupt: not in a job that a shell started in the
    background.
    """
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded: an exception that comes up inside a library of C++ which is
    just being set up aborts the process, with a message about that library.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _watch(ears: socket.socket, console: Console) -> None:
    """Wait for SIGINT; give Python its time to end, then end the process."""
    try:
        while signals := ears.recv(64):
            if signal.SIGINT in signals:
                break
        else:
            return
        if signals.count(signal.SIGINT) == 1:
            ears.settimeout(PATIENCE_S)
            while (more := ears.recv(64)) and signal.SIGINT not in more:
                pass
    except TimeoutError:
        pass
    except OSError:
        return
    leave(console)


def _being_started() -> list[int]:
    """Return the children of this process on Linux, those too that are just being started, which
    would complain that nobody tells them what to do; but for the one that cleans up after all.
    """
    tasks = list(Path("/proc/self/task").glob("*/children"))
    if not tasks:
        return []
    from multiprocessing import resource_tracker  # here, because Windows has none

    tracker = getattr(resource_tracker, "_resource_tracker", None)
    spared = getattr(tracker, "_pid", None)
    found: set[int] = set()
    for path in tasks:
        with suppress(OSError):
            found |= {int(number) for number in path.read_text(encoding="ascii").split()}
    return sorted(found - {spared})


def leave(console: Console) -> None:
    """End the workers and this process, now."""
    for worker in multiprocessing.active_children():
        worker.kill()
    for process in _being_started():
        with suppress(OSError):  # it ended by itself
            os.kill(process, signal.SIGKILL)
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), SHOW_CURSOR.encode())
    if console.verb in SERVERS and not console.interrupted:
        console.on_end(0)
        os._exit(0)
    say_interrupted(console)
    console.on_end(INTERRUPTED)
    os._exit(INTERRUPTED)
