"""A page as a reader's browser sees it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects what a browser would open, request and run; complains about tags that are closed in
    another order.
    """

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.requests, self.tags, self.ids = [], [], [], set(), []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.requests += [
            value
            for name, value in attrs
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}
        ]
        self.wrong += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def section(page: str, name: str) -> str:
    """Return the HTML of one section of a report."""
    start = page.index(f'<section id="{name}">')
    return page[start : page.index("</section>", start)]


def text_of(html: str) -> str:
    """Return the words of some HTML, without drawings."""
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL))
