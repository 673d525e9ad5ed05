"""Where the class of a head comes from: by name from pathoml/mil/ or an entry point, from an
installed module as `package.module:Class`, or from a file that is named openly as
`./file.py:Class`.

A name says which code it is; the two others go into recipes with the SHA-256 of their source. The
folder of the study and the working directory are never on the path on which modules are looked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable
from importlib.machinery import SourceFileLoader
from operator import attrgetter
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from pathoml.config import TrainConfig
from pathoml.errors import ConfigError, nearest
from pathoml.plugins import import_installed, load_plugin, refuse_unknown
from pathoml.store.files import sha256_of_file
from pathoml.training.head_files import read_head_file

if TYPE_CHECKING:  # known without torch: a recipe asks for the hash only
    from torch import nn

OPENLY = ("./", "../", "/")  # how a file is named, so that no module is taken for one


def is_reference(head: str) -> bool:
    """Return whether a head is given by module or file and class, not by name.

    >>> is_reference("abmil"), is_reference("gated.heads:Gated"), is_reference("./gated.py:Gated")
    (False, True, True)
    """
    return ":" in head or head.endswith(".py")


def reference_to(head: str | type[nn.Module]) -> str:
    """Return how a head is written in a configuration: a class as `module:Class`.

    Raises:
        ConfigError: the class is made inside a function, where nobody finds it again.
    """
    if isinstance(head, str):
        return head
    if "<locals>" in head.__qualname__:
        raise ConfigError(
            f"The head {head.__qualname__} is made inside a function and could not be found again."
            " Define it at the top of a module or of the notebook."
        )
    return f"{head.__module__}:{head.__qualname__}"


def find_head(head: str, folder: Path | None = None) -> type[nn.Module]:
    """Return the class of a head.

    Args:
        folder: of the study, which a path such as ./file.py starts from.

    Raises:
        ConfigError: it is not to be found, or is not an nn.Module; the nearest name is suggested.
    """
    if not is_reference(head):
        named: type[nn.Module] = load_plugin("pathoml.mil", head, "Head").Head
        return named
    from torch import nn

    where, name = _parts(head)
    module = _file_module(head, _path(head, folder)) if _is_file(where) else _module(head, where)
    try:
        found = attrgetter(name)(module)
    except AttributeError:
        found = None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        classes = {n: v for n, v in vars(module).items() if isinstance(v, type)}
        known = [n for n, v in classes.items() if issubclass(v, nn.Module)]
        raise _refusal(
            head, f"{where} has no class {name!r} that is a torch.nn.Module", name, known
        )
    return found


def is_solved(train: TrainConfig) -> bool:
    """Return whether the head of a section `train` is solved: nothing is sampled, and seeds change
    nothing. A file is read for that, and not run.

    Raises:
        ConfigError: as `find_head`.
    """
    if is_of_a_file(train.head):
        return bool(_said_in_file(train.head, train.study_folder, "solved"))
    return bool(getattr(find_head(train.head, train.study_folder), "solved", False))


def is_of_a_file(head: str) -> bool:
    """Return whether a head is a file that study.yaml names, and runs when models are made.

    >>> is_of_a_file("./gated.py:Gated"), is_of_a_file("gated.heads:Gated")
    (True, False)
    """
    return is_reference(head) and _is_file(head)


def refuse_unknown_head(head: str, folder: Path | None = None) -> None:
    """Raise ConfigError if a head is not to be found. Torch is imported for a reference only; a
    file is read and not run.
    """
    if is_of_a_file(head):
        _said_in_file(head, folder, "solved")
    elif is_reference(head):
        find_head(head, folder)
    else:
        refuse_unknown("pathoml.mil", head, "Head")


def source_sha256(head: str, folder: Path | None = None) -> str:
    """Return the SHA-256 of the source of a referred head, "" for a named one: of the file, or of
    the class alone where it belongs to the running program.

    Raises:
        ConfigError: it is not to be found.
    """
    if not is_reference(head):
        return ""
    where, _ = _parts(head)
    if _is_file(where):
        return sha256_of_file(_path(head, folder))
    found = find_head(head)
    file = getattr(sys.modules[found.__module__], "__file__", None)
    if found.__module__ != "__main__" and file and Path(file).is_file():
        return sha256_of_file(Path(file))
    try:
        text = inspect.getsource(found)
    except (OSError, TypeError):  # a notebook keeps the text of no class
        text = found.__qualname__ + "".join(_member_text(n, v) for n, v in vars(found).items())
    return hashlib.sha256(text.encode()).hexdigest()


def is_installed(head: str) -> bool:
    """Return whether a head is found elsewhere too: by name, or as the class of an installed
    package. Nothing is imported.
    """
    if not is_reference(head):
        return True
    where, _ = _parts(head)
    return not _is_file(where) and _is_of_a_package(where.partition(".")[0])


def _said_in_file(head: str, folder: Path | None, attribute: str) -> Any:
    """Return what the class of a file declares, None if nothing.

    Raises:
        ConfigError: the file is no Python, or has no such class that is an nn.Module.
    """
    where, name = _parts(head)
    path = _path(head, folder)
    try:
        file = read_head_file(path)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise _refusal(head, f"it cannot be run ({type(error).__name__}: {error})") from error
    if not file.may_be_module(name):
        known = [n for n in file.names if file.may_be_module(n)]
        raise _refusal(
            head, f"{where} has no class {name!r} that is a torch.nn.Module", name, known
        )
    try:
        return file.declared(name, attribute, None)
    except ValueError as error:
        raise _refusal(
            head, f"{attribute} of {name} is no constant. Write {attribute} = True or False"
        ) from error


def _parts(head: str) -> tuple[str, str]:
    where, _, name = head.rpartition(":")
    if not where or not name or not all(part.isidentifier() for part in name.split(".")):
        raise _refusal(head, "it lacks the class, as in ./my_head.py:Head or package.module:Head")
    if where.endswith(".py") and not _is_file(where):
        raise _refusal(head, f"a file is named by its path. Did you mean './{head}'?")
    return where, name


def _is_file(where: str) -> bool:
    return where.startswith(OPENLY)


def _path(head: str, folder: Path | None) -> Path:
    where = Path(_parts(head)[0])
    if folder is None and not where.is_absolute():
        raise _refusal(head, "the path is relative, and there is no study folder to start from")
    path = where if folder is None else folder / where
    if path.suffix != ".py" or not path.is_file():
        files = [f"./{p.relative_to(path.parent)}" for p in path.parent.glob("*.py")]
        raise _refusal(head, f"{path} is no Python file", f"./{path.name}", files)
    return path


class _SourceAlone(SourceFileLoader):
    """Runs the text of a file as it is, without the compiled copy that may lie beside it."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _file_module(head: str, path: Path) -> ModuleType:
    content = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()
    name = f"_pathoml_head_{content}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_SourceAlone(name, str(path)))
    if spec is None or spec.loader is None:
        raise _refusal(head, f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and torch look a class up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _refusal(head, f"it cannot be run ({type(error).__name__}: {error})") from error
    return module


def _module(head: str, name: str) -> ModuleType:
    if name in sys.modules:  # the caller's own, which runs already
        return sys.modules[name]
    try:
        return import_installed(name)
    except ConfigError as error:
        raise _refusal(head, str(error)) from error
    except ModuleNotFoundError as error:
        parent, _, missing = (error.name or name).rpartition(".")
        path = getattr(sys.modules.get(parent), "__path__", None)
        known = [m.name for m in pkgutil.iter_modules(path)]
        raise _refusal(head, str(error), missing, known) from error
    except Exception as error:
        raise _refusal(head, f"it cannot be run ({type(error).__name__}: {error})") from error


def _refusal(head: str, why: str, word: str = "", known: Iterable[str] = ()) -> ConfigError:
    return ConfigError(f"train.head = {head!r}: {why.rstrip('.')}.{nearest(word, known)}")


def _is_of_a_package(top: str) -> bool:
    """Return whether an installed distribution brings a module: its files, or where it is
    developed.
    """
    import json
    from importlib.metadata import distributions, packages_distributions
    from urllib.parse import unquote, urlparse

    if top in packages_distributions():
        return True
    spec = importlib.util.find_spec(top) if top != "__main__" else None
    place = Path(spec.origin).resolve() if spec and spec.has_location and spec.origin else None
    origins = (json.loads(d.read_text("direct_url.json") or "{}") for d in distributions())
    developed = [o["url"] for o in origins if o.get("dir_info", {}).get("editable")]
    return place is not None and any(
        place.is_relative_to(Path(unquote(urlparse(url).path)).resolve()) for url in developed
    )


def _member_text(name: str, value: Any) -> str:
    if isinstance(value, FunctionType):
        return f"{name}{_code_text(value.__code__)}"
    return f"{name}{value!r}" if isinstance(value, bool | int | float | str | tuple) else name


def _code_text(code: CodeType) -> str:
    constants = [
        _code_text(c)
        if isinstance(c, CodeType)
        else repr(sorted(c, key=repr) if isinstance(c, frozenset) else c)
        for c in code.co_consts
    ]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
