"""Neutral names for slides whose own name patients: links in the study, and a key that is kept
elsewhere.

The links lie in the study's folder slides/: S0417.svs leads to the file, and a slide of several
files becomes links to each of them under neutral names, so that no reader ever sees another name.
Numbers are drawn at random: in the order of the files they would follow accession numbers and
dates.
"""

from __future__ import annotations

import csv
import io
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoml.errors import ConfigError
from pathoml.slides.companions import (
    HAMAMATSU,
    companions,
    data_folder,
    hamamatsu_text,
    is_macro,
)
from pathoml.slides.finding import FoundSlide
from pathoml.store.files import atomic_path
from pathoml.store.tables import read_table

COLUMNS = ("slide_id", "patient_id", "file")
LINKS = "slides"  # folder of the study
OWNER_ONLY = 0o600
DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Pseudonym:
    """A row of the key."""

    slide_id: str
    patient_id: str
    file: str  # where the slide lies, under its own name


def read_key(path: Path) -> dict[str, Pseudonym]:
    """Return file -> pseudonym of a key that was written before; none if there is no such file.

    Raises:
        ConfigError: it is no key, or gives one slide_id to two files.
    """
    if not path.exists():
        return {}
    table = read_table(path)
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise ConfigError(
            f"{path} is there and is no key of pseudonyms: it has no column {missing[0]}; nothing"
            " was changed. Give another file, or the key of an earlier `pathoml init`."
        )
    rows = [Pseudonym(**{name: row[name] for name in COLUMNS}) for row in table.rows]
    ids = [row.slide_id for row in rows]
    if twice := next((i for i in ids if ids.count(i) > 1), ""):
        raise ConfigError(
            f"{path} gives the slide_id {twice} to two files. Correct the key first: whose features"
            " would be whose?"
        )
    return {row.file: row for row in rows}


def draw_pseudonyms(
    slides: Iterable[FoundSlide], known: Mapping[str, Pseudonym]
) -> list[Pseudonym]:
    """Return a pseudonym for each slide: that of the key where it has one, else a number that was
    never given. A patient_id that somebody wrote into the key stays.
    """
    files = [str(slide.path.resolve()) for slide in slides]
    given = {row.slide_id for row in known.values()} | {row.patient_id for row in known.values()}
    new = [file for file in files if file not in known]
    width = max(DIGITS, len(str(10 * (len(new) + len(given)))))
    fresh: list[str] = []
    while len(fresh) < len(new):
        number = f"{secrets.randbelow(10**width):0{width}d}"
        if number not in fresh and not given & {f"S{number}", f"P{number}"}:
            fresh.append(number)
    drawn = {f: Pseudonym(slide_id=f"S{n}", patient_id=f"P{n}", file=f) for f, n in zip(new, fresh)}
    return [known.get(file) or drawn[file] for file in files]


def write_key(path: Path, rows: Iterable[Pseudonym]) -> bool:
    """Write the key, for its owner alone (mode 600). Returns whether the file system keeps that."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows((row.slide_id, row.patient_id, row.file) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.chmod(temporary, OWNER_ONLY)
            file.write(text.getvalue())
    os.chmod(path, OWNER_ONLY)
    return path.stat().st_mode & 0o077 == 0


def link_slide(slide: FoundSlide, slide_id: str, folder: Path) -> Path:
    """Make the links of one slide in a folder; return the one that opens it.

    Raises:
        ConfigError: the file system has no links.
    """
    path, suffix = slide.path.resolve(), slide.path.suffix.lower()
    folder.mkdir(parents=True, exist_ok=True)
    if slide.series:
        files = [(f"{i:03d}.dcm", file) for i, file in enumerate(slide.series)]
        return _folder_of_links(folder / slide_id, files)
    if path.is_dir():  # a damaged DICOM folder, which is told by `check`
        return _link(folder / slide_id, path)
    if suffix in HAMAMATSU:
        return _link_hamamatsu(path, folder / slide_id)
    opens = _link(folder / f"{slide_id}{suffix}", path)
    data = data_folder(path)
    if data is not None and data.is_dir():
        _link(folder / slide_id, data)
    return opens


def _link_hamamatsu(path: Path, folder: Path) -> Path:
    """Link the parts of a .vms or .vmu, without the photograph of the label, and write its page of
    keys with their new names.
    """
    parts = {key: part for key, part in companions(path).items() if not is_macro(key)}
    named: dict[Path, str] = {}
    for part in parts.values():
        named.setdefault(part, f"{len(named):03d}{part.suffix.lower()}")
    _folder_of_links(folder, [(name, part) for part, name in named.items()])
    lines = []
    for line in hamamatsu_text(path).splitlines():
        key = line.split("=", 1)[0].strip()
        if key in parts:
            lines.append(f"{key}={named[parts[key]]}")
        elif NEEDED.match(line):
            lines.append(line)
    opens = folder / f"slide{path.suffix.lower()}"
    with atomic_path(opens) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return opens


# lines of a .vms that OpenSlide reads and that are numbers or the name of the section
NEEDED = re.compile(
    r"^\s*(\[[^\]]*\]|(No\w+|Physical\w+|XOffset\w*|YOffset\w*|SourceLens|Pixel\w+|BitsPerPixel)\s*="
    r"\s*[-\d.,A-Za-z]*)\s*$"
)


def _folder_of_links(folder: Path, files: Sequence[tuple[str, Path]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files:
        _link(folder / name, file.resolve())
    return folder


def _link(link: Path, target: Path) -> Path:
    try:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target)
    except OSError as error:
        raise ConfigError(
            f"{link} cannot be made a link ({error.strerror}): the file system has none. Make the"
            " study on one that has links, or rename the slides yourself."
        ) from error
    return link
