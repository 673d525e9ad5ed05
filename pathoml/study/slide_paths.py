r"""Where a slide lies, as slides.csv has it: written on Windows and read on Linux, or the other way
round.
"""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath


def slide_path(folder: Path, written: str) -> Path:
    r"""Return the path of a slide: absolute, or from the study's folder.

    Backslashes part folders where no file has one in its name. A path with a drive or a server of
    Windows is absolute, and elsewhere leads nowhere, never to something in the study's folder.

    >>> slide_path(Path("study"), r"slides\north\S1.svs").as_posix()
    'study/slides/north/S1.svs'
    >>> slide_path(Path("study"), "slides/S1.svs").as_posix()
    'study/slides/S1.svs'
    """
    path = folder / written
    if os.sep == "\\" or ("\\" not in written and written[1:2] != ":") or path.exists():
        return path  # the system itself, or a name with a backslash
    of_windows = PureWindowsPath(written)
    if of_windows.drive:
        return Path("/", of_windows.as_posix())
    return folder / of_windows.as_posix()
