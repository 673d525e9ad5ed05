"""The package as its source says it is: modules, what each imports, what each calls; for the house
tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pathoml"


@dataclass(frozen=True, kw_only=True)
class Import:
    """One name that a module imports."""

    name: str  # dotted and absolute: pathoml.store.files.write_text
    line: int
    in_function: bool


@cache
def modules(package: Path) -> list[tuple[str, Path, ast.Module]]:
    """Return (dotted name below the package, file, tree) of each; "" is the package itself."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append((name, path, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def imports(name: str, path: Path, tree: ast.Module, *, package: Path) -> list[Import]:
    """Return what a module imports, TYPE_CHECKING blocks left out, names made absolute."""
    here = [package.name, *name.split(".")] if name else [package.name]
    if path.name != "__init__.py":
        here = here[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, in_function: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child, in_function)
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            parent = here[: len(here) - node.level + 1] if node.level else []
            source = ".".join([*parent, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
        found.extend(Import(name=n, line=node.lineno, in_function=in_function) for n in names)
        for child in ast.iter_child_nodes(node):
            visit(
                child,
                in_function
                or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
            )

    visit(tree, False)
    return found


def spelled_out(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for: {"np": "numpy", "load": "torch.load"}."""
    full = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full.update({alias.asname or alias.name: alias.name for alias in node.names})
        if isinstance(node, ast.ImportFrom) and node.module:
            full.update(
                {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            )
    return full


def called(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield (dotted name of the function, call), aliases spelled out: np.load -> numpy.load."""
    full = spelled_out(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, tail = ast.unparse(node.func).partition(".")
            yield full.get(head, head) + dot + tail, node
