"""Notebooks as percent scripts (`# %%` begins a cell): run by cells, with what each shows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType


def cells(text: str) -> list[str]:
    """Return the cells of code.

    >>> cells("# %% [markdown]\\n# Words\\n\\n# %%\\nx = 1\\n")
    ['x = 1']
    """
    parts = text.split("# %%")[1:]
    return [part.strip() for part in parts if not part.startswith(" [markdown]")]


def run_notebook(path: Path, smaller: Mapping[str, str]) -> tuple[ModuleType, list[str]]:
    """Run a notebook in this process and return its names and what its cells show.

    Args:
        smaller: text -> what stands there instead, so that it takes seconds; each must be found.
    """
    text = path.read_text(encoding="utf-8")
    for there, instead in smaller.items():
        assert there in text, there
        text = text.replace(there, instead)
    notebook = ModuleType("notebook_of_a_test")
    sys.modules[notebook.__name__] = notebook  # where a class of the notebook is looked up
    shown = []
    for cell in cells(text):
        tree = ast.parse(cell)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(path), "exec"), vars(notebook))
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(path), "eval"), vars(notebook))  # noqa: S307 - ours
            if value is None:  # as in a notebook
                continue
            html = getattr(value, "_repr_html_", None)
            shown.append(html() if html else repr(value))
    return notebook, shown
