"""Features of other tools come in as level-0 pixels and micrometres, built here as those tools
write them, or are refused by name.
"""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from support.foreign_features import (
    FEATURES,
    XY,
    YAML,
    clam_files,
    pt_files,
    stamp_file,
    trident_file,
    write_h5,
)

from pathoml.bags.reading import read_bags
from pathoml.config import Study, load_study
from pathoml.embedding.jobs import embed_jobs
from pathoml.embedding.magnifications import join_jobs, join_slides
from pathoml.errors import CohortError, ConfigError
from pathoml.interop import clam, pt, stamp, trident
from pathoml.plugins import load_plugin, plugin_names
from pathoml.store.embeddings import read_embeddings
from pathoml.store.tiles import read_tiles
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder
from pathoml.tiling.jobs import tile_jobs
from pathoml.types import Exchange


@pytest.fixture
def study(tmp_path) -> Study:
    """Two patients whose slides are elsewhere; slides.csv says their scale."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.yaml").write_text(YAML)
    (folder / "slides.csv").write_text("slide_id,patient_id,path,mpp\nA1,A,,0.25\nB1,B,,0.2525\n")
    (folder / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event\nA,north,12,1\nB,south,3,0\n"
    )
    return load_study(folder)


WRITERS = {"trident": trident_file, "clam": clam_files, "stamp": stamp_file, "pt": pt_files}
MODULES = {"trident": trident, "clam": clam, "stamp": stamp, "pt": pt}


def imported(study: Study, exchange: Exchange, slide_id: str = "A1"):
    assert exchange.failures == {}
    return read_embeddings(embeddings_folder(study) / f"{slide_id}.h5")


@pytest.mark.parametrize("name", plugin_names("pathoml.interop"))
def test_every_format_imports_or_exports(name):
    module = __import__(f"pathoml.interop.{name}", fromlist=["x"])
    assert hasattr(module, "import_into") or hasattr(module, "export_to")


@pytest.mark.parametrize("tool", WRITERS)
def test_tiles_and_features_come_in_at_level_0_with_their_side_in_micrometres(
    study, tmp_path, tool
):
    WRITERS[tool](tmp_path / "theirs")
    slide = imported(study, MODULES[tool].import_into(study, tmp_path / "theirs"))
    assert slide.grid.xy_l0.tolist() == XY.tolist()
    assert (slide.features == FEATURES.astype(np.float16)).all()
    assert (
        slide.grid.tile_l0,
        slide.grid.tile_px,
        slide.grid.mpp,
        slide.grid.level0_mpp,
        slide.encoder,
    ) == (
        512,
        256,
        0.5,
        0.25,
        "uni",
    )
    grid, mask = read_tiles(study.folder / "tiles" / "256px_0.5mpp" / "A1.h5")
    assert grid.tile_um == 128.0
    assert mask.mask.sum() == 3


def test_the_axis_of_a_batch_of_one_slide_is_left_out(study, tmp_path):
    attrs = {"patch_size": 256, "patch_size_level0": 512}
    write_h5(
        tmp_path / "features_uni" / "A1.h5",
        {"features": FEATURES[None], "coords": XY[None]},
        {"coords": attrs},
    )
    slide = imported(study, trident.import_into(study, tmp_path))
    assert slide.features.shape == FEATURES.shape
    assert slide.grid.xy_l0.tolist() == XY.tolist()


def test_names_that_are_bytes_are_names(study, tmp_path):
    path = trident_file(tmp_path)
    with h5py.File(path, "a") as file:
        file["features"].attrs["encoder"] = np.bytes_(b"uni")
        file["coords"].attrs["name"] = np.array([b"A1"])
    assert imported(study, trident.import_into(study, tmp_path)).encoder == "uni"


def test_clams_tiles_that_were_shrunk_again_are_as_wide_as_they_were_cut(study, tmp_path):
    clam_files(tmp_path)
    with h5py.File(tmp_path / "patches" / "A1.h5", "a") as file:
        # 256 pixels of the encoder, from 512 of level 0: two of the slide's for one
        file["coords"].attrs.update({"downsample": (1.0, 1.0), "custom_downsample": 2})
        file["coords"].attrs["level_dim"] = (4000, 3000)
    assert imported(study, clam.import_into(study, tmp_path)).grid.tile_um == 128.0


def test_clams_features_without_places_lie_in_the_order_of_its_patches(study, tmp_path):
    clam_files(tmp_path).unlink()
    (tmp_path / "pt_files").mkdir()
    torch.save(torch.from_numpy(FEATURES), tmp_path / "pt_files" / "A1.pt")
    slide = imported(study, clam.import_into(study, tmp_path))
    assert slide.grid.xy_l0.tolist() == XY.tolist()
    assert (slide.features == FEATURES.astype(np.float16)).all()
    torch.save(torch.from_numpy(FEATURES[:2]), tmp_path / "pt_files" / "A1.pt")
    reason = clam.import_into(study, tmp_path).failures["A1"]
    assert "features of 2 tiles" in reason
    assert "h5_files/" in reason


def test_clams_features_of_tiles_that_were_cut_anew_are_refused(study, tmp_path):
    clam_files(tmp_path)
    with h5py.File(tmp_path / "patches" / "A1.h5", "a") as file:
        file["coords"][0] = (256, 0)
    assert "cut anew" in clam.import_into(study, tmp_path).failures["A1"]


def test_which_of_two_patches_a_file_of_clam_belongs_to_is_not_guessed(study, tmp_path):
    clam_files(tmp_path)
    for level in "12":
        (tmp_path / level / "patches").mkdir(parents=True)
        (tmp_path / "patches" / "A1.h5").rename(tmp_path / level / "patches" / "A1.h5")
        clam_files(tmp_path)
    (tmp_path / "patches" / "A1.h5").unlink()
    assert "1/patches/A1.h5 or" in clam.import_into(study, tmp_path).failures["A1"]


@pytest.mark.parametrize(
    ("places", "sentence"),
    [
        (XY + np.array([3600, 0]), "2 of 3 tiles lie outside the slide, up to x = 4112"),
        (XY + np.array([0, 2000]), "up to y = 3024"),
        (XY[[0, 1, 1]], "3 tiles lie at 2 places, (512, 0) is there 2 times"),
        (np.where(XY == 512, np.nan, XY), "lie on no slide"),
    ],
)
@pytest.mark.parametrize("tool", ["trident", "clam"])
def test_places_that_cannot_be_are_refused(study, tmp_path, places, sentence, tool):
    WRITERS[tool](tmp_path)  # both say that the slide has 4000 x 3000 pixels
    for path in tmp_path.rglob("A1.h5"):
        with h5py.File(path, "a") as file:
            attrs = dict(file["coords"].attrs)
            del file["coords"]
            file["coords"] = places
            file["coords"].attrs.update(attrs)
    exchange = MODULES[tool].import_into(study, tmp_path)
    assert sentence in exchange.failures["A1"]
    assert exchange.files == ()


def test_features_of_a_slide_of_another_size_are_refused(study, tmp_path):
    Image.fromarray(np.full((300, 400, 3), 255, np.uint8)).save(study.folder / "A1.png")
    (study.folder / "slides.csv").write_text(
        "slide_id,patient_id,path,mpp\nA1,A,A1.png,0.25\nB1,B,,0.25\n"
    )
    trident_file(tmp_path / "theirs")
    reason = trident.import_into(study, tmp_path / "theirs").failures["A1"]
    assert "a slide of 4000 x 3000 pixels, slide A1 has 400 x 300" in reason


def test_stamps_older_attributes_are_read_as_stamp_reads_them(study, tmp_path):
    stamp_file(tmp_path / "theirs", generation="legacy")
    assert imported(study, stamp.import_into(study, tmp_path / "theirs")).grid.tile_l0 == 512


def test_stamps_oldest_files_have_224_for_256_micrometres(study, tmp_path):
    write_h5(
        tmp_path / "uni-0" / "A1.h5",
        {"feats": FEATURES, "coords": np.array([[0, 0], [224, 0], [224, 448]])},
    )
    exchange = stamp.import_into(study, tmp_path)
    slide = read_embeddings(next((study.folder / "embeddings").rglob("A1.h5")))
    assert (slide.grid.tile_l0, slide.grid.tile_px) == (1024, 224)  # 256 um at 0.25
    assert slide.grid.xy_l0.tolist() == [[0, 0], [1024, 0], [1024, 2048]]
    assert any("tiles: {tile_px: 224, mpp: 1.14}" in note for note in exchange.notes)


def test_a_magnification_is_no_scale(study, tmp_path):
    (study.folder / "slides.csv").write_text("slide_id,patient_id,path\nA1,A,\nB1,B,\n")
    trident_file(tmp_path / "theirs")
    assert (
        "micrometres per pixel are not stated; a magnification is not a scale"
        in trident.import_into(study, tmp_path).failures["A1"]
    )


def test_scanners_of_one_magnification_may_be_used_together_and_a_third_smaller_tiles_not(
    study, tmp_path
):
    trident_file(tmp_path / "theirs", "A1")
    trident_file(tmp_path / "theirs", "B1", FEATURES + 1)  # 0.2525 um: 1 % larger tiles
    assert trident.import_into(study, tmp_path / "theirs").failures == {}
    assert len(read_bags(read_cohort(study), embeddings_folder(study))[1]) == 2
    trident_file(tmp_path / "theirs", "B1", FEATURES + 1, patch_size_level0=335)
    reason = trident.import_into(study, tmp_path / "theirs").failures["B1"]
    assert "tiles of 335 level-0 pixels are 85 micrometres wide, the study's 128" in reason


def test_files_of_two_scales_in_one_folder_are_refused(study, tmp_path):
    trident_file(tmp_path / "one", "A1")
    trident_file(tmp_path / "two", "B1", FEATURES + 1, patch_size_level0=335)
    imported(study, trident.import_into(study, tmp_path / "one"))
    trident.import_into(study, tmp_path / "two")
    other = next((study.folder / "embeddings").rglob("B1.h5"))
    other.rename(embeddings_folder(study) / "B1.h5")
    with pytest.raises(CohortError, match="was embedded with mpp"):
        read_bags(read_cohort(study), embeddings_folder(study))


def test_an_encoder_without_a_file_of_ours_can_be_imported_and_trained_on(study, tmp_path):
    pt_files(tmp_path / "theirs")
    (tmp_path / "theirs" / "tiles.json").write_text(
        json.dumps({"encoder": "ours_v9", "tile_px": 256, "tile_um": 128.0})
    )
    exchange = pt.import_into(study, tmp_path / "theirs")
    assert any(
        "encoder: ours_v9, tiles: {tile_px: 256, mpp: 0.5}" in note for note in exchange.notes
    )
    told = load_study(study.folder, ["encoder=ours_v9"])
    cohort, bags, _ = read_bags(read_cohort(told), embeddings_folder(told))
    assert [b.features.shape for b in bags] == [(3, 1024)]
    assert cohort.excluded == (("B", "no slide could be embedded"),)


def test_imported_features_cannot_be_had_in_another_stain(study, tmp_path):
    pt_files(tmp_path / "theirs")
    (tmp_path / "theirs" / "tiles.json").write_text(
        json.dumps({"encoder": "ours_v9", "tile_px": 256, "tile_um": 128.0})
    )
    pt.import_into(study, tmp_path / "theirs")
    with pytest.raises(
        ConfigError, match=r"stain: the features in embeddings/ours_v9@256px_0\.5mpp were imported"
    ):
        embeddings_folder(load_study(study.folder, ["encoder=ours_v9", "stain.normalise=macenko"]))


def test_imported_features_of_two_magnifications_can_be_joined(study, tmp_path):
    for tile_um, xy in ((128.0, XY), (512.0, np.array([[0, 0]]))):
        pt_files(tmp_path / f"{tile_um}")
        torch.save(
            torch.from_numpy(FEATURES[: len(xy)] * tile_um), tmp_path / f"{tile_um}" / "A1.pt"
        )
        (tmp_path / f"{tile_um}" / "A1.csv").write_text(
            "x,y\n" + "".join(f"{x},{y}\n" for x, y in xy)
        )
        (tmp_path / f"{tile_um}" / "tiles.json").write_text(
            json.dumps({"encoder": "uni", "tile_px": 256, "tile_um": tile_um})
        )
        assert pt.import_into(study, tmp_path / f"{tile_um}").failures == {}
    both = load_study(study.folder, ["tiles.context_mpp=2.0"])
    joined, failures = join_slides(
        join_jobs(both, read_cohort(both)), embeddings_folder(both), on_slide=lambda _: None
    )
    assert (joined.tiles, joined.left_out, failures) == (3, 0, {})
    assert read_bags(read_cohort(both), embeddings_folder(both))[1][0].features.shape == (3, 2048)


def test_imported_slides_are_neither_tiled_nor_embedded_again(study, tmp_path):
    trident_file(tmp_path / "theirs")
    trident.import_into(study, tmp_path / "theirs")
    cohort = read_cohort(study)
    assert [job.slide.slide_id for job in tile_jobs(study, cohort)] == ["B1"]
    assert embed_jobs(study, cohort) == []


@pytest.mark.parametrize(
    ("tool", "spoil", "sentence"),
    [
        ("trident", lambda p: trident_file(p, features=FEATURES * np.nan), "NaN"),
        (
            "trident",
            lambda p: trident_file(p, features=np.ones((3, 1024), np.int32)),
            "features are int32",
        ),
        (
            "trident",
            lambda p: trident_file(p, features=np.ones((3, 8, 2), np.float32)),
            "expected (N, D)",
        ),
        ("trident", lambda p: trident_file(p).write_bytes(b"torn"), "torn or not HDF5"),
        ("trident", lambda p: trident_file(p, "Z9"), "no slide_id of slides.csv"),
        (
            "clam",
            lambda p: (clam_files(p), (p / "patches" / "A1.h5").unlink()),
            "the tiles have no size",
        ),
        (
            "stamp",
            lambda p: write_h5(p / "A1.h5", {"patch_embeddings": FEATURES}),
            "no coordinates",
        ),
        (
            "stamp",
            lambda p: write_h5(p / "A1.h5", {"feats": FEATURES, "coords": XY}),
            "does not say how many micrometres",
        ),
        (
            "stamp",
            lambda p: write_h5(p / "A1.h5", {"feats": FEATURES[0]}, feat_type="slide"),
            "features of a slide",
        ),
        ("pt", lambda p: (pt_files(p), (p / "A1.csv").unlink()), "A1.csv is missing"),
        (
            "pt",
            lambda p: pt_files(p).write_bytes(b"\x80\x02}q\x00."),
            "not a file of plain tensors",
        ),
    ],
)
def test_what_has_no_scale_or_no_sense_is_refused_by_name(study, tmp_path, tool, spoil, sentence):
    spoil(tmp_path / "theirs")
    exchange = MODULES[tool].import_into(study, tmp_path / "theirs")
    assert sentence in next(iter(exchange.failures.values()))
    assert exchange.files == ()


def test_plain_tensors_without_a_scale_are_refused(study, tmp_path):
    pt_files(tmp_path / "theirs")
    (tmp_path / "theirs" / "tiles.json").unlink()
    with pytest.raises(ConfigError, match="must say the scale"):
        pt.import_into(study, tmp_path / "theirs")


@pytest.mark.parametrize("trick", ["external link", "soft link", "virtual", "bomb"])
def test_files_that_read_elsewhere_or_declare_what_they_do_not_hold_are_refused(
    study, tmp_path, trick
):
    path, secret = (
        trident_file(tmp_path / "theirs"),
        write_h5(tmp_path / "secret.h5", {"features": FEATURES}),
    )
    with h5py.File(path, "r+") as file:
        attrs = dict(file["features"].attrs)
        del file["features"]
        if trick == "external link":
            file["features"] = h5py.ExternalLink(secret, "features")
        elif trick == "soft link":
            file["features"] = h5py.SoftLink("/coords")
        elif trick == "virtual":
            layout = h5py.VirtualLayout(shape=FEATURES.shape, dtype="f4")
            layout[:] = h5py.VirtualSource(secret, "features", shape=FEATURES.shape)
            file.create_virtual_dataset("features", layout).attrs.update(attrs)
        else:
            file.create_dataset(
                "features", shape=(3, 2**33), dtype="f4", chunks=(1, 2**20)
            ).attrs.update(attrs)
    reason = trident.import_into(study, tmp_path / "theirs").failures["A1"]
    assert any(
        word in reason
        for word in (
            "links to other files are refused",
            "lies in another file",
            "more than the file holds",
        )
    )


@pytest.mark.parametrize("tool", WRITERS)
def test_what_is_exported_comes_back_the_same(study, tmp_path, tool):
    trident_file(tmp_path / "theirs")
    before = imported(study, trident.import_into(study, tmp_path / "theirs"))
    MODULES[tool].export_to(study, tmp_path / "out")
    (embeddings_folder(study) / "A1.h5").unlink()
    assert MODULES[tool].import_into(study, tmp_path / "out").failures == {}
    after = read_embeddings(
        next((study.folder / "embeddings").rglob("A1.h5"))
    )  # CLAM knows no resizing: its tiles have 512 pixels
    assert (after.grid.xy_l0 == before.grid.xy_l0).all()
    assert (after.features == before.features).all()
    side_um = [slide.grid.tile_l0 * slide.grid.level0_mpp for slide in (after, before)]
    assert side_um[0] == side_um[1]


def test_exports_have_what_the_other_readers_ask_for(study, tmp_path):
    trident_file(tmp_path / "theirs")
    trident.import_into(study, tmp_path / "theirs")
    for module in MODULES.values():
        module.export_to(study, tmp_path / "out" / module.__name__)
    with h5py.File(next((tmp_path / "out").rglob("patches/A1_patches.h5"))) as file:  # TRIDENT
        attributes = {
            "patch_size": 256,
            "patch_size_level0": 512,
            "target_magnification": 20,
            "overlap": 0,
        }
        assert {k: file["coords"].attrs[k] for k in attributes} == attributes
    with h5py.File(next((tmp_path / "out").rglob("h5_files/A1.h5"))) as file:  # CLAM
        assert (file["features"].dtype, file["coords"].dtype) == (np.float32, np.int32)
    assert torch.load(
        next((tmp_path / "out").rglob("pt_files/A1.pt")), weights_only=True
    ).shape == (3, 1024)
    path = next(p for p in (tmp_path / "out").rglob("A1.h5") if "stamp" in str(p))
    with h5py.File(path) as file:
        assert (file.attrs["unit"], file.attrs["tile_size_um"], file.attrs["tile_size_px"]) == (
            "um",
            128.0,
            256,
        )
        assert file["coords"][1].tolist() == [128.0, 0.0]


def test_the_verb_knows_every_format():
    for tool in MODULES:
        assert load_plugin("pathoml.interop", tool, "import_into") is MODULES[tool]
        assert load_plugin("pathoml.interop", tool, "export_to") is MODULES[tool]
