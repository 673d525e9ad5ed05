"""Which slides lie below a folder: each once, by content where the name does not tell, never the
macro, map or label of another, and what was passed over with the reason.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pathoml.slides.companions import companions, data_folder
from pathoml.slides.dicom import read_header

SLIDE_SUFFIXES = frozenset(
    (
        *(".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu"),
        *(".svslide", ".czi", ".png", ".jpg", ".jpeg"),
    )
)
PLAIN_SUFFIXES = frozenset((".tif", ".tiff", ".png", ".jpg", ".jpeg"))
DICOM_SUFFIXES = frozenset((".dcm", ".dicom", ".ima"))
STUDY_FILE = "study.yaml"
# what systems and servers put beside files; their names begin so
OF_THE_SYSTEM = (".", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "#recycle", "System Volume Information")
PICTURE_NAME = re.compile(r"(^|[-_. ])(macro|label|barcode|thumb(nail)?)([-_ ]?image)?$", re.I)
PLAIN_PICTURE_NAME = re.compile(r"^(macro|label|barcode|thumb(nail)?)[-_. ]", re.I)
PART_NAME = re.compile(r"^(.+)[-_. ](map\d*|overview|opt\d*)$", re.I)  # of a slide beside it
PICTURE_FOLDER = re.compile(r"^(macro|label|barcode|thumb(nail)?)(image)?s?$", re.I)

HIDDEN = "hidden, or of the system"
BROKEN = "a link that leads nowhere"
AGAIN = "there already, by a link"
A_STUDY = "the folder of a study"
A_PICTURE = "a macro, label or thumbnail"
A_PART = "part of another slide (map, macro or image files)"
AN_INDEX = "an index (DICOMDIR)"
OTHER_DICOM = "DICOM of another kind than slides"


@dataclass(frozen=True, kw_only=True)
class FoundSlide:
    """A slide below a folder."""

    path: Path  # a file, or a folder of one DICOM series
    series: tuple[Path, ...] = ()  # of a DICOM series the files of its levels, the largest first


@dataclass(frozen=True, kw_only=True)
class FoundSlides:
    """The slides below a folder, sorted, and what was passed over."""

    slides: Sequence[FoundSlide]
    passed_over: Mapping[str, Sequence[Path]] = field(default_factory=dict)  # why -> files, folders


def find_slides(folder: Path) -> FoundSlides:
    """Return the slides below a folder. Links are followed, to each place once."""
    search = _Search()
    search.enter(folder, is_root=True)
    slides = sorted(search.slides, key=lambda slide: slide.path)
    return FoundSlides(slides=slides, passed_over=dict(search.passed_over))


class _Search:
    def __init__(self) -> None:
        self.slides: list[FoundSlide] = []
        self.passed_over: dict[str, list[Path]] = defaultdict(list)
        self._been_in: set[Path] = set()
        self._had: set[Path] = set()

    def enter(self, folder: Path, *, is_root: bool) -> None:
        """Look at a folder, then at those in it; what is no link comes first, so that a slide is
        listed where it lies.
        """
        real = folder.resolve()
        if real in self._been_in:
            self.passed_over[AGAIN].append(folder)
            return
        self._been_in.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda e: (e.is_symlink(), e.name))
        except OSError as error:
            self.passed_over[f"not readable ({error.strerror})"].append(folder)
            return
        files, folders = [], []
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(OF_THE_SYSTEM):
                self.passed_over[HIDDEN].append(path)
            elif entry.is_dir():
                folders.append(path)
            elif entry.is_file():
                files.append(path)
            else:
                self.passed_over[BROKEN].append(path)
        if not is_root and any(path.name == STUDY_FILE for path in files):
            self.passed_over[A_STUDY].append(folder)
            return
        self._files(folder, files, is_root=is_root)
        data = {data_folder(path) for path in files}
        for path in folders:
            if path in data:
                self.passed_over[A_PART].append(path)
            else:
                self.enter(path, is_root=False)

    def _files(self, folder: Path, files: Sequence[Path], *, is_root: bool) -> None:
        parts = {part for path in files for part in companions(path).values()}
        stems = {path.stem for path in files}
        series: dict[str, list[Path]] = defaultdict(list)
        alone: list[Path] = []
        for path in files:
            suffix = path.suffix.lower()
            if path in parts:
                self.passed_over[A_PART].append(path)
            elif suffix in SLIDE_SUFFIXES:
                if why := _picture_or_part(path, stems):
                    self.passed_over[why].append(path)
                elif self._is_new(path):
                    alone.append(path)
            elif why := self._sort_dicom(path, series):
                self.passed_over[why].append(path)
        self.slides += [FoundSlide(path=path) for path in alone]
        whole = len(series) == 1 and not alone and not is_root
        for name, levels in series.items():
            levels.sort(key=lambda p: (-p.stat().st_size, p.name))
            if name or whole:
                path = folder if whole else levels[0]
                self.slides.append(FoundSlide(path=path, series=tuple(levels) if name else ()))
            else:  # damaged: of which series they are, nobody knows
                self.slides += [FoundSlide(path=path) for path in levels]

    def _sort_dicom(self, path: Path, series: dict[str, list[Path]]) -> str:
        """Put a level of a DICOM slide to its series and return ""; return why another file is
        passed over.
        """
        header = read_header(path)
        if header is None:
            suffix = path.suffix.lower()
            if suffix not in DICOM_SUFFIXES:
                return f"of no slide format ({suffix or 'without a suffix'})"
            series[""].append(path)  # damaged, which `check` says
            return ""
        if header.is_index:
            return AN_INDEX
        if not header.is_microscopy:
            return OTHER_DICOM
        if header.shows != "volume":
            return A_PICTURE
        if not self._is_new(path):
            return ""
        series[header.series].append(path)
        return ""

    def _is_new(self, path: Path) -> bool:
        real = path.resolve()
        if real in self._had:
            self.passed_over[AGAIN].append(path)
            return False
        self._had.add(real)
        return True


def _picture_or_part(path: Path, stems: set[str]) -> str:
    """Return why a file that might be a slide by its suffix is none by its name, or "".

    >>> _picture_or_part(Path("S1_macro.jpg"), set()), _picture_or_part(Path("label.tif"), set())
    ('a macro, label or thumbnail', 'a macro, label or thumbnail')
    >>> _picture_or_part(Path("S1_map2.jpg"), {"S1"})
    'part of another slide (map, macro or image files)'
    >>> _picture_or_part(Path("site_map.svs"), set())
    ''
    """
    is_plain = path.suffix.lower() in PLAIN_SUFFIXES
    if PICTURE_NAME.search(path.stem):
        return A_PICTURE
    if is_plain and (PLAIN_PICTURE_NAME.match(path.stem) or PICTURE_FOLDER.match(path.parent.name)):
        return A_PICTURE
    part = PART_NAME.match(path.stem)
    return A_PART if is_plain and part and part.group(1) in stems else ""
