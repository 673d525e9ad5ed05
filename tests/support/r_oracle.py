"""R's `survival` as a test oracle: run a script, read back the `name value value ...` lines that it
prints.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest


def unavailable(reason: str) -> None:
    """Skip, visibly; or fail where everything has to be there (PATHOML_REQUIRE_ALL=1)."""
    if os.environ.get("PATHOML_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def r_survival_is_there() -> bool:
    if shutil.which("Rscript") is None:
        return False
    return (
        subprocess.run(
            ["Rscript", "-e", "library(survival)"], capture_output=True, check=False
        ).returncode
        == 0
    )


def run_r(script: str, folder: Path | None = None) -> dict[str, np.ndarray]:
    """Return what the script printed: lines `name value value ...` as arrays; NA is nan."""
    if not r_survival_is_there():
        unavailable(
            "needs Rscript with the package survival (apt-get install r-base-core r-cran-survival)"
        )
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "oracle.R"
        file.write_text(script, encoding="utf-8")
        done = subprocess.run(
            ["Rscript", "--vanilla", str(file)],
            cwd=folder or scratch,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    return {
        name: np.array([np.nan if v == "NA" else float(v) for v in values])
        for name, *values in lines
    }


def r_vector(values: Iterable[object]) -> str:
    """Return an R vector that holds exactly these floats, or these texts."""
    return (
        "c(" + ", ".join(f'"{v}"' if isinstance(v, str) else repr(float(v)) for v in values) + ")"
    )


PRELUDE = """
library(survival)
show <- function(name, value)
  cat(name, formatC(as.numeric(value), digits = 17, format = "g"), "\\n")
"""


def r_data(data: dict[str, np.ndarray]) -> str:
    """Return R code: the prelude with `show(name, value)`, and one vector for each column."""
    return PRELUDE + "".join(
        f"{name} <- {r_vector(column.tolist())}\n" for name, column in data.items()
    )
