"""A study with one vector a slide or patient goes from import to report and to a locked bundle, and
says wherever a map would stand that there is none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort, write_study
from support.tiny_study import SETTINGS, pathoml

from pathoml import pipeline
from pathoml.bundles.locking import lock
from pathoml.bundles.predicting import predict
from pathoml.cli.console import Console
from pathoml.cli.status import run as say_status
from pathoml.config import Study, load_study
from pathoml.errors import ConfigError, StoreError
from pathoml.interop import qupath, trident, vectors
from pathoml.store.embeddings import stored_rows
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder
from pathoml.synthetic.cohort import write_cohort
from pathoml.viewer.catalogue import read_catalogue

COHORT = planted_cohort(48)


def of_vectors(folder: Path, of: str) -> Study:
    """Return a study with vectors only, as an import left it."""
    write_study(folder, *COHORT[:2])
    shutil.rmtree(folder / "embeddings")
    rng = np.random.default_rng(0)
    cohort = COHORT[0]
    names = [s.slide_id for s in cohort.slides] if of == "slide" else cohort.patient_ids
    rows = [f"{name},{','.join(f'{v:.3f}' for v in rng.normal(size=20))}" for name in names]
    header = ",".join([f"{of}_id", *(f"f{i}" for i in range(20))])
    (folder / "hif.csv").write_text("\n".join([header, *rows]) + "\n")
    assert vectors.import_into(load_study(folder), folder / "hif.csv").failures == {}
    settings = ["train.seeds=1", "significance.permutations=2", "significance.bootstraps=200"]
    return load_study(folder, [f"encoder=hif@{of}", *settings])


@pytest.fixture(scope="module", params=["slide", "patient"])
def ran(request, tmp_path_factory):
    """Return (study, what every step found, the sentence)."""
    study = of_vectors(tmp_path_factory.mktemp(request.param), request.param)
    found = pipeline.run(study).found
    return study, found, f"The study has one vector a {request.param}: there is no map."


def test_every_step_is_done_or_says_why_there_is_nothing_to_do(ran):
    study, found, sentence = ran
    assert found["explain"].no_map == found["discover"].no_map == sentence
    assert not (study.run_folder / "attention").exists()
    assert not (study.run_folder / "features").exists()
    assert not (study.folder / "tiles").exists()
    states = pipeline.status(study)
    assert states == {"train": "done", "evaluate": "done", "report": "done"}


def test_the_report_says_the_sentence_where_a_map_would_stand_and_speaks_of_no_tile(ran):
    study, _, sentence = ran
    page = (study.run_folder / "report.html").read_text()
    maps = page[page.index('<section id="maps">') :].split("</section>")[0]
    assert f"<p>{sentence}</p>" in maps
    assert "<img" not in maps
    assert "pathoml explain" not in maps
    methods = page[page.index('<section id="methods">') :].split("</section>")[0]
    assert "one vector, made elsewhere" in methods
    assert "micrometres per pixel" not in methods
    flow = page[page.index('<section id="patients">') :].split("</section>")[0]
    assert "<th>Tiles</th>" not in flow
    assert 'id="phenotypes"' not in page


def test_status_and_viewer_say_the_sentence(ran, capsys):
    study, _, sentence = ran
    assert say_status(study, Console()) == 0
    assert sentence in capsys.readouterr().out
    catalogue = read_catalogue(study)
    assert sentence in catalogue.problems
    assert {entry.problem for entry in catalogue.slides.values()} == {sentence}
    assert not any(entry.has_map for entry in catalogue.slides.values())


def test_exports_of_maps_and_of_tiles_say_why_there_are_none(ran, tmp_path):
    study, _, sentence = ran
    with pytest.raises(StoreError, match=sentence):
        qupath.export_to(study, tmp_path / "qupath")
    with pytest.raises(ConfigError, match="no tiles to export"):
        trident.export_to(study, tmp_path / "trident")


def test_a_bundle_predicts_from_vectors_and_draws_no_map(ran, tmp_path):
    study, _, sentence = ran
    bundle = lock(study, f"of_{tmp_path.name}")
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "no tiles, so no map" in card
    done = predict(study, bundle, maps=True)
    assert done.no_map == sentence
    assert done.patients == len(read_cohort(study).patients)
    assert not (done.folder / "attention").exists()


def test_maps_of_models_of_tiles_do_not_outlive_a_training_on_vectors(ran):
    study, _, _ = ran
    stale = study.run_folder / "attention"
    stale.mkdir()
    (stale / "S0a.h5").write_bytes(b"of other models")
    pipeline.run(study)
    assert not stale.exists()


@pytest.mark.ci
def test_slides_so_small_that_they_have_one_tile_here_are_no_vectors(tmp_path):
    write_cohort(
        tmp_path,
        patients=14,
        seed=4,
        workers=1,
        side_um=260.0,
        textures=1,
        settings={**SETTINGS, "tiles": {"mpp": 0.9}},
    )
    assert pathoml("run", str(tmp_path)) in (0, 1)  # 1: some slides have no tile at all
    study = load_study(tmp_path)
    run = study.run_folder
    assert {stored_rows(path) for path in embeddings_folder(study).glob("*.h5")} == {1}
    assert len(list((run / "attention").glob("*.geojson"))) >= 12
    assert (run / "features" / "phenotypes.csv").is_file()
    assert "one vector a slide" not in (run / "report.html").read_text(encoding="utf-8")
