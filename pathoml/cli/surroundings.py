"""The process around a command: streams that are closed or lack letters, how many files may be
open, threads that do not spin while they wait, and what SIGTERM means.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

from pathoml.compute.open_files import raise_open_files
from pathoml.store.refusals import refusal_number

TERMINATED = 128 + signal.SIGTERM  # exit code, as a shell gives it
SECONDS_TO_END = 10.0  # after SIGTERM; then the process ends where it stands
# to Python: spawned children import nothing from where pathoml was started, maybe a study
SAFE_PATH = "PYTHONSAFEPATH"
# to OpenMP, before torch loads it: a thread that waits for work sleeps, and leaves its core to
# whoever runs beside it
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def begin_in_utf8() -> None:
    """Begin this process anew in Python's UTF-8 mode where its locale cannot spell every name of a
    file; what is printed stays in the locale's letters.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or sys.flags.utf8_mode:
        return
    letters = getattr(sys.stdout, "encoding", None) or "ascii"
    os.environ.setdefault("PYTHONIOENCODING", f"{letters}:backslashreplace")
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class Terminated(BaseException):
    """Somebody asked the process to end: scancel, docker stop, timeout, a closing terminal."""


@contextmanager
def prepared() -> Iterator[None]:
    """Prepare this process for a command, and leave it to a caller in it as it was."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # "\u0141" where a terminal has no such letter
            with suppress(OSError, ValueError):  # something else lies under its number by now
                stream.reconfigure(errors="backslashreplace")
    raise_open_files()
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook, sys.unraisablehook = _say_uncaught, _say_unraisable
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    is_main = threading.current_thread() is threading.main_thread()
    handled = {}
    if is_main:
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows hangs nobody up
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                handled[number] = signal.signal(number, _terminate)
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = hooks
        for number, handler in handled.items():
            signal.signal(number, handler)
        if before is None:
            os.environ.pop(SAFE_PATH, None)
        else:
            os.environ[SAFE_PATH] = before


def _say_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Keep quiet of what the disk refused while Python tidied up (h5py's objects tell it so):
    whoever closes the file, or reads it back, is told.
    """
    if not refusal_number(error):
        sys.__excepthook__(kind, error, trace)


def _say_unraisable(said: sys.UnraisableHookArgs) -> None:
    """Keep quiet of the same, where Python itself tells it."""
    if said.exc_value is None or not refusal_number(said.exc_value):
        sys.__unraisablehook__(said)


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # whoever asks twice does not wait
    end = threading.Timer(SECONDS_TO_END, os._exit, (TERMINATED,))
    end.daemon = True
    end.start()
    raise Terminated


def _open_streams() -> None:
    """Open a standard stream that was closed (`>&-`, a daemon) on nothing: its number would go to
    the next file that is opened, and what is printed into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process
