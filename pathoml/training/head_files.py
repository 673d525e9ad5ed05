"""What the file of a head says of its class, read as text and never run: `check`, `status` and
`view` look at studies of strangers.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KNOWN = ("pathoml", "torch")  # packages whose classes are looked up; no other is imported for this


@dataclass(frozen=True, kw_only=True)
class HeadFile:
    """The classes that a file defines or imports at its top."""

    classes: Mapping[str, ast.ClassDef]  # Outer and Outer.Inner
    imported: Mapping[str, tuple[str, str]]  # name -> module, name in it
    others: frozenset[str]  # bound in another way: what they are is known when it runs

    @property
    def names(self) -> list[str]:
        return [*self.classes, *self.imported]

    def may_be_module(self, name: str) -> bool:
        """Return False where a name is certainly no torch.nn.Module."""
        from torch import nn

        if name in self.classes:
            bases = [ast.unparse(base) for base in self.classes[name].bases]
            return any(self.may_be_module(base) for base in bases if base != name)
        found = self._known(name)
        if found is None:
            return name.partition(".")[0] in {*self.imported, *self.others}
        return isinstance(found, type) and issubclass(found, nn.Module)

    def declared(self, name: str, attribute: str, otherwise: Any) -> Any:
        """Return a constant that a class sets in its body, or inherits.

        Raises:
            ValueError: it is set to what is no constant.
        """
        if name not in self.classes:
            return getattr(self._known(name), attribute, otherwise)
        for node in self.classes[name].body:
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign) and node.value is not None
                else []
            )
            if any(isinstance(t, ast.Name) and t.id == attribute for t in targets):
                return ast.literal_eval(node.value)  # type: ignore[attr-defined]
        for base in self.classes[name].bases:
            inherited = ast.unparse(base)
            if inherited != name:
                found = self.declared(inherited, attribute, None)
                if found is not None:
                    return found
        return otherwise

    def _known(self, name: str) -> Any:
        """Return what a name stands for, if a package that everybody trusts brings it."""
        first, *rest = name.split(".")
        module, inside = self.imported.get(first, ("", ""))
        if module.partition(".")[0] not in KNOWN:
            return None
        try:
            found: Any = importlib.import_module(module)
            for part in [*([inside] if inside else []), *rest]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            return None
        return found


def read_head_file(path: Path) -> HeadFile:
    """Return what a file defines; nothing of it runs.

    Raises:
        SyntaxError, ValueError, RecursionError: it is no Python.
    """
    tree = ast.parse(path.read_bytes())
    imported: dict[str, tuple[str, str]] = {}
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported |= {a.asname or a.name: (node.module or "", a.name) for a in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                imported[alias.asname or top] = (alias.name if alias.asname else top, "")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            others.add(node.id)
        elif isinstance(node, ast.FunctionDef):
            others.add(node.name)
    return HeadFile(
        classes=dict(_classes(tree.body, "")), imported=imported, others=frozenset(others)
    )


def _classes(body: list[ast.stmt], outer: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield outer + node.name, node
            yield from _classes(node.body, f"{outer}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from _classes([*node.body, *node.orelse], outer)
