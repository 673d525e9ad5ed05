"""What is noted of a command in the study's log: when, which verb, which versions, how long, and
how it ended; never a patient, a slide, a person, a path, or a value that somebody typed.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pathoml
from pathoml.cli.console import Console
from pathoml.errors import PathomlError
from pathoml.store.study_log import append_entry

if TYPE_CHECKING:
    from typer import Context

UNLOGGED = ("check", "config", "doctor", "power", "status")  # they look and change nothing
PACKAGES = ("numpy", "scipy", "torch", "timm", "h5py", "openslide-bin")
SWITCHED_OFF = re.compile(r"^\s+log:\s*(?:false|no|off)\b", re.IGNORECASE | re.MULTILINE)
SETTING = re.compile(r"[a-z_.]+(?==)")


class Logbook:
    """The entries of one command; silent until `begin` finds a study that keeps a log."""

    def __init__(self, ctx: Context, console: Console) -> None:
        self.console, self.verb = console, str(ctx.info_name)
        self.folder = study_folder(ctx)
        self.settings: Sequence[str] = ctx.params.get("settings") or ()
        self.options = typed_options(ctx)
        self.started = time.monotonic()
        self.error: BaseException | None = None
        self._keeps: bool | None = None  # not asked yet
        self._ended = False

    def begin(self) -> None:
        """Note that the command began; a command that is killed leaves this line alone."""
        if self.wanted():
            append_entry(self.folder, self._entry("begin") | {"versions": versions()})

    def end(self, exit_code: int) -> None:
        """Note, once, how the command ended."""
        if self._ended or not self.wanted():
            return
        self._ended = True
        found = {"seconds": round(time.monotonic() - self.started, 1), "exit": exit_code}
        steps = self.console.step_seconds()
        entry = self._entry("end") | found | ({"steps": steps} if steps else {})
        if self.console.failed:
            entry["slides_failed"] = dict(self.console.failed)  # failures.csv says which and why
        if self.error is not None:
            entry |= error_words(self.error)
        append_entry(self.folder, entry)

    def wanted(self) -> bool:
        """Whether there is a study that keeps a log of this verb; asked once, and again where
        there was none yet, which `init` and `demo` make.
        """
        if self.verb in UNLOGGED or not (self.folder / "study.yaml").is_file():
            return False
        if self._keeps is None:
            self._keeps = keeps_log(self.folder, self.settings)
        return self._keeps

    def _entry(self, event: str) -> dict[str, Any]:
        return {
            "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "event": event,
            "verb": self.verb,
            "options": self.options,
            "process": os.getpid(),
        }


def study_folder(ctx: Context) -> Path:
    """Return the folder that a verb was given as its study."""
    given = (ctx.params.get(name) for name in ("study", "folder"))
    return next((path for path in given if isinstance(path, Path)), Path())


def typed_options(ctx: Context) -> list[str]:
    """Return the names of the options that were given, and the keys of --set; no values, which may
    name a patient or a person.
    """
    given = [
        name
        for name in ctx.params
        if getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    options = [
        f"--{name.replace('_', '-')}"
        for name in given
        if any(p.name == name and p.param_type_name == "option" for p in ctx.command.params)
    ]
    keys = [found[0] for one in ctx.params.get("settings") or () if (found := SETTING.match(one))]
    return [*(option for option in options if option != "--settings"), *keys]


def keeps_log(folder: Path, settings: Sequence[str]) -> bool:
    """Return whether a folder is a study whose log is not switched off (compute.log)."""
    from pathoml.config import load_study

    path = folder / "study.yaml"
    try:
        if not path.is_file():
            return False
        return load_study(folder, settings).config.compute.log
    except PathomlError:  # which is what is worth noting; what it says of the log still counts
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return not SWITCHED_OFF.search(text) and "compute.log=false" not in settings
    except OSError:
        return False


def versions() -> dict[str, str]:
    """Return the versions of what computes; a package that is not installed is left out."""
    found = {"pathoml": pathoml.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"system": f"{platform.system()} {platform.machine()}"}


def error_words(error: BaseException) -> dict[str, str]:
    """Return the kind of an error and where in our code it arose; its text may name a patient.

    >>> try:
    ...     pathoml.open_study("nowhere")
    ... except PathomlError as error:
    ...     error_words(error)["error"]
    'ConfigError'
    """
    root = Path(pathoml.__file__).parent
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(root)
    ]
    words = {"error": type(error).__name__}
    if frames:
        file = Path(frames[-1].filename).relative_to(root).as_posix()
        words["at"] = f"{file}:{frames[-1].lineno}"
    return words
