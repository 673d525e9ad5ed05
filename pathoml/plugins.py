"""Find what extends pathoml: a file of an extension folder, named nowhere else, or a module that an
installed package offers as an entry point (docs/extend.md).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pathoml.errors import ConfigError, nearest

if TYPE_CHECKING:  # takes as long to import as everything else that `pathoml --help` needs
    from importlib.metadata import EntryPoint

# Each folder with the group of its entry points and what a module has to offer, any of it.
EXTENSIBLE = {
    "pathoml.encoders": ("pathoml.encoders", ("ENCODER",)),
    "pathoml.mil": ("pathoml.mil", ("Head",)),
    "pathoml.slides.readers": ("pathoml.readers", ("open_slide",)),
    "pathoml.interop": ("pathoml.interop", ("import_into", "export_to")),
    "pathoml.engines": ("pathoml.engines", ("map_items",)),
}


def plugin_names(package: str) -> list[str]:
    """Return the names of the modules in an extension folder, private ones left out, and of entry
    points beside it, sorted.

    Args:
        package: for example "pathoml.encoders".
    """
    return sorted({*_files(package), *(entry.name for entry in _entries(package))})


def load_plugin(package: str, name: str, attribute: str) -> ModuleType:
    """Import one file of an extension folder, or one entry point, that offers `attribute`.

    Raises:
        ConfigError: no plug-in of that name, or two, or it lacks the attribute, or an installed one
            cannot be imported; the nearest name is suggested.
    """
    refuse_unknown(package, name, attribute)
    entries = [entry for entry in _entries(package) if entry.name == name]
    module = _loaded(entries[0]) if entries else importlib.import_module(f"{package}.{name}")
    if isinstance(module, ConfigError):
        raise module
    if not hasattr(module, attribute):
        raise ConfigError(
            f"{module.__name__} has no {attribute!r}; see docs/extend.md on what a file of"
            f" {package.replace('.', '/')}/ offers."
        )
    return module


def refuse_unknown(package: str, name: str, attribute: str) -> None:
    """Raise ConfigError unless exactly one plug-in has this name. The plug-in is not imported."""
    found = [f"{package.replace('.', '/')}/{name}.py"] if name in _files(package) else []
    found += [f"an entry point of {_whose(e)}" for e in _entries(package) if e.name == name]
    if len(found) > 1:
        raise ConfigError(
            f"{name!r} is both {' and '.join(found)}. Uninstall one of them, or rename it."
        )
    if not found:
        names = names_with(package, attribute)
        raise ConfigError(
            f"{name!r} is not one of {package.replace('.', '/')}/:"
            f" {', '.join(names)}.{nearest(name, names)}"
        )


def names_with(package: str, attribute: str) -> list[str]:
    """Return the names of the plug-ins that offer `attribute`."""
    return sorted({name for name, _ in plugins_with(package, attribute)})


def plugins_with(package: str, attribute: str) -> list[tuple[str, ModuleType]]:
    """Return name and module of every plug-in that offers `attribute`; an installed one that cannot
    be imported is left out, so that it stops nobody who did not ask for it.
    """
    modules = [(name, importlib.import_module(f"{package}.{name}")) for name in _files(package)]
    modules += [
        (entry.name, module)
        for entry in _entries(package)
        if isinstance(module := _loaded(entry), ModuleType)
    ]
    return [(name, module) for name, module in modules if hasattr(module, attribute)]


def plugins_from_outside() -> list[tuple[str, str]]:
    """Return a line for each entry point of installed packages, and what is wrong with it or ""."""
    lines = []
    for package, (group, attributes) in EXTENSIBLE.items():
        for entry in _entries(package):
            module, wrong = _loaded(entry), ""
            if isinstance(module, ConfigError):
                wrong = str(module)
            elif not any(hasattr(module, attribute) for attribute in attributes):
                wrong = f"{entry.value} has no {' or '.join(map(repr, attributes))}"
            else:
                try:
                    refuse_unknown(package, entry.name, attributes[0])
                except ConfigError as error:
                    wrong = str(error)
            lines.append((f"plug-in {entry.name} ({group}) of {_whose(entry)}", wrong))
    return lines


def import_installed(name: str) -> ModuleType:
    """Import a module by name, unless it is found only because it lies where pathoml was started:
    code of a working directory runs when its file is named, and not because a name fits.

    Raises:
        ConfigError: it lies there.
        ImportError, and what else the module raises.
    """
    top = name.partition(".")[0]
    spec = None if top in sys.modules else importlib.util.find_spec(top)
    if spec is not None and (spec.has_location or spec.submodule_search_locations):
        places = list(spec.submodule_search_locations or []) or [str(spec.origin)]
        homes = {Path(place).parent.resolve() for place in places}
        if beside := homes & _beside_the_program():
            raise ConfigError(
                f"{name} is not an installed module: it was found in {beside.pop()}, where pathoml "
                "was started. Install it with pip, or name its file, as in ./my_head.py:Head."
            )
    return importlib.import_module(name)


def _files(package: str) -> list[str]:
    folder = importlib.import_module(package)
    return sorted(
        m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_")
    )


def _entries(package: str) -> Sequence[EntryPoint]:
    group = EXTENSIBLE[package][0] if package in EXTENSIBLE else ""
    return _entry_points(group, _installed_path()) if group else ()


@lru_cache(maxsize=32)  # a slide is opened every few milliseconds; a changed path is looked through
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    from importlib.metadata import distributions

    found: dict[tuple[str, str], EntryPoint] = {}
    for dist in distributions(path=list(path)):
        if "[pathoml." in (dist.read_text("entry_points.txt") or ""):
            for entry in dist.entry_points.select(group=group):
                found.setdefault((dist.name, entry.name), entry)
    return tuple(found[key] for key in sorted(found))


@lru_cache(maxsize=128)
def _loaded(entry: EntryPoint) -> ModuleType | ConfigError:
    """Return the module of an entry point, or the sentence on why it is not to be had."""
    remedy = f"Update it, or uninstall it: pip uninstall {_whose(entry).split(' ')[0]}."
    what = f"The plug-in {entry.name!r} of {_whose(entry)} cannot be used"
    if entry.attr:
        return ConfigError(f"{what}: {entry.value!r} must be a module, package.module. {remedy}")
    try:
        return import_installed(entry.module)
    except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is told where the plug-in is asked for
        return ConfigError(f"{what} ({type(error).__name__}: {error}). {remedy}")


def _whose(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"


def _installed_path() -> tuple[str, ...]:
    """Return sys.path without the folder that Python puts first because a program was started from
    there.
    """
    return tuple(p for p in (sys.path if sys.flags.safe_path else sys.path[1:]) if p)


def _beside_the_program() -> set[Path]:
    first = [] if sys.flags.safe_path else sys.path[:1]
    installed = {Path(p).resolve() for p in _installed_path()}
    return {Path(p).resolve() for p in [*first, ""]} - installed
