"""Code of the folder where pathoml was started is not pathoml's: it may be the study of a stranger.

Python looks there first for every module. Here what pathoml imports, and what that imports, is
looked for elsewhere; what a notebook or a script of that folder imports itself is found as ever.
Children (spawning.py) start with that folder last. This module comes before everything else, so
it imports nothing that Python would look for, not even `__future__`.
"""

import _frozen_importlib_external as _external
import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType

SAFE_PATH = "PYTHONSAFEPATH"  # set, Python starts without the folder in front
AS_HANDED_ON = os.sep + "."  # ends the folder in the path of a child: a spelling of ours alone
_ONE_AT_A_TIME = _thread.allocate_lock()
PROGRAMS = ("__main__", "__mp_main__")  # the user's own program, in this process or in a child


class NotFromHere:
    """A finder that is asked first: for what pathoml imports, it leaves the folder out."""

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """Return where a top-level module lies elsewhere; None leaves it to the finders after this.

        Raises:
            ModuleNotFoundError: it lies nowhere else.
        """
        if path is not None:
            return None
        elsewhere = path_elsewhere()
        if len(elsewhere) == len(sys.path) or not _for_pathoml(sys._getframe(1)):
            return None
        for finder in sys.meta_path:
            if isinstance(finder, NotFromHere):
                continue
            places = elsewhere if finder is _external.PathFinder else None
            spec = finder.find_spec(fullname, places, target)
            if spec is not None:
                return spec
        raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def path_elsewhere() -> list[str]:
    """Return sys.path without what stands for the folder that Python was started in, unless
    somebody named that folder.
    """
    named = _named()
    by_nobody = "" in named and not any(map(_is_working_folder, filter(None, named)))

    def is_here(place: int, entry: str) -> bool:
        first = place == 0 and not sys.flags.safe_path
        return (first or by_nobody or entry.endswith(AS_HANDED_ON)) and _is_working_folder(entry)

    return [e for place, e in enumerate(sys.path) if e and not is_here(place, e)]


class StartedSafely:
    """While a child starts: its environment, and the path that it is handed, have the folder
    nowhere and last.
    """

    def __enter__(self) -> None:
        _ONE_AT_A_TIME.acquire()
        self._before = {name: os.environ.get(name) for name in (SAFE_PATH, "PYTHONPATH")}
        self._path = sys.path
        named = _named()
        elsewhere = path_elsewhere()
        os.environ[SAFE_PATH] = "1"
        if "" in named:
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, named))
        here = [AS_HANDED_ON] if len(elsewhere) < len(sys.path) else []
        sys.path = elsewhere + [_cwd() + ending for ending in here]

    def __exit__(self, *_: object) -> None:
        sys.path = self._path
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _ONE_AT_A_TIME.release()


def _for_pathoml(frame: "FrameType | None") -> bool:
    """Return whether pathoml imports, itself or by what it imports, and no code of the user."""
    here = {_cwd(), os.environ.get("PWD", "")}
    for caller in _above_the_machinery(frame):
        name = str(caller.f_globals.get("__name__", ""))
        if name == "pathoml" or name.startswith("pathoml."):
            return True
        if name == "importlib.util":  # somebody looks where a module is, and imports nothing
            return False
        if name in PROGRAMS and not _is_ours(caller):
            return False
        if os.path.dirname(str(caller.f_globals.get("__file__", ""))) in here:
            return False
    return False


def _is_ours(frame: "FrameType") -> bool:
    spec = frame.f_globals.get("__spec__")
    return str(getattr(spec, "name", "")).startswith("pathoml")


def _above_the_machinery(frame: "FrameType | None") -> "Iterator[FrameType]":
    while frame is not None:
        if not frame.f_code.co_filename.startswith("<frozen importlib._"):
            yield frame
        frame = frame.f_back


def _named() -> list[str]:
    """Return the parts of PYTHONPATH; an empty one stands for the folder where Python starts."""
    named = os.environ.get("PYTHONPATH", "")
    return named.split(os.pathsep) if named else []


def _is_working_folder(path: str) -> bool:
    here = _cwd()
    return bool(here) and (path == here or os.path.realpath(path) == os.path.realpath(here))


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""
