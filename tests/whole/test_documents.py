"""The documents say what the program does: every command in them is one that it understands, and
the reference pages are up to date.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
import yaml

import pathoml
from pathoml.cli import app
from pathoml.embedding.network import EncoderModel, build_architecture
from pathoml.errors import SlideError
from pathoml.slides.reading import open_slide
from pathoml.store.maps import read_attention
from pathoml.store.tables import read_table
from pathoml.training.model_stack import HeadSpec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
VERBS = typer.main.get_command(app).commands


def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(text):
    """Return the pathoml commands of a page's code blocks and of its words in backquotes."""
    blocks = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, flags=re.DOTALL)
    lines = [
        part
        for block in blocks
        for line in block.splitlines()
        for part in re.split(r"\s&&\s", line)
    ]
    quoted = re.findall(r"`([^`\n]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [re.sub(r"\s+#.*", "", line).strip() for line in [*lines, *quoted]]
    starts = re.compile(r"^(?:\.venv/bin/)?pathoml\s+(?:--log-json\s+|--debug\s+)?(?=[a-z])")
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


@pytest.mark.parametrize("name", ["commands", "configuration", "python"])
def test_the_reference_pages_are_those_that_the_script_would_write(name):
    written = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert written == getattr(reference(), f"{name}_page")(), "run: python docs/reference.py"


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
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= set(
        re.findall(r"\]\(([\w-]+\.md)\)", index)
    )


def test_no_file_points_to_a_document_that_is_not_in_the_repository():
    papers = "|".join(
        ("REQUIREMENTS", "DESIGN", "FACTS", r"PEERS\d?", "HOUSE", "STYLE", "INTERVAL")
    )
    elsewhere = re.compile(
        rf"\b(?:{papers})\.md\b|\b(?:REQUIREMENTS|FACTS)['.:]|[( ][A-Z]{{2}}[1-9]\d?(?:,"
        r" [A-Z]{2}[1-9]\d?)*\)"
    )
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    text = re.compile(r"\.(?:py|md|ya?ml|toml|R|j2|js|html|css)$|(?:^|/)[\w-]+$")
    found = []
    for path in (ROOT / name for name in names if text.search(name) and "/vendor/" not in name):
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [
                f"{path.relative_to(ROOT)}:{n}: {line.strip()}"
                for n, line in enumerate(lines, 1)
                if elsewhere.search(line)
            ]
    assert found == []


@pytest.mark.parametrize("name", ["bug", "question"])
def test_an_issue_asks_for_the_doctor_and_warns_of_patients_data(name):
    form = yaml.safe_load(
        (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8")
    )
    assert {"name", "description", "body"} <= form.keys()
    words = [
        part["attributes"].get("label", part["attributes"].get("value", ""))
        for part in form["body"]
    ]
    assert "Attach no slide, no patient table" in words[0]
    assert any("pathoml doctor" in word for word in words)


def test_every_file_that_a_document_names_is_there():
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
    ]
    named = re.compile(r"(?<![\w/.])(?:tests|benchmarks|scripts|configs|docs|pathoml)/[\w/.-]*\w")
    shown = {path.removesuffix(".py") for path in whole_files()}
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in named.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
        and not list(ROOT.glob(f"{name}*"))
        and "NAME" not in name
        and name.removesuffix(".py") not in shown
    ]
    assert missing == []


def test_the_results_lead_to_every_page_of_results_and_so_does_the_site():
    pages = {page.name for page in (ROOT / "benchmarks" / "results").glob("*.md")}
    index = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert (
        set(re.findall(r"\]\(results/([\w-]+\.md)\)", index))
        == pages
        == set(re.findall(r": results/([\w-]+\.md)", site))
    )


def test_decisions_are_numbered_without_a_hole_and_their_index_is_made_of_their_first_lines():
    folder = ROOT / "docs" / "decisions"
    pages = sorted(path for path in folder.glob("*.md") if path.name != "index.md")
    heads = [
        page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split(": ", 1)
        for page in pages
    ]
    assert [page.name[:5] for page in pages] == [
        f"{number:04d}-" for number in range(1, len(pages) + 1)
    ]
    rows = [
        f"- {page.name[:4]}: [{title}]({page.name})"
        for page, (_, title) in zip(pages, heads, strict=True)
    ]
    assert [number for number, _ in heads] == [page.name[:4] for page in pages]
    index = (folder / "index.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in index if line.startswith("- ")] == rows


@pytest.mark.ci
def test_the_site_is_built_without_a_broken_link_and_asks_nobody_for_anything(tmp_path):
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "start.html", "statisticians.html", "results.html"} <= {
        page.name for page in pages
    }
    loads = re.compile(
        r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//|<link[^>]+rel="(?:stylesheet|preconnect|preload)"[^>]+href="(?:https?:)?//'
    )
    assert [page.name for page in pages if loads.search(page.read_text(encoding="utf-8"))] == []


def whole_files():
    """Return {path: code} of the files that docs/extend.md shows whole."""
    text = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    return dict(re.findall(r"`(pathoml/\S+\.py)`:\n\n```python\n(.*?)```", text, flags=re.DOTALL))


@pytest.fixture
def added(drop_in):
    """Drop a file of docs/extend.md into its folder."""

    def add(path):
        package, name = path.removesuffix(".py").replace("/", ".").rsplit(".", 1)
        drop_in(package, name, whole_files()[path])
        return importlib.import_module(f"{package}.{name}")

    return add


def test_there_is_a_whole_file_for_each_folder_that_takes_one():
    folders = {"encoders", "mil", "slides", "engines", "interop"}
    assert {path.split("/")[1] for path in whole_files()} == folders


def test_the_shown_encoder_builds_what_it_says(added):
    encoder = added("pathoml/encoders/vit_small_imagenet.py").ENCODER
    with torch.device("meta"):
        model = EncoderModel(build_architecture(encoder), encoder)
        assert tuple(
            model(torch.zeros(1, 224, 224, 3, dtype=torch.uint8, device="meta")).shape
        ) == (1, encoder.dim)
    assert sum(p.numel() for p in model.network.parameters()) == pytest.approx(
        encoder.parameters, rel=0.01
    )


def test_the_shown_head_sums_and_reads_nothing_of_the_padding(added):
    added("pathoml/mil/top_tenth.py")
    head = HeadSpec(head="top_tenth", in_dim=3, hidden=4, dropout=0.0).build().eval()
    torch.nn.init.ones_(head.risk.weight)
    features = torch.arange(60.0).reshape(1, 20, 3)
    is_tile = torch.ones(1, 20, dtype=torch.bool)
    output = head(features, is_tile)
    assert output.log_risk.item() == pytest.approx(
        (174 + 165) / 2
    )  # the last two tiles hold 57+58+59 and 54+55+56
    assert output.contribution.sum().item() == pytest.approx(output.log_risk.item())
    is_tile[0, 18:] = False
    assert head(features, is_tile).log_risk.item() == pytest.approx(
        156
    )  # a tenth of 18 is one: 51+52+53


def test_the_shown_reader_gives_the_picture_and_white_outside(added, tmp_path):
    added("pathoml/slides/readers/numpy_slide.py")
    picture = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    np.save(tmp_path / "s.npy", picture)
    with open_slide(tmp_path / "s.npy") as slide:
        assert slide.size_l0 == (120, 90)
        region = slide.read_region((-10, 80), 0, (40, 30))
    assert (region[:10, 10:] == picture[80:, :30]).all()
    assert (region[10:] == 255).all()
    assert (region[:, :10] == 255).all()
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(SlideError, match=r"bad\.npy cannot be opened"):
        open_slide(tmp_path / "bad.npy")


def test_the_shown_engine_does_every_item_once(added):
    engine = added("pathoml/engines/threads.py")
    results = dict(engine.map_items(lambda n: 1 / n, [(str(n), n) for n in (4, 0, 2)], workers=2))
    assert (results["4"], results["2"], type(results["0"])) == (0.25, 0.5, ZeroDivisionError)


def test_the_shown_format_writes_the_hottest_tiles(added, tmp_path):
    from support.viewing import trained_study

    study = trained_study(tmp_path / "study")
    exchange = added("pathoml/interop/hot_spots.py").export_to(study, tmp_path / "out")
    rows = read_table(exchange.files[0]).rows
    found = read_attention(study.run_folder / "attention" / "S2.h5")
    assert len(rows) == 10 * 8
    assert float(next(r["contribution"] for r in rows if r["slide_id"] == "S2")) == pytest.approx(
        float(found.contribution.max()), rel=1e-6
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, shared_data):
    """A folder in which every block of the documents can be run: STUDY, FOLDER with its slides, the
    table and scores of TCGA-SARC.
    """
    from support.tiny_study import SETTINGS

    from pathoml.synthetic.cohort import write_cohort

    folder = tmp_path_factory.mktemp("documents")
    settings = {
        **SETTINGS,
        "significance": {"permutations": 4, "bootstraps": 200},
        "cohort": {"covariates": []},
    }
    write_cohort(
        folder / "STUDY",
        patients=14,
        seed=4,
        workers=2,
        side_um=420.0,
        textures=1,
        settings=settings,
    )
    (folder / "FOLDER").symlink_to(folder / "STUDY" / "slides")
    (folder / "configs").symlink_to(ROOT / "configs")
    table = next((shared_data / "survival").rglob("*SARC*CDR*.csv"))
    (folder / "TCGA-SARC_clinical_CDR.csv").symlink_to(table)
    ids = [line.split(",")[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    (folder / "MY_SCORES.csv").write_text(
        "patient_id,score\n" + "".join(f"{one},{i * 37 % 101}\n" for i, one in enumerate(ids))
    )
    return folder


def blocks(page):
    """Return the blocks of commands of a page that call pathoml."""
    found = re.findall(
        r"```(?:bash|sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    return [
        block
        for block in found
        if re.search(r"^(?:\.venv/bin/)?pathoml ", block, flags=re.MULTILINE)
    ]


@pytest.mark.ci
def test_every_block_of_commands_in_the_documents_runs(workplace):
    (workplace / "pathoml").write_text(
        f'#!/bin/bash\nexec {sys.executable} -m pathoml "$@"\n', encoding="utf-8"
    )
    (workplace / "pathoml").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{workplace}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    ran = 0
    for page in PAGES:
        for block in blocks(page):
            here = block.replace(".venv/bin/pathoml", "pathoml")
            here = here.replace("init STUDY", "init NEW")  # STUDY is filled in already
            here = here.replace(
                "context_mpp=2.0", "context_mpp=0.6"
            )  # these slides are too small for more
            here = re.sub(
                r"(pathoml submit .*)", r"\1 --dry-run", here
            )  # tests/compute/test_slurm.py submits
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", here],
                cwd=workplace,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, (
                f"{page.name}:\n{here}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
            )
            ran += 1
    assert ran >= 4


def names_of_pathoml(text):
    """Return what the Python of a page takes from the package: `pm.run` in its blocks,
    `pathoml.run(` in its words.
    """
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    return {*re.findall(r"\bpm\.(\w+)", blocks), *re.findall(r"`pathoml\.(\w+)\(", text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_of_the_package_in_a_document_is_one_that_it_offers(page):
    assert names_of_pathoml(page.read_text(encoding="utf-8")) - {*pathoml.__all__} == set()


def test_every_function_that_an_error_names_is_offered():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "pathoml").rglob("*.py")]
    named = {n for text in texts for n in re.findall(r"\bpathoml\.(\w+)\((?:study|cohort)", text)}
    assert named
    assert named - {*pathoml.__all__} == set()
