"""Whether a file names a patient or a slide: tables by their columns, JSON by its keys, HDF5 by its
attributes and texts, databases by their columns, archives by what is in them, text by its words.

Pixels, weights and features name nobody but by the name of their file.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import IO, Any

import h5py

from pathoml.errors import PathomlError
from pathoml.store.foreign import refuse_deadly_hdf5
from pathoml.store.mentions import Ids, in_json, in_rows, in_text, kind_of
from pathoml.store.raw_tables import SEPARATORS, plain_cell
from pathoml.store.workbooks import read_sheets

TABLES = {".csv", ".tsv"}
WORKBOOKS = {".xlsx", ".xlsm"}
JSONS = {".json", ".geojson", ".ipynb"}
HDF5S = {".h5", ".hdf5", ".h5ad"}
DATABASES = {".sqlite", ".sqlite3", ".db"}
ZIPS = {".zip", ".npz", ".docx", ".pptx", ".odt", ".ods"}
PACKED: Mapping[str, Callable[..., Any]] = {
    ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open,
}  # fmt: skip
TARS = {".tar", ".tgz", ".gz", ".bz2", ".xz"}
STATISTICS = {".sav": "read_sav", ".dta": "read_dta"}
ONLY_BY_NAME = {  # pixels, weights, features; nothing in them is an id
    ".png", ".jpg", ".jpeg", ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms",
    ".safetensors", ".pathoml", ".npy", ".pt", ".pth", ".woff2", ".ico",
}  # fmt: skip
# what cannot be read here: somebody has to look
CLOSED = {".pdf", ".rds", ".rdata", ".parquet", ".xls", ".doc", ".7z", ".rar", ".gpg", ".sas7bdat"}
MOST_UNPACKED = 4 * 10**9  # bytes of an archive that are looked at
MOST_TEXT = 512 * 2**20  # bytes of a text that are read at once
TOP, LEAST_IN_BYTES = 8192, 4  # bytes that are looked at for zeros; of an id
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
DEEPEST = 3  # an archive in an archive in an archive
TEMPORARY = re.compile(r"^\.(?P<name>.+)\.[A-Za-z0-9-]+\.\d+(?:-[0-9a-f]+)?\.tmp$")
LONGEST_COPY = re.compile(r"(?: \(\d+\)| - Copy| copy| - Kopie|~)+$")  # what programs call copies
FAULTS = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError,
    OverflowError, NotImplementedError, SyntaxError, MemoryError, zlib.error, zipfile.BadZipFile,
    tarfile.TarError, lzma.LZMAError, sqlite3.Error, csv.Error, PathomlError,
)  # fmt: skip


Source = Path | bytes  # a file, or what an archive holds of one


class UnsearchedError(Exception):
    """A file cannot be searched; the text says why, in a few words."""


def names_somebody(path: Path, ids: Ids, *, words: bool = True) -> bool:
    """Return whether a file's name or content names one of the ids.

    Args:
        words: look for ids in running text too, where no column or key says what a word is.

    Raises:
        UnsearchedError: it cannot be read, or is of a kind that is not read here.
    """
    if name_holds(path.name, ids, words=words):
        return True
    return _content_holds(path.name, path, _Asked(ids=ids, words=words))


def name_holds(name: str, ids: Ids, *, words: bool = True) -> bool:
    """Return whether the name of a file is somebody's: SLIDE.h5, PATIENT.docx, SLIDE_tiles.png, a
    copy or what a killed job left of it.

    >>> ids = Ids(patients=frozenset({"5"}), slides=frozenset({"S1"}))
    >>> [name_holds(name, ids) for name in ("5.docx", "S1_tiles.png", "S1 (1).h5", "15.h5")]
    [True, True, True, False]
    """
    if found := TEMPORARY.match(name):
        name = found["name"]
    known = ids.every if words else ids.slides
    stem = name
    while stem:
        plain = LONGEST_COPY.sub("", stem)
        for one in (
            plain,
            plain.removesuffix("_tiles"),
            plain.removeprefix("."),
            plain.removeprefix("._"),
        ):
            if one in known or one in ids.stems or one in ids.items:
                return True
        if stem in ids.other_slides or stem in ids.other_patients:  # S1.2 is another than S1
            return False
        stem, dot, _ = stem.rpartition(".")
        if not dot:
            break
    return words and in_text(name, ids)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Who is looked for, and how."""

    ids: Ids
    words: bool  # in running text too
    depth: int = 0  # of archives in archives

    @property
    def deeper(self) -> _Asked:
        return replace(self, depth=self.depth + 1)


def _content_holds(name: str, source: Source, asked: _Asked) -> bool:
    """Return whether the content of a file, or of a part of an archive, names somebody."""
    if found := TEMPORARY.match(name):
        name = found["name"]
    kind = PurePath(name).suffix.lower()
    if kind in CLOSED:
        raise UnsearchedError(f"{kind} is not read here")
    if kind in ONLY_BY_NAME:
        return False
    look = next((look for kinds, look in LOOKS if kind in kinds), _in_text)
    try:
        return look(source, asked)
    except FAULTS as error:
        if look is _in_text:
            said = getattr(error, "strerror", None) or type(error).__name__
            raise UnsearchedError(str(said)) from error
    try:  # damaged, or another format than its name says: the bytes may tell
        return _in_text(source, asked)
    except FAULTS as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise UnsearchedError(str(said)) from error


def _bytes(source: Source) -> bytes:
    if isinstance(source, bytes):
        return source
    if source.stat().st_size > MOST_TEXT:
        raise UnsearchedError("larger than any text")
    return source.read_bytes()


def _opened(source: Source) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _in_table(source: Source, asked: _Asked) -> bool:
    text = _text(_bytes(source))
    first = text.lstrip("\n").partition("\n")[0]
    marks = sorted(SEPARATORS.values(), key=first.count, reverse=True)
    for mark in [one for one in marks if one in first] or marks[:1]:
        cells = (
            [plain_cell(c) for c in row]
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        )
        if in_rows(cells, asked.ids, words=asked.words):
            return True
    return False


def _in_workbook(source: Source, asked: _Asked) -> bool:
    if isinstance(source, Path) and any(
        in_rows((cells for _, cells in rows), asked.ids, words=asked.words)
        for rows in read_sheets(source)
    ):
        return True
    return _in_zip(source, asked)  # comments, tables that nobody sees


def _in_json(source: Source, asked: _Asked) -> bool:
    return in_json(json.loads(_text(_bytes(source))), asked.ids, words=asked.words)


def _in_lines(source: Source, asked: _Asked) -> bool:
    lines = _text(_bytes(source)).splitlines()
    return any(
        in_json(json.loads(line), asked.ids, words=asked.words) for line in lines if line.strip()
    )


def _in_hdf5(source: Source, asked: _Asked) -> bool:
    if not asked.words:  # files of ours are called as their slide is
        return False
    if isinstance(source, Path):
        refuse_deadly_hdf5(source)
    with _opened(source) as handle, h5py.File(handle, "r") as file:
        found: list[bool] = []

        def look(name: str, item: h5py.Group | h5py.Dataset) -> bool | None:
            values = dict(item.attrs.items())
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "OSU":
                values[name.rpartition("/")[2]] = item[()]
            for key, value in values.items():
                texts = _texts(value)
                wanted = asked.ids.of(kind_of(key))
                if any(one in wanted or (asked.words and in_text(one, asked.ids)) for one in texts):
                    found.append(True)
                    return True
            return None

        look("", file)
        if not found:
            file.visititems(look)
    return bool(found)


def _texts(value: object) -> list[str]:
    values = value.ravel().tolist() if hasattr(value, "ravel") else [value]
    decoded = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in values]
    return [one for one in decoded if isinstance(one, str)]


def _in_database(source: Source, asked: _Asked) -> bool:
    if isinstance(source, bytes):
        return _in_text(source, asked)
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in names:
            cursor = connection.execute('SELECT * FROM "{}"'.format(table.replace('"', '""')))
            header = [column[0] for column in cursor.description]
            rows = ([str(cell) for cell in row] for row in cursor)
            if in_rows(iter_with(header, rows), asked.ids, words=asked.words):
                return True
    return False


def iter_with(header: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield a header and then the rows."""
    yield header
    yield from rows


def _in_zip(source: Source, asked: _Asked) -> bool:
    with _opened(source) as handle, zipfile.ZipFile(handle) as archive:
        left = MOST_UNPACKED
        for part in archive.infolist():
            name = PurePath(part.filename).name
            if name_holds(name, asked.ids, words=asked.words):
                return True
            left -= part.file_size
            if part.is_dir() or PurePath(name).suffix.lower() in ONLY_BY_NAME:
                continue
            if left < 0 or part.file_size > MOST_TEXT or asked.depth >= DEEPEST:
                raise UnsearchedError("unpacks to more than is looked at")
            if _content_holds(name, archive.read(part), asked.deeper):
                return True
    return False


def _in_compressed(source: Source, asked: _Asked) -> bool:
    """A .tar, packed or not, or one packed file."""
    try:
        return _in_tar(source, asked)
    except tarfile.ReadError:
        if not isinstance(source, Path) or source.suffix not in PACKED:
            raise
        with PACKED[source.suffix](source, "rb") as file:
            content = file.read(MOST_TEXT + 1)
    if len(content) > MOST_TEXT:
        raise UnsearchedError("unpacks to more than is looked at")
    return _content_holds(source.stem, content, asked.deeper)


def _in_tar(source: Source, asked: _Asked) -> bool:
    with _opened(source) as handle, tarfile.open(fileobj=handle, mode="r:*") as archive:
        left = MOST_UNPACKED
        for part in archive:
            name = PurePath(part.name).name
            if name_holds(name, asked.ids, words=asked.words):
                return True
            left -= part.size
            file = archive.extractfile(part) if part.isfile() else None
            if file is None or PurePath(name).suffix.lower() in ONLY_BY_NAME:
                continue
            if left < 0 or part.size > MOST_TEXT or asked.depth >= DEEPEST:
                raise UnsearchedError("unpacks to more than is looked at")
            if _content_holds(name, file.read(), asked.deeper):
                return True
    return False


def _in_statistics(source: Source, asked: _Asked) -> bool:
    """SPSS and Stata."""
    import pyreadstat

    if isinstance(source, bytes):
        return _in_text(source, asked)
    read = getattr(pyreadstat, STATISTICS[source.suffix.lower()])
    try:
        frame, _ = read(str(source))
    except pyreadstat.ReadstatError as error:
        raise ValueError(str(error)) from error
    cells = frame.astype(str).to_numpy().tolist()
    return in_rows(iter_with(list(frame.columns), iter(cells)), asked.ids, words=asked.words)


def _in_text(source: Source, asked: _Asked) -> bool:
    if not asked.words:
        return False
    raw, ids = _bytes(source), asked.ids
    is_text = b"\0" not in raw[:TOP] or raw.startswith(UTF_16)
    if not is_text:  # any two bytes stand somewhere in a large file
        ids = Ids(
            patients=frozenset(one for one in ids.patients if len(one) >= LEAST_IN_BYTES),
            slides=frozenset(one for one in ids.slides if len(one) >= LEAST_IN_BYTES),
            items=ids.items,
            other_patients=ids.other_patients,
            other_slides=ids.other_slides,
        )
    return in_text(_text(raw), ids)


def _text(raw: bytes) -> str:
    """Return bytes as text: UTF-8, UTF-16 by its mark, or else Latin-1, in which every byte is a
    letter.
    """
    if raw.startswith(UTF_16):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


Look = Callable[[Source, _Asked], bool]
LOOKS: tuple[tuple[frozenset[str], Look], ...] = (
    (frozenset(TABLES), _in_table),
    (frozenset(WORKBOOKS), _in_workbook),
    (frozenset(JSONS), _in_json),
    (frozenset({".jsonl", ".ndjson"}), _in_lines),
    (frozenset(HDF5S), _in_hdf5),
    (frozenset(DATABASES), _in_database),
    (frozenset(ZIPS), _in_zip),
    (frozenset(TARS), _in_compressed),
    (frozenset(STATISTICS), _in_statistics),
)
