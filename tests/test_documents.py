"""The documents say what the program does: every command in them is one that it understands, and the reference pages are up to date."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from pathoml.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
VERBS = typer.main.get_command(app).commands


def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(text):
    """Return the pathoml commands of a page's code blocks and of its words in backquotes."""
    blocks = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, flags=re.DOTALL)
    lines = [part for block in blocks for line in block.splitlines() for part in re.split(r"\s&&\s", line)]
    quoted = re.findall(r"`([^`\n]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [re.sub(r"\s+#.*", "", line).strip() for line in [*lines, *quoted]]
    starts = re.compile(r"^(?:\.venv/bin/)?pathoml\s+(?=[a-z])")
    return [shlex.split(starts.sub("", one)) for one in found if starts.match(one)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_document_is_one_that_the_command_line_understands(page):
    for verb, *words in commands(page.read_text(encoding="utf-8")):
        if verb == "VERB" or "[OPTIONS]" in words:
            continue
        assert verb in VERBS, f"{page.name}: there is no `pathoml {verb}`"
        known = {name for p in VERBS[verb].params for name in [*p.opts, *p.secondary_opts]}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known, f"{page.name}: `pathoml {verb}` has no {word}"


def test_there_are_commands_in_the_documents_to_be_checked():
    assert sum(len(commands(page.read_text(encoding="utf-8"))) for page in PAGES) > 30


@pytest.mark.parametrize("name", ["commands", "configuration"])
def test_the_reference_pages_are_those_that_the_script_would_write(name):
    written = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert written == getattr(reference(), f"{name}_page")(), "run: python scripts/reference.py"


def test_every_verb_and_option_has_a_sentence():
    for name, verb in VERBS.items():
        assert verb.help, f"pathoml {name} has no help"
        for parameter in verb.params:
            if parameter.name != "help":
                assert parameter.help, f"pathoml {name}: {parameter.opts} has no help"


def test_every_link_between_the_documents_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))
