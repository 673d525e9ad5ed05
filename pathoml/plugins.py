"""Find the files of an extension folder: a new encoder, head, slide reader or engine is one file,
named nowhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from pathoml.errors import ConfigError, nearest


def plugin_names(package: str) -> list[str]:
    """Return the names of the modules in an extension folder, sorted, private ones left out.

    Args:
        package: for example "pathoml.encoders".
    """
    folder = importlib.import_module(package)
    return sorted(
        m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_")
    )


def load_plugin(package: str, name: str, attribute: str) -> ModuleType:
    """Import one file of an extension folder that offers `attribute`.

    Raises:
        ConfigError: no file of that name, or it lacks the attribute; the nearest name is suggested.
    """
    kind = package.rsplit(".", 1)[-1]
    if not name.isidentifier() or name not in plugin_names(package):
        names = names_with(package, attribute)
        raise ConfigError(
            f"{name!r} is not one of {package.replace('.', '/')}/:"
            f" {', '.join(names)}.{nearest(name, names)}"
        )
    module = importlib.import_module(f"{package}.{name}")
    if not hasattr(module, attribute):
        raise ConfigError(
            f"{package}.{name} has no {attribute!r}; see docs/architecture.md on adding to {kind}/."
        )
    return module


def names_with(package: str, attribute: str) -> list[str]:
    """Return the names of the files in an extension folder that offer `attribute`."""
    return [
        n
        for n in plugin_names(package)
        if hasattr(importlib.import_module(f"{package}.{n}"), attribute)
    ]
