"""Many slides' files in one: a pack is an uncompressed zip of SLIDE.h5 files just as they were, so
that any unzip gets them back.

A shared file system has a quota of files long before it has one of bytes. A packed file is read
where it lies: its arrays are mapped from the pack, without unzipping. A plain file of the same name
comes first, so a slide that is embedded again needs no change to a pack.

Source: APPNOTE.TXT of the zip format, 4.3 (local headers) and 4.5 (extra fields).
"""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pathoml.errors import StoreError
from pathoml.store.files import atomic_path, sweep_temporaries

PACKS = "pack-*.zip"
NUMBERED = re.compile(r"pack-(\d+)\.zip")  # as we write them; "pack-00001 (1).zip" is a copy
GIGABYTE = 10**9
# bytes; where a file begins in a pack, so that mapped arrays are aligned as in the file alone
ALIGNMENT = 64
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
EXTRA_HEADER = struct.Struct("<HH")  # id, length
PADDING_ID = 0xD935  # the id by which aligned zips pad
ZIP64_EXTRA = 20  # bytes that zipfile puts before ours for files over ZIP64_FROM
ZIP64_FROM = zipfile.ZIP64_LIMIT / 1.05
COPIED_BYTES = 2**24  # at once
SETTLED_NS = 10**9


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A file inside a pack."""

    pack: Path
    offset: int  # of its first byte in the pack
    size: int

    def open(self) -> io.RawIOBase:
        """Return it as a file of its own, to be closed by the caller."""
        return _Section(self)


class _Section(io.RawIOBase):
    def __init__(self, packed: Packed) -> None:
        self._file = packed.pack.open("rb", buffering=0)
        self._start, self._size, self._at = packed.offset, packed.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        read = self._file.readinto(view) or 0
        self._at += read
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


def pack_paths(folder: Path) -> list[Path]:
    """Return the packs of a folder in the order of their numbers; copies under other names come
    first, so that what they hold never stands for what was packed later.
    """
    return sorted(
        (path for path in folder.glob(PACKS) if path.is_file()),
        key=lambda path: (pack_number(path), path.name),
    )


def pack_number(pack: Path) -> int:
    """Return the number of a pack, 0 of a copy.

    >>> pack_number(Path("pack-00012.zip")), pack_number(Path("pack-00012 (1).zip"))
    (12, 0)
    """
    named = NUMBERED.fullmatch(pack.name)
    return int(named[1]) if named else 0


def all_packs(folder: Path) -> list[tuple[Path, str]]:
    """Return (pack, name) of every file in every pack, also of one that a later pack replaces.

    Raises:
        StoreError: a pack is torn or no zip.
    """
    return [(pack, name) for pack in pack_paths(folder) for name in _entries(pack)]


def packed_files(folder: Path) -> Mapping[str, Path]:
    """Return name -> pack of every packed file; of a name in two packs the later one.

    Raises:
        StoreError: a pack is torn or no zip.
    """
    try:
        changed_ns = folder.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    is_settled = (
        time.time_ns() - changed_ns > SETTLED_NS
    )  # two changes within one tick of the disk's clock look like one
    return (
        _packed_files(folder, changed_ns)
        if is_settled
        else _packed_files.__wrapped__(folder, changed_ns)
    )


@lru_cache(maxsize=16)
def _packed_files(folder: Path, _changed_ns: int) -> Mapping[str, Path]:
    return {name: pack for pack in pack_paths(folder) for name in _entries(pack)}


def _entries(pack: Path) -> Mapping[str, zipfile.ZipInfo]:
    stat = pack.stat()
    return _entries_of(pack, (stat.st_ino, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=4096)
def _entries_of(pack: Path, _identity: tuple[int, ...]) -> Mapping[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(pack) as archive:
            return {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, ValueError) as error:
        raise StoreError(
            f"{pack} is torn or no zip ({error}). Copy it again, or delete it and run `pathoml"
            " embed`."
        ) from error


def find_packed(path: Path) -> Packed | None:
    """Return where FOLDER/SLIDE.h5 lies in a pack of FOLDER, or None.

    Raises:
        StoreError: its pack is torn, or holds it compressed.
    """
    pack = packed_files(path.parent).get(path.name)
    return _locate(pack, path.name) if pack is not None else None


def _locate(pack: Path, name: str) -> Packed:
    info = _entries(pack)[name]
    with pack.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER.size)
        size_of_pack = file.seek(0, os.SEEK_END)
    if (
        len(header) < LOCAL_HEADER.size
        or not header.startswith(b"PK\3\4")
        or info.compress_type != zipfile.ZIP_STORED
    ):
        raise StoreError(
            f"{pack}: {name} is damaged or compressed. Unzip the pack into its folder, delete it,"
            " and run `pathoml pack`."
        )
    _, name_length, extra_length = LOCAL_HEADER.unpack(header)
    offset = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if info.file_size != info.compress_size or offset + info.file_size > size_of_pack:
        raise StoreError(
            f"{pack}: {name} reaches past the end of the pack. Copy the pack again, or delete it"
            " and run `pathoml embed`."
        )
    return Packed(pack=pack, offset=offset, size=info.file_size)


def is_stored(path: Path) -> bool:
    """Return whether FOLDER/SLIDE.h5 is there, plain or packed."""
    return path.exists() or path.name in packed_files(path.parent)


def stored_paths(folder: Path) -> list[Path]:
    """Return FOLDER/SLIDE.h5 of every slide that is there, plain or packed, sorted."""
    return sorted(
        {
            *folder.glob("*.h5"),
            *(folder / name for name in packed_files(folder) if name.endswith(".h5")),
        }
    )


def pack_folder(folder: Path, shard_bytes: int) -> Iterator[tuple[Path, int]]:
    """Put the plain SLIDE.h5 files of a folder into packs of about `shard_bytes`; yield (pack,
    slides in it) as each is written.

    A plain file goes only when its pack is whole on disk. Killed at any moment, a second call goes
    on.
    """
    sweep_temporaries(folder)
    number = max(map(pack_number, pack_paths(folder)), default=0)
    for group in _groups(sorted(folder.glob("*.h5")), shard_bytes):
        number += 1
        pack = folder / f"pack-{number:05d}.zip"
        _write_pack(pack, {path.name: path for path in group})
        for path in group:
            path.unlink()
        yield pack, len(group)
    where = packed_files(folder)
    for pack in pack_paths(folder):  # what was embedded again lies in a later pack
        if pack_number(pack):  # a copy is somebody's
            _drop(pack, {name for name, newest in where.items() if newest != pack})


def drop_packed(folder: Path, names: Collection[str]) -> list[Path]:
    """Write the packs that hold one of the files anew without it, and return them; a pack that held
    nothing else goes.
    """
    return [pack for pack in pack_paths(folder) if _drop(pack, names)]


def _drop(pack: Path, names: Collection[str]) -> bool:
    inside = _entries(pack)
    kept = [name for name in inside if name not in names]
    if len(kept) == len(inside):
        return False
    if kept:
        _write_pack(pack, {name: _locate(pack, name) for name in kept})
    else:
        pack.unlink()
    return True


def _groups(files: Sequence[Path], shard_bytes: int) -> Iterator[list[Path]]:
    group: list[Path] = []
    held = 0
    for path in files:
        size = path.stat().st_size
        if group and held + size > shard_bytes:
            yield group
            group, held = [], 0
        group.append(path)
        held += size
    if group:
        yield group


def _write_pack(pack: Path, files: Mapping[str, Path | Packed]) -> None:
    """Write a pack of plain files, or of files of a pack, and read it once to see that every byte
    is there.
    """
    with atomic_path(pack) as temporary:
        with temporary.open("wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
            for name, file in files.items():
                size = file.size if isinstance(file, Packed) else file.stat().st_size
                entry = zipfile.ZipInfo(name)
                entry.extra = _padding(raw.tell(), name, size)
                with (
                    file.open() if isinstance(file, Packed) else file.open("rb") as source,
                    archive.open(entry, "w") as target,
                ):
                    shutil.copyfileobj(source, target, COPIED_BYTES)
        with zipfile.ZipFile(temporary) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise StoreError(
                f"{pack}: {damaged} was not written as it was read; nothing was removed. The disk"
                " may be failing."
            )


def _padding(at: int, name: str, size: int) -> bytes:
    """Return an extra field that makes the content of an entry, whose header begins at `at`, begin
    at a multiple of ALIGNMENT.
    """
    begins = (
        at
        + LOCAL_HEADER.size
        + len(name.encode())
        + (ZIP64_EXTRA if size > ZIP64_FROM else 0)
        + EXTRA_HEADER.size
    )
    missing = -begins % ALIGNMENT
    return EXTRA_HEADER.pack(PADDING_ID, missing) + bytes(missing)
