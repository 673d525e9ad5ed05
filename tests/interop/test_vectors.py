"""Vectors of slides and patients of other tools: bags of one, and a sentence where a map would
stand.
"""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
import torch
from support.foreign_features import FEATURES, trident_file, write_h5

from pathoml.bags.reading import read_bags
from pathoml.config import Study, load_study
from pathoml.errors import CohortError, ConfigError, EncoderError
from pathoml.interop import stamp, trident, vectors
from pathoml.store.embeddings import read_embeddings
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder, tiles_folder
from pathoml.study.no_map import no_map

YAML = "endpoint: {name: pfs, time_zero: surgery, time: pfs_months, event: pfs_event}\n"
ONE = np.arange(1.0, 9.0)  # (8,)


@pytest.fixture
def study(tmp_path) -> Study:
    """Three patients, the first with two slides; nothing says a scale."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.yaml").write_text(YAML)
    (folder / "slides.csv").write_text("slide_id,patient_id,path\nA1,A,\nA2,A,\nB1,B,\nC1,C,\n")
    (folder / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event,age\nA,n,12,1,50\nB,s,3,0,60\nC,s,5,1,70\n"
    )
    return load_study(folder)


def with_encoder(study: Study, encoder: str) -> Study:
    return load_study(study.folder, [f"encoder={encoder}"])


def bags_of(study: Study, encoder: str):
    told = with_encoder(study, encoder)
    return read_bags(read_cohort(told), embeddings_folder(told))


def slide_features(folder, slide_id: str, values, *, encoder: str = "titan"):
    """Write what TRIDENT's extract_slide_features writes: the vector, and the places of the
    slide's tiles.
    """
    path = folder / "20x_512px_0px_overlap" / f"slide_features_{encoder}" / f"{slide_id}.h5"
    write_h5(path, {"features": np.float32(values), "coords": np.zeros((30, 2), np.int64)})
    with h5py.File(path, "r+") as file:
        file["features"].attrs.update(name=slide_id, savetodir="x")
        file["coords"].attrs.update(patch_size=512, patch_size_level0=1024)
    return path


@pytest.mark.parametrize("shape", [(8,), (1, 8)])
def test_trident_vectors_are_bags_of_one_though_their_file_has_the_places_of_tiles(
    study, tmp_path, shape
):
    slide_features(tmp_path / "job", "A1", ONE.reshape(shape))
    slide_features(tmp_path / "job", "A2", 2 * ONE)
    slide_features(tmp_path / "job", "B1", 3 * ONE)
    done = trident.import_into(study, tmp_path / "job")
    assert done.failures == {}
    assert any("write into study.yaml: encoder: titan@slide" in note for note in done.notes)
    assert any("1 slides of slides.csv have no vector" in note for note in done.notes)
    cohort, bags, first = bags_of(study, "titan@slide")
    assert [b.features.shape for b in bags] == [(2, 8), (1, 8)]
    assert np.asarray(bags[0].features).tolist() == [ONE.tolist(), (2 * ONE).tolist()]
    assert (first.encoder, first.vector_of) == ("titan", "slide")
    assert cohort.excluded == (("C", "no vector of the slide was imported"),)


def test_a_job_with_tiles_and_vectors_gives_an_encoding_of_each(study, tmp_path):
    (study.folder / "slides.csv").write_text("slide_id,patient_id,path,mpp\nA1,A,,0.25\nB1,B,,\n")
    trident_file(tmp_path / "job")
    for slide_id, times in (("A1", 1), ("B1", 2)):
        slide_features(tmp_path / "job", slide_id, times * ONE)
        slide_features(tmp_path / "job", slide_id, times * ONE[:4], encoder="mean-uni")
    done = trident.import_into(study, tmp_path / "job")
    assert done.failures == {}
    assert sorted(p.name for p in study.all_embeddings.iterdir()) == [
        "mean-uni@slide",
        "titan@slide",
        "uni@256px_0.5mpp",
    ]
    assert any("train: {vectors: titan@slide}" in note for note in done.notes)


@pytest.mark.parametrize(("of", "name", "sizes"), [("slide", "A1", [1]), ("patient", "A", [1])])
def test_stamps_vectors_of_a_slide_and_of_a_patient_come_in(study, tmp_path, of, name, sizes):
    folder = tmp_path / f"titan-{'slide' if of == 'slide' else 'pat'}-12ab34cd"
    write_h5(folder / f"{name}.h5", {"feats": ONE[None]}, feat_type=of, encoder="titan")
    assert stamp.import_into(study, tmp_path).failures == {}
    _, bags, first = bags_of(study, f"titan@{of}")
    assert [len(b.features) for b in bags] == sizes
    assert first.vector_of == of
    # a patient's vector is a case of all the patient's slides
    assert bags[0].slide_ids == (("A1",) if of == "slide" else ("A1", "A2"))
    assert np.asarray(bags[0].features)[0].tolist() == ONE.tolist()


def test_stamps_older_file_of_all_patients_is_told_from_one_of_slides_by_its_names(study, tmp_path):
    arrays = {"A": ONE, "B": 2 * ONE, "C": 3 * ONE}
    write_h5(tmp_path / "cobra-slide-0a1b2c3d.h5", arrays, encoder="cobra", version="2.0")
    done = stamp.import_into(study, tmp_path / "cobra-slide-0a1b2c3d.h5")
    assert done.failures == {}
    assert [b.features[0, 0] for b in bags_of(study, "cobra@patient")[1]] == [1, 2, 3]


def csv(tmp_path, text: str, name: str = "hif.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_table_gives_its_numbers_whatever_the_order_of_columns_and_what_stands_beside(
    study, tmp_path
):
    vectors.import_into(
        study, csv(tmp_path, ",slide_id,b,a,note,age\n0,A1,2,1,x,50\n1,B1,4,3,y,6\n")
    )
    first = read_embeddings(study.all_embeddings / "hif@slide" / "A1.h5")
    done = vectors.import_into(study, csv(tmp_path, "a,slide_id,b\n1,A1,2\n3,B1,4\n"))
    again = read_embeddings(study.all_embeddings / "hif@slide" / "A1.h5")
    assert first.features.tolist() == again.features.tolist() == [[1, 2]]  # a, b
    assert first.content_sha256 == again.content_sha256
    assert done.failures == {}


def test_columns_of_the_patients_table_and_text_are_left_out_and_said(study, tmp_path):
    done = vectors.import_into(study, csv(tmp_path, "slide_id,a,age,note\nA1,1,50,x\nB1,2,60,y\n"))
    assert any("Left out of hif.csv" in note and "age, note" in note for note in done.notes)


def test_the_outcome_is_no_number_of_a_vector(study, tmp_path):
    with pytest.raises(ConfigError, match="'pfs_months', which is of the endpoint"):
        vectors.import_into(study, csv(tmp_path, "slide_id,a,pfs_months\nA1,1,12\n"))
    done = vectors.import_into(study, csv(tmp_path, "slide_id,area,os_time\nA1,1,12\nB1,2,13\n"))
    assert any("WARNING" in note and "os_time" in note for note in done.notes)


def test_numbers_beyond_float16_are_kept_and_scales_apart_are_said(study, tmp_path):
    done = vectors.import_into(
        study, csv(tmp_path, "slide_id,area,share\nA1,10073001.5,0.1\nB1,70000,0.3\n")
    )
    assert bags_of(study, "hif@slide")[1][0].features[0, 0] == np.float32(10073001.5)
    assert any("SDs differ" in note for note in done.notes)


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("slide_id,a,b\nA1,1,2\nA1,3,4\nB1,5,6\n", "A1", "has 2 vectors (hif.csv line 2, hif.csv"),
        ("slide_id,a,b\nA1,1,\nB1,5,6\n", "A1", "number 'b' is missing or not finite"),
        ("slide_id,a,b\nA1,1,two\nB1,5,6\n", "A1", "hif.csv line 2: number 'b'"),
        ("slide_id,a,b\nA1,1,2\nZ9,5,6\n", "Z9", "no slide_id of slides.csv"),
        ("slide_id,a,b\nA1,1,2\nB,5,6\n", "B", "B is a patient of slides.csv"),
        ("slide_id,a,b\nA1,1,2\n,5,6\n", "hif.csv line 3", "has no slide_id"),
        ("slide_id,a,b\nA1,1,2\nB1,0,0\n", "B1", "all numbers are 0"),
        ("patient_id,a,b\nA,1,2\nA,3,4\nB,1,1\n", "A", "several slides of a patient are one bag"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_reason_and_the_others_come_in(
    study, tmp_path, text, name, sentence
):
    done = vectors.import_into(study, csv(tmp_path, text))
    assert list(done.failures) == [name]
    assert sentence in done.failures[name]
    assert len(done.files) == 1


def test_a_table_without_ids_or_numbers_is_refused(study, tmp_path):
    with pytest.raises(ConfigError, match="no column slide_id or patient_id; it has slide, a"):
        vectors.import_into(study, csv(tmp_path, "slide,a\nA1,1\n"))
    with pytest.raises(ConfigError, match="no column of numbers"):
        vectors.import_into(study, csv(tmp_path, "slide_id,note\nA1,x\n"))


def arrays(tmp_path, kind: str):
    ids, values = np.array(["B1", "A1"]), np.stack([2 * ONE, ONE])
    if kind == "npz":
        np.savez(tmp_path / "hif.npz", slide_id=ids, features=values)
    elif kind == "h5":
        write_h5(tmp_path / "hif.h5", {"slide_id": ids.astype("S"), "features": values})
    else:
        np.savez(tmp_path / "hif.npz", A1=ONE, B1=2 * ONE)
    return next(tmp_path.glob("hif.*"))


@pytest.mark.parametrize("kind", ["npz", "h5", "one array each"])
def test_arrays_with_their_ids_are_read(study, tmp_path, kind):
    assert vectors.import_into(study, arrays(tmp_path, kind)).failures == {}
    bags = bags_of(study, "hif@slide")[1]
    assert [np.asarray(b.features).tolist() for b in bags] == [[ONE.tolist()], [(2 * ONE).tolist()]]


def test_a_folder_of_files_of_several_kinds_is_read_and_named_after_itself(study, tmp_path):
    folder = tmp_path / "ours"
    write_h5(folder / "A1.h5", {"features": np.float64(ONE)})
    np.save(folder / "A2.npy", 2 * ONE)
    np.savez(folder / "B1.npz", features=3 * ONE)
    torch.save(torch.from_numpy(4 * ONE), folder / "C1.pt")
    assert vectors.import_into(study, folder).failures == {}
    bags = bags_of(study, "ours@slide")[1]
    assert [np.asarray(b.features)[:, 0].tolist() for b in bags] == [[1, 2], [3], [4]]


def test_nothing_is_unpickled(study, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    folder = tmp_path / "traps"
    folder.mkdir()
    (tmp_path / "titan.pkl").write_bytes(pickle.dumps(Trap()))
    (folder / "A1.pt").write_bytes(pickle.dumps(Trap()))
    (folder / "B1.pkl").write_bytes(pickle.dumps(Trap()))
    np.save(folder / "C1.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match="is a pickle"):
        vectors.import_into(study, tmp_path / "titan.pkl")
    assert set(vectors.import_into(study, folder).failures) == {"A1", "B1.pkl", "C1"}
    assert not (tmp_path / "sprung").exists()


def test_vectors_of_two_lengths_are_refused_at_once_and_later(study, tmp_path):
    slide_features(tmp_path / "job", "A1", ONE)
    slide_features(tmp_path / "job", "B1", ONE[:4])
    with pytest.raises(ConfigError, match="differ in length"):
        trident.import_into(study, tmp_path / "job")
    vectors.import_into(study, csv(tmp_path, "slide_id,a,b\nA1,1,2\n"))
    with pytest.raises(ConfigError, match="holds vectors of 2 numbers"):
        vectors.import_into(study, csv(tmp_path, "slide_id,a,b,c\nB1,1,2,3\n"))
    with pytest.raises(ConfigError, match="these have 2 others"):
        vectors.import_into(study, csv(tmp_path, "slide_id,a,c\nB1,1,2\n"))
    assert vectors.import_into(study, csv(tmp_path, "slide_id,b,a\nB1,1,2\n")).failures == {}


def test_vectors_among_tiles_are_refused_by_the_reader(study, tmp_path):
    (study.folder / "slides.csv").write_text(
        "slide_id,patient_id,path,mpp\nA1,A,,0.25\nB1,B,,0.25\n"
    )
    trident_file(tmp_path / "job")
    slide_features(tmp_path / "job", "B1", ONE, encoder="uni")
    trident.import_into(study, tmp_path / "job")
    tiles = study.all_embeddings / "uni@256px_0.5mpp"
    (study.all_embeddings / "uni@slide" / "B1.h5").rename(tiles / "B1.h5")
    with pytest.raises(CohortError, match="with features of each slide, slide A1 with tile"):
        read_bags(read_cohort(study), tiles)


def test_patients_without_a_table_of_slides_get_one(study, tmp_path):
    (study.folder / "slides.csv").unlink()
    done = vectors.import_into(study, csv(tmp_path, "patient_id,a,b\nA,1,2\nB,3,4\n"))
    assert any("slides.csv was not there and was written" in note for note in done.notes)
    assert len(bags_of(study, "hif@patient")[1]) == 2


def test_the_encoder_may_be_named_without_its_end_where_nothing_else_is_called_so(study, tmp_path):
    vectors.import_into(study, csv(tmp_path, "slide_id,a,b\nA1,1,2\n"))
    assert embeddings_folder(with_encoder(study, "hif")).name == "hif@slide"
    vectors.import_into(study, csv(tmp_path, "patient_id,a,b\nA,1,2\n"))
    with pytest.raises(EncoderError, match="hif@slide or hif@patient"):
        embeddings_folder(with_encoder(study, "hif"))
    with pytest.raises(EncoderError, match=r"is not there.*pathoml import"):
        embeddings_folder(with_encoder(study, "titan@slide"))


def test_equal_vectors_of_few_numbers_may_be_of_two_patients(study, tmp_path):
    vectors.import_into(study, csv(tmp_path, "slide_id,a,b\nA1,1,2\nB1,1,2\n"))
    assert len(bags_of(study, "hif@slide")[1]) == 2
    same = ",".join(f"f{i}" for i in range(20))
    row = ",".join("1" for _ in range(20))
    vectors.import_into(study, csv(tmp_path, f"slide_id,{same}\nA1,{row}\nB1,{row}\n", "long.csv"))
    with pytest.raises(CohortError, match="are the same file"):
        bags_of(study, "long@slide")


def test_there_is_no_map_of_vectors_nor_of_slides_with_a_single_tile(study, tmp_path):
    vectors.import_into(study, csv(tmp_path, "patient_id,a,b\nA,1,2\n"))
    told = with_encoder(study, "hif@patient")
    cohort = read_cohort(told)
    assert no_map(told, cohort) == "The study has one vector a patient: there is no map."
    assert not tiles_folder(told).exists()
    (study.folder / "slides.csv").write_text("slide_id,patient_id,path,mpp\nA1,A,,0.25\n")
    trident_file(tmp_path / "job")
    trident.import_into(study, tmp_path / "job")
    assert no_map(with_encoder(study, "uni"), read_cohort(study)) == ""
    trident_file(tmp_path / "job", features=FEATURES[:1])
    trident.import_into(study, tmp_path / "job")
    told = load_study(study.folder, ["encoder=uni", "tiles.tile_px=256", "tiles.mpp=0.5"])
    assert "one vector a slide: there is no map" in no_map(told, read_cohort(told))


@pytest.mark.parametrize("of", ["slide", "patient"])
def test_exported_vectors_come_back_the_same(study, tmp_path, of):
    names = ("A1", "B1") if of == "slide" else ("A", "B")
    numbers = [",".join(str(k * v) for v in range(1, 13)) for k in (1, 2)]  # 12: f2 is before f12
    rows = "".join(f"{name},{cells}\n" for name, cells in zip(names, numbers))
    header = ",".join(f"f{i:02}" for i in range(1, 13))
    vectors.import_into(study, csv(tmp_path, f"{of}_id,{header}\n{rows}"))
    told = with_encoder(study, f"hif@{of}")
    vectors.export_to(told, tmp_path / "out")
    before = [np.asarray(b.features).tolist() for b in bags_of(study, f"hif@{of}")[1]]
    done = vectors.import_into(told, tmp_path / "out" / "hif.csv")
    assert done.failures == {}
    assert [np.asarray(b.features).tolist() for b in bags_of(study, f"hif@{of}")[1]] == before
