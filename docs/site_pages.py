"""A hook of mkdocs: pages of the checkout that are not below docs/ join the site, and links to them
lead there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "start.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/results.md": "results.md",
    **{
        f"benchmarks/results/{page.name}": f"results/{page.name}"
        for page in sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    },
}
LINK = re.compile(r"\[([^\[\]]*)\]\((?!\w+:|#)([^)\s#]+)((?:#[^)]*)?)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at where their page lies in the site; a file of the checkout that is no page is
    named without a link.
    """
    source = next(
        (path for path, name in PAGES.items() if name == page.file.src_uri),
        f"docs/{page.file.src_uri}",
    )

    def moved(link: re.Match[str]) -> str:
        target = ((ROOT / source).parent / link[2]).resolve()
        if not target.is_relative_to(ROOT):
            return link[0]
        path = str(target.relative_to(ROOT))
        wanted = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else "")
        if not wanted or target.is_dir():
            return link[1] if target.exists() else link[0]
        up = "../" * page.file.src_uri.count("/")
        return f"[{link[1]}]({up}{wanted}{link[3]})"

    return LINK.sub(moved, markdown)
