"""What the viewer shows of a study, read in one piece and read again when a run or a table has
changed: never half of one state and half of another.

A page names the state that it was drawn from, and is told when that is no more.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from pathoml.config import Study
from pathoml.errors import PathomlError, StoreError
from pathoml.store.files import read_json, sha256_of_file
from pathoml.store.tables import table_names
from pathoml.study.run_folder import RunFolder
from pathoml.viewer.catalogue import Catalogue, model_sha256, read_catalogue
from pathoml.viewer.reading_room import Item, reading_items
from pathoml.viewer.requests import Refused

STATE = "x-pathoml-state"  # in a request: what the page was drawn from; in an answer: what is now
SHOWN_STEPS = ("tile", "embed", "train", "import", "explain", "discover", "labels", "predict")
DONE_AGAIN = (
    "The run was done again, or a table has changed, since this page was opened. Load the page"
    " again."
)
BEING_WRITTEN = "The run is being written just now. Ask again in a moment."
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One state of a study."""

    state: str
    catalogue: Catalogue
    items: Sequence[Item]  # of the reading room
    model_sha256: str


class Showing:
    """The state of a study as it is now."""

    def __init__(self, study: Study) -> None:
        """
        Raises:
            CohortError: the tables cannot be read at all.
        """
        self._study = study
        self._lock = threading.Lock()
        self._hashes: dict[Path, tuple[tuple[int, ...], str]] = {}
        self._last = self._read(self._state())

    @property
    def last(self) -> Shown:
        """The state that was asked for last; nothing is looked up."""
        return self._last

    def now(self) -> Shown:
        """Return the state as it lies on the disk.

        Raises:
            Refused: 503, it cannot be read whole, because something writes it.
        """
        if self._state() == self._last.state:
            return self._last
        with self._lock:
            for _ in range(TRIES):
                state = self._state()
                if state == self._last.state:
                    return self._last
                try:
                    found = self._read(state)
                except PathomlError as error:
                    raise Refused(503, f"{BEING_WRITTEN} ({error})") from error
                if self._state() == state:
                    self._last = found
                    return found
            raise Refused(503, BEING_WRITTEN)

    def named_by(self, request: Request) -> Shown:
        """Return the state as it is now, if it is the one that the asking page was drawn from.

        Raises:
            Refused: 409, it is another.
        """
        shown = self.now()
        named = request.headers.get(STATE) or request.query_params.get("state", "")
        if named and named != shown.state:
            raise Refused(409, DONE_AGAIN)
        return shown

    def require_still(self, shown: Shown) -> None:
        """Refuse what was read while the state changed.

        Raises:
            Refused: 409.
        """
        if self._state() != shown.state:
            raise Refused(409, DONE_AGAIN)

    def _read(self, state: str) -> Shown:
        catalogue = read_catalogue(self._study)
        return Shown(
            state=state,
            catalogue=catalogue,
            items=reading_items(self._study.run_folder, list(catalogue.slides)),
            model_sha256=model_sha256(self._study),
        )

    def _state(self) -> str:
        run = RunFolder(self._study.run_folder)
        tables = (name for stem in ("slides", "patients") for name in table_names(stem))
        files = (
            *(self._study.folder / name for name in tables),
            run.models_index,
            run.scores,
            run.faithfulness,
            run.phenotypes,
            run.naming_key,
        )
        parts = [self._hash(path, sha256_of_file) for path in files]
        parts.append(self._hash(run.provenance, _steps_sha256))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def _hash(self, path: Path, hashed: Callable[[Path], str]) -> str:
        """Return the hash of a file, computed again only when the file was written."""
        try:
            stat = path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            known = self._hashes.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, hashed(path))
                self._hashes[path] = known
            return known[1]
        except (OSError, StoreError):  # not there, or not yet whole
            return ""


def _steps_sha256(path: Path) -> str:
    """Return a hash of what provenance.json says of the steps whose results are shown: a report
    that is written again changes no page.
    """
    steps = read_json(path).get("steps", {})
    shown = {name: entry for name, entry in steps.items() if name in SHOWN_STEPS}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
