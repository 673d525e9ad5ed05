"""The synthetic cohort: files that scanners could have written, a truth that fits them, an outcome
that follows it.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import yaml
from PIL import Image

from pathoml.errors import PathomlError
from pathoml.synthetic.cohort import SETTINGS, plan_slides, study_yaml, write_cohort
from pathoml.synthetic.outcome import draw_patients, oracle_c
from pathoml.synthetic.slide import (
    CENTRES,
    draw_slide,
    load_bank,
    store_roughness,
    store_texture,
    write_slide,
)
from pathoml.synthetic.stain import BALANCED, BLUISH, REDDISH
from pathoml.synthetic.tissue import PHENOTYPES, draw_field

SIDE_UM = 420.0
CENTRE_OF = {centre.name: centre for centre in CENTRES}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the folder of six patients on small slides, drawn by two processes, and what
    write_cohort said.
    """
    folder = tmp_path_factory.mktemp("cohort") / "study"
    steps: list[tuple[int, int]] = []
    cohort = write_cohort(
        folder,
        patients=6,
        seed=3,
        workers=2,
        side_um=SIDE_UM,
        textures=1,
        on_slide=lambda *step: steps.append(step),
    )
    return folder, cohort, steps


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Return the textures that the study's slides were made from, drawn again in this process."""
    folder = tmp_path_factory.mktemp("bank")
    store_roughness(folder / "roughness.npy", seed=[3, 4])
    for k, phenotype in enumerate(PHENOTYPES):
        store_texture(folder / f"{phenotype}_0.npy", phenotype=phenotype, seed=[3, 5, k, 0])
    return load_bank(folder)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def slides_of(folder: Path):
    """Yield (row of slides.csv, its centre, open slide)."""
    centre = {row["patient_id"]: CENTRE_OF[row["centre"]] for row in rows(folder / "patients.csv")}
    for row in rows(folder / "slides.csv"):
        with openslide.OpenSlide(folder / row["path"]) as slide:
            yield row, centre[row["patient_id"]], slide


def test_openslide_reads_the_vendor_the_scale_and_a_pyramid(study):
    found = set()
    for _, centre, slide in slides_of(study[0]):
        vendor = {"svs": "aperio", "tiff": "generic-tiff"}[centre.container]
        found.add(vendor)
        assert slide.properties[openslide.PROPERTY_NAME_VENDOR] == vendor
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(
            centre.mpp, rel=0.005
        )
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_Y]) == pytest.approx(
            centre.mpp, rel=0.005
        )
        assert slide.dimensions[0] * centre.mpp == pytest.approx(SIDE_UM, rel=0.05)
        assert slide.level_count >= 3
    assert found == {"aperio", "generic-tiff"}


def test_slides_hold_no_label_macro_or_thumbnail(study):
    assert all(not slide.associated_images for _, _, slide in slides_of(study[0]))


def test_every_centre_has_its_own_pixel_size_and_patients(study):
    assert len({centre.mpp for centre in CENTRES}) == len(CENTRES) == 3
    assert {row["centre"] for row in rows(study[0] / "patients.csv")} == set(CENTRE_OF)


def test_same_seed_gives_same_bytes_whatever_the_workers(study, bank, tmp_path):
    patients = draw_patients(6, seed=3)
    for plan in [p.drawing for p in plan_slides(patients, seed=3)[:4]]:
        slide, truth = tmp_path / Path(plan.path).name, tmp_path / f"{plan.slide_id}.npz"
        write_slide(
            slide,
            truth,
            seed=plan.seed,
            shares=plan.shares,
            bank=bank,
            centre=plan.centre,
            side_um=SIDE_UM,
        )
        assert slide.read_bytes() == (study[0] / plan.path).read_bytes()
        assert truth.read_bytes() == (study[0] / "truth" / truth.name).read_bytes()


def test_truth_lies_over_the_tissue(study):
    fat = PHENOTYPES.index("fat") + 1  # its cells are empty, and as bright as glass
    for row, centre, slide in slides_of(study[0]):
        with np.load(study[0] / "truth" / f"{row['slide_id']}.npz", allow_pickle=False) as truth:
            classes, cell_l0 = truth["classes"], float(truth["cell_l0"])
        assert cell_l0 * classes.shape[1] == pytest.approx(slide.dimensions[0], abs=1)
        whole = slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")
        cells = np.asarray(whole.resize(classes.shape[::-1], Image.Resampling.BOX)).min(axis=2)
        darkest_glass = min(centre.stain.glass) - 12
        assert (
            np.mean(cells[classes == 0] > darkest_glass - 20) > 0.75
        )  # pen, and cells that are half tissue
        assert np.mean(cells[(classes > 0) & (classes != fat)] < darkest_glass) > 0.95


def test_a_centres_stain_changes_the_colour_and_not_the_truth(bank):
    shares = np.full(len(PHENOTYPES), 1 / len(PHENOTYPES))
    drawn = [
        draw_slide([5], shares, bank, stain=stain, side_um=300)
        for stain in (BALANCED, BLUISH, REDDISH)
    ]
    for other in drawn[1:]:
        assert np.array_equal(drawn[0][1], other[1])
        assert np.abs(drawn[0][0].mean((0, 1)) - other[0].mean((0, 1))).max() > 3


def test_areas_of_the_regions_follow_the_shares(bank):
    shares = np.array([0.5, 0.3, 0.2, 0, 0, 0, 0])
    classes = draw_slide([6], shares, bank, stain=BALANCED, side_um=800)[1]
    areas = np.bincount(classes.ravel(), minlength=8)[1:] / np.count_nonzero(classes)
    assert areas == pytest.approx(shares, abs=0.06)


@pytest.mark.parametrize("phenotype", PHENOTYPES)
def test_a_field_of_a_phenotype_has_the_side_that_was_asked_for(phenotype):
    field = draw_field(np.random.default_rng(1), phenotype, side_um=100, mpp=1.0)
    assert field.shape == (100, 100, 3)
    assert field.std() > 5


def test_an_unknown_phenotype_names_the_nearest():
    with pytest.raises(PathomlError, match="Did you mean 'spindle'"):
        draw_field(np.random.default_rng(1), "spindel")


def test_progress_counts_every_slide(study):
    _, cohort, steps = study
    assert steps == [(done, cohort.slides) for done in range(1, cohort.slides + 1)]


def test_tables_join_and_truth_is_kept_apart(study):
    folder, cohort, _ = study
    patients, slides = rows(folder / "patients.csv"), rows(folder / "slides.csv")
    assert len(patients) == cohort.patients == 6
    assert sum(int(p["pfs_event"]) for p in patients) == cohort.events
    assert {s["patient_id"] for s in slides} == {p["patient_id"] for p in patients}
    assert not {"log_risk", *(f"share_{p}" for p in PHENOTYPES)} & {*patients[0], *slides[0]}
    truth = rows(folder / "truth" / "truth.csv")
    assert [t["patient_id"] for t in truth] == [p["patient_id"] for p in patients]
    names = json.loads((folder / "truth" / "classes.json").read_text(encoding="utf-8"))
    assert names == {
        **{str(k): p for k, p in enumerate(PHENOTYPES, start=1)},
        "driver": "pleomorphic",
    }
    assert (
        b"\r" not in (folder / "patients.csv").read_bytes() + (folder / "slides.csv").read_bytes()
    )


def test_study_yaml_holds_the_demos_settings_and_the_changes_asked_for(study):
    assert yaml.safe_load((study[0] / "study.yaml").read_text(encoding="utf-8")) == SETTINGS
    changed = yaml.safe_load(study_yaml({"splits": {"repeats": 1}, "run": "quick"}))
    assert changed == {**SETTINGS, "splits": {**SETTINGS["splits"], "repeats": 1}, "run": "quick"}


def test_a_folder_that_holds_a_study_is_left_alone(study):
    before = (study[0] / "patients.csv").read_bytes()
    with pytest.raises(PathomlError, match="already holds"):
        write_cohort(study[0], patients=6, seed=4)
    assert (study[0] / "patients.csv").read_bytes() == before


def test_oracle_log_risk_orders_the_times():
    cs = [oracle_c(draw_patients(60, seed=seed)) for seed in range(1, 21)]
    assert 0.78 < np.mean(cs) < 0.85
    assert min(cs) > 0.7


def test_oracle_c_of_a_hand_worked_cohort():
    first = draw_patients(6, seed=1)[0]
    told = [(2.0, 1.0, True), (1.0, 2.0, True), (1.5, 3.0, False)]  # log-risk, months, event
    cohort = tuple(replace(first, log_risk=r, time_months=t, event=e) for r, t, e in told)
    assert oracle_c(cohort) == pytest.approx(
        2 / 3
    )  # pairs: 1 before 2 right, 1 before 3 right, 2 before 3 wrong


def test_about_three_in_five_patients_progress():
    shares = [np.mean([p.event for p in draw_patients(60, seed=seed)]) for seed in range(1, 41)]
    assert 0.58 < np.mean(shares) < 0.67


def test_image_effect_is_the_log_hazard_ratio_of_one_sd_of_the_driver():
    cohort = draw_patients(80, seed=2, effect=1.2, driver="necrosis")
    share = np.array([p.shares[PHENOTYPES.index("necrosis")] for p in cohort])
    image = np.array([p.image_log_risk for p in cohort])
    assert image.std() == pytest.approx(1.2)
    assert np.corrcoef(share, image)[0, 1] == pytest.approx(1.0)


def test_driver_none_has_no_image_effect_and_the_same_patients():
    null, driven = draw_patients(30, seed=2, driver="none"), draw_patients(30, seed=2)
    assert all(p.image_log_risk == 0 for p in null)
    assert [(p.age, p.centre, p.shares.tolist()) for p in null] == [
        (p.age, p.centre, p.shares.tolist()) for p in driven
    ]


def test_too_few_patients_and_unknown_drivers_are_refused_with_the_next_step():
    with pytest.raises(PathomlError, match="Ask for 6"):
        draw_patients(5, seed=1)
    with pytest.raises(PathomlError, match="Did you mean 'pleomorphic'"):
        draw_patients(6, seed=1, driver="pleomorph")
