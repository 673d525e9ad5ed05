"""The viewer's own files, read once into a table: a request names an entry, never a path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGES = {"/": "cohort.html", "/slide": "slide.html", "/compare": "compare.html", "/reading": "reading.html"}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of web/."""

    name: str
    content: bytes
    media_type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """Return name -> file for everything in web/ that a browser may ask for."""
    found: dict[str, Asset] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif (suffix := "." + entry.name.rpartition(".")[2]) in MEDIA_TYPES:
                content = entry.read_bytes()
                name = prefix + entry.name
                etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
                found[name] = Asset(name=name, content=content, media_type=MEDIA_TYPES[suffix], etag=etag)

    walk(files("pathoml.viewer") / "web", "")
    return found
