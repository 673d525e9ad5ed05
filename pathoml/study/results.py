"""A study as a notebook sees it: its configuration, and by attribute what its run found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pathoml.config import Study as StudyOnDisk
from pathoml.config import load_study
from pathoml.errors import StoreError, nearest
from pathoml.store.files import read_json
from pathoml.study.cohort import read_cohort
from pathoml.study.run_folder import RunFolder
from pathoml.types import Estimate

ESTIMATE = {"estimate", "low", "high", "n", "events"}


class Study(StudyOnDisk):
    """A study folder with its configuration, and what is in metrics.json and permutation.json of
    its run. Steps and readers take one, or the folder.
    """

    @property
    def metrics(self) -> Results:
        """Read runs/RUN/metrics.json: `study.metrics.harrell_c`."""
        return _results(RunFolder(self.run_folder).metrics)

    @property
    def permutation(self) -> Results:
        """Read runs/RUN/permutation.json: `study.permutation.p_value`."""
        return _results(RunFolder(self.run_folder).permutation)

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}, run {self.config.run!r})"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


def open_study(folder: Path | str, overrides: Sequence[str] = ()) -> Study:
    """Read study.yaml and both tables, so that what is wrong with them is said now.

    Args:
        folder: the study's.
        overrides: `section.key=value` each, as after --set.

    Raises:
        ConfigError: study.yaml is missing or wrong.
        CohortError: rows of slides.csv or patients.csv are refused; every one is listed.
    """
    read = load_study(Path(folder), overrides)
    study = Study(folder=read.folder, config=read.config)
    read_cohort(study)
    return study


class Results(Mapping[str, Any]):
    """A section of a readable file by attribute or key; what has an interval is an Estimate."""

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        self._name, self._content = name, content

    def __getitem__(self, key: str) -> Any:
        return self._value(key, self._content[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._content:
            raise AttributeError(f"{self._name} has no {name!r}.{nearest(name, self._content)}")
        return self[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._content})

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._value(key, one) for one in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == ESTIMATE and value["estimate"] is not None:
            return Estimate(**value)
        return Results(f"{self._name}: {key}", value)

    def __repr__(self) -> str:
        """
        >>> Results("permutation.json", {"p_value": 0.004, "permutations": 1000, "null": [0.5]})
        permutation.json: p = 0.004, of 1000 permutations
        >>> Results("metrics.json", {"n": 246, "leaks": {}})
        metrics.json: n, leaks
        """
        content = self._content
        if isinstance(content.get("p_value"), float) and "permutations" in content:
            p = content["p_value"]
            return f"{self._name}: p = {p:.3g}, of {content['permutations']} permutations"
        if content.get("estimate", 0) is None:
            return f"not estimable: {content.get('note', '')}"
        if content.keys() >= ESTIMATE:
            return repr(Estimate(**{name: content[name] for name in ESTIMATE}))
        return f"{self._name}: {', '.join(content)}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(key)}</th><td>{escape(_short(self[key]))}</td></tr>" for key in self
        )
        return f"<table>{rows}</table>"


def _results(path: Path) -> Results:
    if not path.is_file():
        raise StoreError(
            f"{path} is missing. Run `pathoml run`, or pathoml.run(study), which evaluates the"
            " scores."
        )
    return Results(path.name, read_json(path))


def _short(value: Any) -> str:
    """Return a value in a cell: a long list is counted."""
    return f"{len(value)} entries" if isinstance(value, list) and len(value) > 6 else str(value)
