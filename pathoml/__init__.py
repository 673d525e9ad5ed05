"""pathoml: from whole-slide images and a clinical table to an honest risk score, maps that may be
believed, and candidate features.

Research use only; not a medical device.
"""

import sys

from pathoml.working_folder import NotFromHere

sys.meta_path.insert(0, NotFromHere())  # before anything else is imported

import ast  # noqa: E402
import importlib  # noqa: E402
from collections.abc import Callable, Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from pathoml._moved import Moved  # noqa: E402

_Place = tuple[str, str]  # a module and the name in it; no name: the module itself


def face(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for a package's `__init__.py`.

    What the package and each of its rooms offer stands in the `__init__.pyi` beside it, where
    editors and type checkers read it too, and is loaded when it is asked for (SPEC 1 of Scientific
    Python). A name may be offered under another one: `from .tiling.step import tile_study as tile`.

    Args:
        package: its `__name__`.
        file: its `__file__`; the list stands in the `.pyi` of the same name.
    """
    places = offered(package, Path(file).with_suffix(".pyi"))
    names = sorted(name for name, (_, inside) in places.items() if inside)

    def load(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, inside = places[name]
        found = importlib.import_module(module)
        return getattr(found, inside) if inside else found

    return load, lambda: sorted({*places, *importlib.import_module(package).__dict__}), names


def offered(package: str, stub: Path) -> Mapping[str, _Place]:
    """Return name -> where it is defined, from the relative imports of a stub; the modules that it
    imports from are there by their names as well.
    """
    imports = [
        node
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    own = [node for node in imports if node.level == 1]
    modules = {node.module.partition(".")[0] for node in own if node.module}
    modules |= {alias.name for node in own if not node.module for alias in node.names}
    return {name: (f"{package}.{name}", "") for name in modules} | {
        alias.asname or alias.name: (f"{_above(package, node.level)}.{node.module}", alias.name)
        for node in imports
        if node.module
        for alias in node.names
    }


def _above(package: str, level: int) -> str:
    """Return the package that `from .` (level 1) or `from ..` (level 2) means in a stub."""
    return package.rsplit(".", level - 1)[0] if level > 1 else package


__version__ = "0.1.0"
__getattr__, __dir__, __all__ = face(__name__, __file__)
sys.meta_path.append(Moved())
