"""The viewer's server: pixels, layers, what-if and readings are right, and what should not be
answered is refused.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import threading
from importlib import resources

import numpy as np
import openslide
import pytest
import simplejpeg
from support.viewing import (
    FINE,
    SIDE,
    SLIDES,
    TILE,
    asking,
    listed_in_script,
    trained,
    trained_study,
    write_jpeg_pyramid,
    write_study,
)

from pathoml.config import load_study
from pathoml.errors import StoreError
from pathoml.explanation.contributions import explain_bag
from pathoml.store.maps import read_attention
from pathoml.store.readings import Reading, Readings
from pathoml.study.cohort import read_cohort
from pathoml.training.run import load_run
from pathoml.types import FLAGS, Bag
from pathoml.viewer.assets import PAGES, read_assets
from pathoml.viewer.catalogue import read_catalogue
from pathoml.viewer.pixels import ByteCache, DeepZoom, Pixels, SlidePool
from pathoml.viewer.reading_room import Item, seats
from pathoml.viewer.what_if import Models, Question

WRITE = {"x-pathoml": "1", "origin": "http://localhost", "sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return trained_study(tmp_path_factory.mktemp("viewer") / "study")


@pytest.fixture(scope="module")
def client(study):
    with asking(study) as client:
        yield client


def version(client, slide_id):
    return client.get(f"/api/slides/{slide_id}").json()["version"]


def decode(content):
    return simplejpeg.decode_jpeg(content).astype(int)


def test_a_tile_shows_the_pixels_that_openslide_reads(client, study):
    tile = client.get(f"/tiles/S2/{version(client, 'S2')}/11/1_2.jpg")
    with openslide.OpenSlide(str(study.folder / "slides" / "S2.tiff")) as slide:
        expected = np.asarray(slide.read_region((256, 512), 0, (256, 256)))[:, :, :3].astype(int)
    assert tile.headers["cache-control"].endswith("immutable")
    assert (
        np.abs(decode(tile.content) - expected).max() <= 4
    )  # passed through or encoded again, at most rounding


def test_a_slide_that_is_replaced_while_it_is_shown_never_answers_under_its_old_address(
    study, tmp_path
):
    kept = tmp_path / "kept.tiff"
    path = study.folder / "slides" / "S5.tiff"
    shutil.copy2(path, kept)
    with asking(study) as client:
        old = version(client, "S5")
        assert client.get(f"/tiles/S5/{old}/11/0_0.jpg").status_code == 200
        write_jpeg_pyramid(
            tmp_path / "other.tiff", np.full((SIDE, SIDE, 3), (30, 160, 60), np.uint8)
        )
        os.replace(tmp_path / "other.tiff", path)
        for address in (f"/tiles/S5/{old}/11/0_0.jpg", f"/thumbnails/S5/{old}.jpg"):
            refused = client.get(address)
            assert (refused.status_code, "changed" in refused.text) == (409, True)
        new = version(client, "S5")
        for address in (f"/tiles/S5/{new}/11/0_0.jpg", f"/thumbnails/S5/{new}.jpg"):
            assert (
                np.abs(decode(client.get(address).content)[:240, :240] - (30, 160, 60)).max() <= 4
            )  # not the padded edge
        assert client.get("/api/slides/S5").json()["has_map"]
        write_jpeg_pyramid(
            path, np.full((SIDE // 2, SIDE, 3), 200, np.uint8)
        )  # of another size: the map is not of this slide
        slide = client.get("/api/slides/S5").json()
        assert (slide["has_map"], slide["size_l0"]) == (False, [SIDE, SIDE // 2])
        assert "1536 x 768" in slide["problem"]
        assert client.get("/api/slides/S5/layers").status_code == 200
    shutil.move(kept, path)


def test_a_picture_that_the_browser_has_is_not_sent_again(client):
    first = client.get("/mini-maps/S2/v.jpg")
    again = client.get("/mini-maps/S2/v.jpg", headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_a_tile_of_a_scale_between_the_stored_ones_covers_the_right_place(tmp_path):
    picture = np.zeros((1024, 1024, 3), np.uint8)
    picture[:, 512:] = 200
    write_jpeg_pyramid(tmp_path / "s.tiff", picture, levels=2, step=4)
    pixels = Pixels({"s": tmp_path / "s.tiff"})
    shown = decode(
        pixels.tile("s", 9, 0, row=0)
    )  # level 9 of 10: half the size, no stored level has it
    assert np.abs(shown[:, :250] - 0).max() < 12
    assert decode(pixels.tile("s", 9, 1, row=0)).min() > 188


def test_a_slide_without_a_pyramid_is_shown_whole_from_an_overview(tmp_path):
    picture = np.kron(np.array([[0, 200], [200, 0]], np.uint8), np.ones((4500, 4500), np.uint8))
    write_jpeg_pyramid(tmp_path / "s.tiff", np.repeat(picture[..., None], 3, axis=2), levels=1)
    pixels = Pixels({"s": tmp_path / "s.tiff"})
    quarter = decode(pixels.tile("s", 8, 0, row=0))  # 9000 px, level 8 of 14: 141 px
    assert quarter.shape == (141, 141, 3)
    assert [quarter[30, 30, 0] < 12, quarter[30, 110, 0] > 188, quarter[110, 30, 0] > 188] == [
        True,
        True,
        True,
    ]


def test_deepzoom_covers_every_pixel_once():
    zoom = DeepZoom(size_l0=(1000, 700))
    for level in range(zoom.top + 1):
        width, height = zoom.size_px(level)
        sizes = [[zoom.tile_size(level, c, r) for c in range(5)] for r in range(5)]
        assert sum(s[0] for s in sizes[0] if s) == width
        assert sum(row[0][1] for row in sizes if row[0]) == height


def test_the_cache_never_holds_more_bytes_than_it_may():
    cache = ByteCache(100)
    for i in range(50):
        cache.put((i,), bytes(30))
        assert cache.bytes <= 100
    assert cache.get((49,)) == bytes(30)
    assert cache.get((0,)) is None


def test_few_slides_stay_open_however_many_are_looked_at(study):
    pool = SlidePool({s: study.folder / "slides" / f"{s}.tiff" for s in SLIDES}, most=2)
    for slide_id in SLIDES * 2:
        with pool.borrow(slide_id) as reader:
            assert reader.size_l0[0] == SIDE * (2 if slide_id == FINE else 1)
    assert len(pool._open) == 2


def unpack(content):
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    kinds = {"float32": "<f4", "int32": "<i4", "uint8": "|u1", "int16": "<i2"}
    arrays = {}
    for name, entry in header["arrays"].items():
        count = int(np.prod(entry["shape"]))
        arrays[name] = np.frombuffer(
            content, kinds[entry["dtype"]], count, 4 + length + entry["offset"]
        ).reshape(entry["shape"])
    return header, arrays


def test_the_browser_gets_the_map_that_explain_wrote(client, study):
    header, arrays = unpack(client.get("/api/slides/S0/layers").content)
    written = read_attention(study.run_folder / "attention" / "S0.h5")
    assert np.array_equal(arrays["contribution"], written.contribution)
    assert np.array_equal(arrays["xy"], written.xy_l0)
    assert header["tile_um"] == TILE * 0.5
    assert arrays["flags"].sum() == SIDE // TILE  # the row of pen


def test_patients_come_from_highest_to_lowest_risk_with_their_percentile(client, study):
    patients = client.get("/api/study").json()["patients"]
    with (study.run_folder / "scores.csv").open(encoding="utf-8") as file:
        scores = {row["patient_id"]: float(row["log_risk"]) for row in csv.DictReader(file)}
    assert [p["patient_id"] for p in patients] == sorted(scores, key=lambda p: -scores[p])
    assert [round(p["percentile"]) for p in patients] == [100, 83, 67, 50, 33, 17]


def expected_without(study, tiles):
    """The risk of P0 without some tiles of S0, as `explain` would give it for a bag that never had
    them.
    """
    run = load_run(study)
    position = run.cohort.patient_ids.index("P0")
    bag = run.bags[position]
    keep = ~(
        (bag.slide_index == bag.slide_ids.index("S0"))
        & np.isin(np.arange(len(bag.features)) % (SIDE // TILE) ** 2, tiles)
    )
    part = Bag(
        patient_id="P0",
        features=bag.features[keep],
        slide_index=bag.slide_index[keep],
        slide_ids=bag.slide_ids,
        xy_l0=bag.xy_l0[keep],
    )
    return explain_bag(run.stack, run.folds, part, position=position).log_risk


@pytest.mark.parametrize("tiles", [[3, 4, 5], list(range(144)), [77]])
def test_the_risk_without_a_region_is_that_of_the_remaining_tiles(client, study, tiles):
    answer = client.post("/api/what-if", json={"slide": "S0", "tiles": tiles}, headers=WRITE).json()
    assert answer["tiles_removed"] == len(tiles)
    assert answer["without"] == pytest.approx(expected_without(study, tiles), abs=1e-5)


def test_without_nothing_the_risk_is_as_it_was_and_no_question_is_on_record(client, study):
    asked = sum(
        row["action"] == "what_if"
        for row in Readings(study.folder / "readings" / "readings.sqlite").audit_rows()
    )
    answer = client.post("/api/what-if", json={"slide": "S1", "tiles": []}, headers=WRITE).json()
    assert (answer["tiles_removed"], answer["without"]) == (0, answer["log_risk"])
    assert (
        sum(
            row["action"] == "what_if"
            for row in Readings(study.folder / "readings" / "readings.sqlite").audit_rows()
        )
        == asked
    )


@pytest.mark.parametrize("head", ["max_pool", "dsmil"])
def test_a_head_that_does_not_renormalise_reads_what_is_left_again(tmp_path, head):
    study = trained(
        load_study(
            write_study(tmp_path / "study", ["S0", "S1", "S2", "S3", "S4"]).folder,
            (f"train.head={head}",),
        )
    )
    run = load_run(study)
    patient = next(p for p in run.cohort.patients if p.patient_id == "P0")
    maps = read_attention(study.run_folder / "attention" / "S0.h5")
    strongest = np.argsort(-maps.attention)[:30].tolist()
    score = read_catalogue(study).scores["P0"]
    question = Question(
        patient=patient,
        removed={"S0": strongest},
        log_risk=score["log_risk"],
        model_sha256=score["model_sha256"],
    )
    assert Models(study).answer(question).without == pytest.approx(
        expected_without(study, strongest), abs=1e-5
    )


@pytest.mark.parametrize(
    ("tiles", "status"),
    [
        ([10_000], 422),
        ([-1], 422),
        (["1"], 422),
        ([True], 422),
        (list(range(144)), 200),
        ("all", 422),
    ],
)
def test_a_region_that_does_not_exist_is_refused(client, tiles, status):
    assert (
        client.post("/api/what-if", json={"slide": "S0", "tiles": tiles}, headers=WRITE).status_code
        == status
    )


def test_nothing_can_be_left_of_a_patient_with_one_slide(client):
    answer = client.post(
        "/api/what-if", json={"slide": "S5", "tiles": list(range(144))}, headers=WRITE
    )
    assert (answer.status_code, "smaller region" in answer.text) == (422, True)


# Reading


def room(client, rater):
    return client.post("/api/reading-room", json={"rater": rater}, headers=WRITE).json()["items"]


def rate(client, key, rater, presence=3, **more):
    return client.post(
        "/api/readings",
        json={"slide": key, "rater": rater, "presence": presence, **more},
        headers=WRITE,
    )


def test_each_rater_has_an_order_of_their_own_that_stays_and_a_tenth_comes_twice():
    items = [Item(item=f"S{i}", slide_id=f"S{i}") for i in range(40)]
    first, again, other = (seats(items, rater, b"k") for rater in ("A", "A", "B"))
    assert first == again
    assert [s.item for s in first] != [s.item for s in other]
    assert sum(s.repeat for s in first) == 4
    assert not {s.code for s in first} & {s.code for s in other}
    for seat in first:
        if seat.repeat:
            places = [i for i, s in enumerate(first) if s.item == seat.item]
            assert places[1] >= 20
            assert places[1] > places[0]


def test_a_blinded_slide_tells_nothing_but_pixels_until_a_first_read_is_saved(client):
    code = room(client, "blind")[0]["code"]
    slide = client.get(f"/api/slides/{code}")
    assert set(slide.json()) == {
        "slide_id",
        "version",
        "size_l0",
        "mpp",
        "has_map",
        "warnings",
        "phenotype",
        "bag_tiles",
    }
    assert not any(
        word in slide.text for word in ("south", "north", "P0", "S0", ".tiff", "log_risk")
    )
    hidden = [f"/api/slides/{code}/layers", f"/crops/{code}/v/0.jpg", f"/mini-maps/{code}/v.jpg"]
    assert [client.get(address).status_code for address in hidden] == [403, 403, 403]
    version = slide.json()["version"]
    assert client.get(f"/tiles/{code}/{version}/9/0_0.jpg").status_code == 200
    everywhere = {
        s["version"] for p in client.get("/api/study").json()["patients"] for s in p["slides"]
    }
    assert version not in everywhere, "the version of the pixels would tell which slide it is"
    assert rate(client, code, "blind").status_code == 201
    assert client.get(f"/api/slides/{code}/layers").status_code == 200


def test_a_repeat_is_blinded_again_under_another_code(client, study):
    readings = Readings(study.folder / "readings" / "readings.sqlite")
    mine = seats([Item(item=s, slide_id=s) for s in SLIDES], "twice", readings.blinding_key)
    room(client, "twice")
    repeat = next(s for s in mine if s.repeat)
    first = next(s for s in mine if s.item == repeat.item and not s.repeat)
    rate(client, first.code, "twice")
    assert client.get(f"/api/slides/{first.code}/layers").status_code == 200
    assert client.get(f"/api/slides/{repeat.code}/layers").status_code == 403


def test_another_rater_cannot_read_in_my_place(client):
    code = room(client, "mine")[0]["code"]
    assert rate(client, code, "yours").status_code == 403


def test_a_viewer_for_blinded_reading_serves_nothing_that_unblinds(study):
    with asking(study, blinded_only=True) as client:
        code = room(client, "strict")[0]["code"]
        open_ones = [
            "/api/study",
            "/api/gallery",
            "/api/slides/S0",
            "/api/slides/S0/layers",
            "/thumbnails/S0/v.jpg",
            "/tiles/S0/v/9/0_0.jpg",
        ]
        assert {client.get(address).status_code for address in open_ones} <= {403, 404}
        assert client.get(f"/api/slides/{code}").status_code == 200


def test_two_raters_at_once_lose_nothing(tmp_path):
    path = tmp_path / "readings.sqlite"
    Readings(path)

    def read(rater):
        mine = Readings(path)  # a viewer of their own
        for i in range(25):
            mine.save(
                Reading(
                    rater=rater,
                    item=f"S{i}",
                    slide_id=f"S{i}",
                    name="necrosis",
                    presence=1 + i % 5,
                    blinded=True,
                ),
                "hash",
            )

    threads = [threading.Thread(target=read, args=(rater,)) for rater in ("A", "B", "C", "D")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = Readings(path).rows()
    assert {(r["rater"], r["item"]) for r in rows} == {
        (rater, f"S{i}") for rater in "ABCD" for i in range(25)
    }
    assert len(Readings(path).audit_rows()) == 100


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET action = 'x'",
        "DELETE FROM audit",
        "DELETE FROM readings",
        "UPDATE readings SET presence = 5",
    ],
)
def test_the_log_and_the_readings_can_only_grow(tmp_path, statement):
    readings = Readings(tmp_path / "readings.sqlite")
    readings.save(Reading(rater="A", item="S", slide_id="S", name="n", presence=2), "hash")
    with (
        sqlite3.connect(tmp_path / "readings.sqlite") as connection,
        pytest.raises(sqlite3.IntegrityError, match=r"append-only|never lost"),
    ):
        connection.execute(statement)
    connection.close()


def test_the_audit_log_says_what_was_opened_with_which_models(client, study):
    client.get("/api/slides/S3")
    last = Readings(study.folder / "readings" / "readings.sqlite").audit_rows()[-1]
    assert (last["action"], last["slide_id"], len(last["model_sha256"])) == ("open", "S3", 64)


def test_the_csv_has_one_row_a_blinded_rating_and_no_cell_that_a_spreadsheet_runs(client):
    code = room(client, "csv")[0]["code"]
    rate(client, code, "csv", 4, name="=HYPERLINK(1)", note='+1, "quoted"\nnew line')
    rate(client, "S1", "csv", 5, name="not blinded")
    text = client.get("/api/readings.csv").text
    rows = [r for r in csv.DictReader(io.StringIO(text)) if r["rater"] == "csv"]
    assert text.splitlines()[0] == "rater,phenotype,item,name,presence,repeat,note,read_at"
    assert [(r["name"], r["presence"], r["note"]) for r in rows] == [
        ("'=HYPERLINK(1)", "4", '\'+1, "quoted"\nnew line')
    ]
    assert rows[0]["item"] in SLIDES


def test_no_page_speaks_to_another_site_and_the_vendored_library_is_the_published_one(client):
    assets = read_assets()
    ours = "".join(a.content.decode() for n, a in assets.items() if "vendor" not in n)
    assert "http://" not in ours.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in ours
    assert "openseadragon.min.js" in client.get("/slide").text


def test_a_study_before_its_run_shows_slides_and_says_what_is_missing(tmp_path):
    study = write_study(tmp_path / "study")
    with asking(study) as client:
        answer = client.get("/api/study").json()
        assert "pathoml run" in answer["problems"][0]
        assert client.get("/api/slides/S0").json()["warnings"] == ["no_map"]
        assert "tissue_flags" in unpack(client.get("/api/slides/S0/layers").content)[1]
        assert (
            client.post(
                "/api/what-if", json={"slide": "S0", "tiles": [1]}, headers=WRITE
            ).status_code
            == 409
        )


def test_models_that_did_not_make_the_score_are_not_asked(study):
    patient = read_cohort(study).patients[0]
    question = Question(patient=patient, removed={"S0": [1]}, log_risk=0.0, model_sha256="0" * 64)
    with pytest.raises(StoreError, match="not those that scored P0"):
        Models(study).answer(question)


def test_the_page_names_the_flags_of_the_tiles_in_their_order_and_in_both_languages() -> None:
    web = resources.files("pathoml.viewer") / "web"
    assert tuple(listed_in_script("controls.js", "FLAGS")) == FLAGS
    strings = (web / "strings.js").read_text(encoding="utf-8")
    assert {name: len(re.findall(rf"\bflag_{name}: ", strings)) for name in FLAGS} == dict.fromkeys(
        FLAGS, 2
    )
    assert len(listed_in_script("colours.js", "FLAG_COLOURS")) == len(FLAGS)


def test_each_page_preloads_exactly_the_modules_that_it_comes_to_import() -> None:
    web = resources.files("pathoml.viewer") / "web"

    def imported(name: str, seen: set[str]) -> set[str]:
        for module in (
            set(re.findall(r'from "\./(\w+\.js)"', (web / name).read_text(encoding="utf-8"))) - seen
        ):
            seen.add(module)
            imported(module, seen)
        return seen

    assets = read_assets()
    for page in PAGES.values():
        text = assets[page].content.decode()
        [start] = re.findall(r'<script type="module" src="/static/(\w+\.js)">', text)
        assert re.findall(r'<link rel="modulepreload" href="/static/(\w+\.js)">', text) == sorted(
            imported(start, set())
        )
