"""What is installed with pathoml is known: named with hashes and licences, and nothing that is
known to be bad.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
KNOWN_TO_BE_BAD = {
    ("pytorch-lightning", "2.6.2"): "malicious",
    ("pytorch-lightning", "2.6.3"): "malicious",
    ("starlette", "1.0.0"): "CVE-2026-48710",
    ("starlette", "0.49.1"): "CVE-2026-48710",
    ("torch", "2.5.1"): "CVE-2025-32434: weights_only could run code",
    ("pillow", "11.2.1"): "CVE-2025-48379",
    ("jinja2", "3.1.5"): "CVE-2025-27516",
    ("ray", "2.51.0"): "CVE-2025-62593",
    ("ray", "2.53.0"): "CVE-2026-27482",
    ("openslide-bin", "4.0.0.13"): "two CVEs",
}


@pytest.fixture(scope="module")
def bom() -> dict:
    return json.loads((ROOT / "sbom.cdx.json").read_text(encoding="utf-8"))


def asked_for() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


@pytest.mark.parametrize(("name", "version"), KNOWN_TO_BE_BAD)
def test_no_version_that_is_known_to_be_bad_may_be_installed(name: str, version: str) -> None:
    wanted = [r for r in asked_for() if canonicalize_name(r.name) == name]
    assert wanted, f"{name} is no dependency any more: take it out of the table"
    assert not any(r.specifier.contains(version, prereleases=True) for r in wanted)
    for lock in LOCKS:
        assert (name, version) not in PINNED.findall((ROOT / lock).read_text(encoding="utf-8"))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_file_is_pinned_by_hash(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", text)
    pinned = [block for block in blocks if PINNED.match(block)]
    assert pinned
    assert [b.split()[0] for b in pinned if "--hash=sha256:" not in b] == []


def test_the_bill_of_materials_is_that_of_the_lock_file() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "sbom")]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    written = (ROOT / "sbom.cdx.json").read_text(encoding="utf-8")
    assert done.stdout == written, "run scripts/sbom > sbom.cdx.json"


def test_it_names_every_pinned_package_with_hashes_and_nothing_else_but_what_is_vendored(
    bom: dict,
) -> None:
    pinned = PINNED.findall((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    found = {(c["name"], c["version"]) for c in bom["components"] if "pypi" in c["purl"]}
    assert found == set(pinned)
    assert all(component["hashes"] for component in bom["components"])
    references = [component["bom-ref"] for component in bom["components"]]
    assert sorted(bom["dependencies"][0]["dependsOn"]) == sorted(set(references))


def test_it_names_what_the_wheel_brings_along_by_the_bytes_that_are_there(bom: dict) -> None:
    vendored = [c for c in bom["components"] if c["purl"].startswith("pkg:npm/")]
    assert {c["name"] for c in vendored} == {
        path.name for path in (ROOT / "pathoml/viewer/web/vendor").iterdir()
    }
    for component in vendored:
        [place] = component["evidence"]["occurrences"]
        content = (ROOT / place["location"]).read_bytes()
        assert component["hashes"][0]["content"] == hashlib.sha256(content).hexdigest()
        assert component["version"].encode() in content[:300]
        assert component["licenses"] == [{"expression": "BSD-3-Clause"}]


def test_its_licences_are_spdx_expressions(bom: dict) -> None:
    stated = [c["licenses"] for c in bom["components"] if "licenses" in c]
    assert len(stated) > 0.95 * len(bom["components"])
    for [licence] in stated:
        said = licence["expression"]
        assert said == canonicalize_license_expression(said)


def test_the_image_names_no_base_by_a_digest_that_nobody_has_seen() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert base
    assert "@sha256:" in base[1] or "imagetools inspect" in text, "how to learn it is said"
    assert "sbom.cdx.json" in text
