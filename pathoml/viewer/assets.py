"""The viewer's own files, read once into a table: a request names an entry, never a path."""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGES = {
    "/": "cohort.html",
    "/slide": "slide.html",
    "/compare": "compare.html",
    "/reading": "reading.html",
}
DOOR = "door.html"  # asks for the token
ENTRY = "entry.html"  # leads on from an address that held it; {{address}} is where
HEAD_PLACE = "<!-- head.html -->"  # in a page; there come head.html and a preload for each module
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of web/."""

    name: str
    content: bytes
    media_type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """Return name -> file for everything in web/ that a browser may ask for, each page with the
    head that all share.
    """
    texts: dict[str, str] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif _suffix(entry.name) in MEDIA_TYPES:
                texts[prefix + entry.name] = entry.read_bytes().decode()

    walk(files("pathoml.viewer") / "web", "")
    head = texts.pop("head.html")
    for page in (*PAGES.values(), DOOR):
        texts[page] = texts[page].replace(
            HEAD_PLACE, _head(head, modules_of(page.replace(".html", ".js"), texts))
        )
    return {name: _asset(name, text.encode()) for name, text in texts.items()}


def modules_of(script: str, texts: Mapping[str, str]) -> list[str]:
    """Return a page's script and the modules that it comes to import, each once and before those
    that use it.

    >>> modules_of("page.js", {"page.js": 'import { t } from "./shell.js";\\n', "shell.js": ""})
    ['shell.js', 'page.js']
    """
    found: list[str] = []

    def add(module: str) -> None:
        if module not in found:
            for needed in IMPORT.findall(texts[module]):
                add(needed)
            found.append(module)

    add(script)
    return found


def _head(shared: str, modules: list[str]) -> str:
    imported = sorted(modules[:-1])  # the last is the page's own script
    preloads = [f'<link rel="modulepreload" href="/static/{module}">\n' for module in imported]
    return textwrap.indent(shared + "".join(preloads), "    ").strip()


def _asset(name: str, content: bytes) -> Asset:
    etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    return Asset(name=name, content=content, media_type=MEDIA_TYPES[_suffix(name)], etag=etag)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]
