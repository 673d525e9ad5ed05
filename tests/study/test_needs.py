"""What a study still takes: figures by hand, and what they stand on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.learning import planted_cohort, write_study
from support.tiny_study import tiny_study

from pathoml.config import Study, load_study
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder, tiles_folder
from pathoml.study.needs import Looked, Machine, Need, needs_ahead

ONE = Machine(workers=1, cores=1, gpus=0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study(tmp_path_factory.mktemp("needs") / "study", patients=8)


@pytest.fixture
def study(drawn: Path, tmp_path: Path) -> Study:
    (tmp_path / "study.yaml").write_bytes((drawn / "study.yaml").read_bytes())
    for name in ("slides.csv", "patients.csv"):
        text = (drawn / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("slides/", f"{drawn}/slides/"), encoding="utf-8")
    return load_study(tmp_path)


def needs(study: Study, machine: Machine = ONE, **options: object) -> dict[str, Need]:
    return {
        need.step: need
        for need in needs_ahead(study, read_cohort(study), machine, **{"look": None} | options)
    }


def thousand(*_: object) -> Looked:
    return Looked(tiles=1000, seconds=2.0)


def test_features_take_two_bytes_a_number_and_tile(study: Study) -> None:
    """8 slides of 1,000 tiles, each 1,280 numbers of 2 bytes and 24 bytes beside them; 8,200 bytes
    of each file, and one slide more that is being written.
    """
    count = len(read_cohort(study).slides)
    embed = needs(study, look=thousand)["embed"]
    row = 2 * 1280 + 24
    assert embed.size == count * 1000 * row + count * 8_200 + 1000 * row
    assert embed.what == f"{count} slides, {count * 1000} tiles"
    assert "4 slides looked at" in embed.stands_on


def test_more_processes_tile_the_sooner(study: Study) -> None:
    count = len(read_cohort(study).slides)
    one = needs(study, look=thousand)["tile"]
    four = needs(study, Machine(workers=4, cores=4, gpus=0), look=thousand)["tile"]
    assert (one.seconds, four.seconds) == (2.0 * count, 0.5 * count)


def test_a_larger_encoder_takes_longer_and_a_gpu_less_long(study: Study) -> None:
    """Times parameters, of a transformer with patches of 8 four times."""

    def seconds(encoder: str, gpus: int = 0) -> float:
        config = study.config.model_copy(update={"encoder": encoder})
        other = study.model_copy(update={"config": config})
        return needs(other, Machine(workers=1, cores=4, gpus=gpus), look=thousand)["embed"].seconds

    assert seconds("kaiko_vitb16") == pytest.approx(seconds("kaiko_vits16") * 85.8 / 21.7)
    assert seconds("kaiko_vitb8") == pytest.approx(4 * seconds("kaiko_vitb16"))
    assert seconds("kaiko_vitb16", gpus=2) == pytest.approx(
        seconds("kaiko_vitb16", gpus=1) / 2
    ) or (seconds("kaiko_vitb16", gpus=1) < seconds("kaiko_vitb16") / 20)


def test_what_is_there_is_not_counted_and_its_pace_is_that_of_the_rest(study: Study) -> None:
    """Six slides came out 30 s apart; the others will."""
    ids = [slide.slide_id for slide in read_cohort(study).slides]
    folder = tiles_folder(study)
    folder.mkdir(parents=True)
    for number, slide_id in enumerate(ids[:6]):
        for ending, size in ((".h5", 1_000), (".png", 3_000)):
            path = folder / f"{slide_id}{ending}"
            path.write_bytes(b"x" * size)
            os.utime(path, (1e9 + 30.0 * number,) * 2)
    rows = "".join(f"{slide_id},500\n" for slide_id in ids[:6])
    (folder / "quality.csv").write_text(f"slide_id,tiles\n{rows}", encoding="utf-8")
    found = needs(study)
    left = len(ids) - 6
    assert found["tile"].what == f"{left} slides"
    assert found["tile"].size == left * 4_000
    assert found["tile"].seconds == pytest.approx(30.0 * left)
    assert "pace of files here" in found["tile"].stands_on
    assert found["embed"].what == f"{len(ids)} slides, {500 * len(ids)} tiles"
    assert "6 tiled slides" in found["embed"].stands_on


def test_two_magnifications_are_made_and_joined(study: Study) -> None:
    config = study.config.model_copy(
        update={"tiles": study.config.tiles.model_copy(update={"context_mpp": 2.0})}
    )
    both = study.model_copy(update={"config": config})
    steps = [n.step for n in needs_ahead(both, read_cohort(both), ONE, look=thousand)]
    assert [step for step in steps if step in ("tile", "embed", "join")] == [
        "tile",
        "embed",
        "tile",
        "embed",
        "join",
    ]


def test_scores_from_elsewhere_are_evaluated_and_nothing_is_embedded(study: Study) -> None:
    assert set(needs(study, trains=False)) == {"evaluate", "report", "temporary"}


def test_features_that_were_imported_are_neither_tiled_nor_embedded(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", *planted_cohort(12)[:2])
    assert embeddings_folder(study).is_dir()
    assert "embed" not in needs(study)


def test_more_permutations_and_a_head_that_is_trained_take_longer(study: Study) -> None:
    def seconds(**changed: object) -> float:
        parts = {
            name: getattr(study.config, name).model_copy(update=values)
            for name, values in changed.items()
        }
        other = study.model_copy(update={"config": study.config.model_copy(update=parts)})
        return needs(other, look=thousand)["evaluate"].seconds

    few, many = (seconds(significance={"permutations": n}) for n in (10, 1000))
    assert many > 10 * few
    assert seconds(significance={"permutations": 1000}, train={"head": "abmil"}) > 3 * many
