"""What raters say and what was opened: one SQLite file in WAL mode, an audit log that nothing can
change, and CSV for `discover`.

Every call opens its own connection, so that threads and several viewers on one study never share
one; writers wait for each other.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pathoml.errors import StoreError
from pathoml.store.tables import disarmed

MOST_NAME = 120  # characters of a rater's or a feature's name
MOST_NOTE = 4000
WAIT_S = 10.0  # for another writer
OWNER_ONLY, GROUP_TOO = 0o600, 0o660
COLUMNS = ("rater", "phenotype", "item", "name", "presence", "repeat", "note", "read_at")
SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    id INTEGER PRIMARY KEY, rater TEXT NOT NULL, phenotype TEXT NOT NULL, item TEXT NOT NULL,
    slide_id TEXT NOT NULL, name TEXT NOT NULL,
    presence INTEGER NOT NULL CHECK (presence BETWEEN 1 AND 5),
    repeat INTEGER NOT NULL CHECK (repeat IN (0, 1)),
    note TEXT NOT NULL, blinded INTEGER NOT NULL CHECK (blinded IN (0, 1)), read_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, action TEXT NOT NULL, slide_id TEXT NOT NULL,
    rater TEXT NOT NULL, model_sha256 TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
TRIGGERS = tuple(
    f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {change} ON {table}"
    f" BEGIN SELECT RAISE(ABORT, '{why}'); END"
    for name, change, table, why in (
        ("audit_keeps_rows", "DELETE", "audit", "the audit log is append-only"),
        ("audit_keeps_values", "UPDATE", "audit", "the audit log is append-only"),
        ("readings_keep_rows", "DELETE", "readings", "a reading is never lost"),
        ("readings_keep_values", "UPDATE", "readings", "a reading is never lost"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One rating: how clearly a named feature is present, 1 absent to 5 unmistakable."""

    rater: str
    item: str  # a code of the naming sheet, or the slide's id
    slide_id: str
    name: str
    presence: int
    phenotype: str = ""
    repeat: int = 0
    note: str = ""
    blinded: bool = False


class Readings:
    """The file readings/readings.sqlite of a study."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _keep_from_others(path)
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            for trigger in TRIGGERS:
                connection.execute(trigger)
            connection.execute(
                "INSERT OR IGNORE INTO secrets VALUES ('blinding', ?)", (secrets.token_hex(32),)
            )
            self.blinding_key = bytes.fromhex(
                connection.execute("SELECT value FROM secrets WHERE name = 'blinding'").fetchone()[
                    0
                ]
            )

    def save(self, reading: Reading, model_sha256: str) -> int:
        """Append a reading and its line in the audit log, both or neither; return the number of
        readings of that rater.
        """
        now = _now()
        with self._connection() as connection:
            values = (
                reading.rater,
                reading.phenotype,
                reading.item,
                reading.slide_id,
                reading.name,
                reading.presence,
            )
            connection.execute(
                "INSERT INTO readings (rater, phenotype, item, slide_id, name, presence, repeat, "
                "note, blinded, read_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, reading.repeat, reading.note, int(reading.blinded), now),
            )
            detail = {
                "item": reading.item,
                "presence": reading.presence,
                "repeat": reading.repeat,
                "blinded": reading.blinded,
            }
            _append_audit(
                connection, now, "reading", reading.slide_id, reading.rater, model_sha256, detail
            )
            count = connection.execute(
                "SELECT count(*) FROM readings WHERE rater = ?", (reading.rater,)
            ).fetchone()[0]
            return int(count)

    def audit(
        self,
        action: str,
        slide_id: str = "",
        rater: str = "",
        *,
        model_sha256: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Append a line: when, what, which slide, who, which models."""
        with self._connection() as connection:
            _append_audit(connection, _now(), action, slide_id, rater, model_sha256, detail or {})

    def forget(self, slide_ids: Sequence[str]) -> None:
        """Remove readings and audit lines of withdrawn slides, the only way in which lines ever go;
        a line without ids says that it was.

        The file is rewritten, so that nothing of the rows stays in its free pages.
        """
        marks = ", ".join("?" * len(slide_ids))
        triggers = [
            row["name"]
            for row in self._select("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ]
        with self._connection() as connection:
            for name in triggers:
                connection.execute(f"DROP TRIGGER {name}")  # names of TRIGGERS
            gone = sum(
                connection.execute(
                    f"DELETE FROM {table} WHERE slide_id IN ({marks})", tuple(slide_ids)
                ).rowcount
                for table in ("readings", "audit")
            )
            if gone:  # a withdrawal that is finished later says it once
                detail = {"slides": len(slide_ids)}
                _append_audit(connection, _now(), "withdrawn", "", "", "", detail)
            for trigger in TRIGGERS:
                connection.execute(trigger)
        with self._connection() as connection:
            connection.isolation_level = None
            connection.execute("VACUUM")
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError(
                f"{self._path} is open in a viewer that is reading, so that the rows are still in"
                " the file beside it. Stop the viewer, and withdraw again."
            )

    def audit_rows(self) -> list[dict[str, Any]]:
        """Return the audit log, oldest first."""
        return self._select("SELECT * FROM audit ORDER BY id")

    def rows(
        self, *, blinded: bool | None = None, rater: str | None = None
    ) -> list[dict[str, Any]]:
        """Return readings, oldest first; of the reading room, of the open viewer, or both."""
        wanted = "WHERE (? IS NULL OR blinded = ?) AND (? IS NULL OR rater = ?)"
        return self._select(
            f"SELECT * FROM readings {wanted} ORDER BY id", (blinded, blinded, rater, rater)
        )

    def names(self, rater: str | None = None) -> list[str]:
        """Return the names that features were given so far, by one rater or by all, the commonest
        first.
        """
        return [
            r["name"]
            for r in self._select(
                "SELECT name FROM readings WHERE name != '' AND (? IS NULL OR rater = ?)"
                " GROUP BY name ORDER BY count(*) DESC, name",
                (rater, rater),
            )
        ]

    def as_csv(self, *, blinded: bool) -> str:
        """Return the readings as `pathoml discover --labels` reads them; cells that a spreadsheet
        would run are disarmed.
        """
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for row in self.rows(blinded=blinded):
            cells = [row[c] for c in COLUMNS]
            writer.writerow([disarmed(v) if isinstance(v, str) else v for v in cells])
        return text.getvalue()

    def _select(self, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        with self._connection() as connection:
            cursor = connection.execute(statement, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=WAIT_S)
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path} cannot be opened ({error}). Keep readings/ on a local disk,"
                " writable."
            ) from error
        try:
            connection.execute("PRAGMA synchronous = FULL")  # a saved reading outlives a power cut
            with connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self._path}: {error}. Keep readings/ on a local disk, writable."
            ) from error
        finally:
            connection.close()


def _keep_from_others(path: Path) -> None:
    """Make the file its owner's only: it holds the key of the blinding. Where somebody lets a group
    write into it, which the default never does, the group keeps it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
        except FileExistsError:
            mode = path.stat().st_mode & 0o777
            wanted = mode & (GROUP_TOO if mode & 0o020 else OWNER_ONLY)
            if wanted != mode:
                with suppress(PermissionError):  # somebody else's file: its owner decides
                    path.chmod(wanted)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be made ({error.strerror}). Keep readings/ on a local disk, writable."
        ) from error


def _append_audit(
    connection: sqlite3.Connection,
    at: str,
    action: str,
    slide_id: str,
    rater: str,
    model_sha256: str,
    detail: Mapping[str, Any],
) -> None:
    values = (at, action, slide_id, rater, model_sha256, json.dumps(detail, ensure_ascii=False))
    connection.execute(
        "INSERT INTO audit (at, action, slide_id, rater, model_sha256, detail) VALUES (?, ?, ?, ?,"
        " ?, ?)",
        values,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
