"""A name, a birth date and an accession number hidden wherever slides and tables can hide them come
out nowhere.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.viewing import asking

from pathoml.cli import guarded, main
from pathoml.config import load_study
from pathoml.synthetic.cohort import write_cohort

NAME, BORN, NUMBER = "Kanarienvogel", "1951-07-23", "H21-774411"
CANARIES = (NAME, BORN, NUMBER, "kanarienvogel", "23.07.1951")
SETTINGS = {
    "splits": {"folds": 2, "repeats": 2},
    "train": {"epochs": 2, "seeds": 1, "projection": 8, "hidden": 8, "nested": False},
    "significance": {"permutations": 1, "bootstraps": 200},
    "cohort": {"covariates": []},
    "compute": {"workers": 1, "device": "cpu"},
}


def pathoml(*arguments: str) -> int:
    return guarded(lambda: main(list(arguments)))


def hide_in_tiff(path: Path, target: Path) -> None:
    """Write the slide again with the patient in its tags, and with a label and a macro picture that
    hold it in theirs.
    """
    with tifffile.TiffFile(path) as source:
        levels = [page.asarray() for page in source.pages]
        tags = source.pages[0].tags
        mpp_tag = tags["XResolution"].value if "XResolution" in tags else None
        described = tags["ImageDescription"].value if "ImageDescription" in tags else ""
    is_aperio = described.startswith("Aperio")
    with tifffile.TiffWriter(target) as file:
        for number, level in enumerate(levels):
            text = (
                described + f"|User = {NAME}|Date = {BORN}|Barcode = {NUMBER}|Title = {NAME}"
                if is_aperio
                else f"{NAME} {NUMBER}"
            )
            file.write(
                level, tile=(256, 256), photometric="rgb", compression="jpeg",
                subfiletype=int(number > 0), metadata=None, description=text, software=NAME,
                datetime="1951:07:23 00:00:00" if number == 0 else None,
                resolution=(mpp_tag[0] / mpp_tag[1] / 2**number,) * 2 if mpp_tag else None,
                resolutionunit=3 if mpp_tag else None,
                extratags=[(315, 2, 0, NAME, True), (316, 2, 0, NUMBER, True),
                           (269, 2, 0, f"{NAME}.svs", True)],
            )  # fmt: skip
        for kind in ("label", "macro"):
            picture = np.frombuffer(
                (f"{NAME} {BORN} {NUMBER} " * 400)[: 64 * 64 * 3].encode(), np.uint8
            ).reshape(64, 64, 3)
            text = f"Aperio Image Library\r\n{kind} 64x64|{NAME}" if is_aperio else f"{kind} {NAME}"
            file.write(
                picture,
                photometric="rgb",
                compression=None,
                description=text,
                subfiletype=9 if kind == "macro" else 1,
                metadata=None,
            )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("canary") / "study"
    write_cohort(
        folder, patients=12, seed=4, workers=1, side_um=420.0, textures=1, settings=SETTINGS
    )
    archive = folder / "slides" / f"{NAME}_{BORN}"
    archive.mkdir()
    lines = (folder / "slides.csv").read_text(encoding="utf-8").splitlines()
    place = lines[0].split(",").index("path")
    rows = [lines[0] + ",patient_name,accession"]
    for line in lines[1:]:
        cells = line.split(",")
        old = folder / cells[place]
        new = archive / f"{NAME} {NUMBER} {old.name}"
        hide_in_tiff(old, new)
        old.unlink()
        cells[place] = str(new.relative_to(folder))
        rows.append(",".join([*cells, NAME, NUMBER]))
    broken = rows[-1].split(",")
    broken[0], broken[place] = "broken", f"slides/{NAME}_{BORN}/{NAME}-{NUMBER}.svs"
    (folder / broken[place]).write_bytes(b"II*\0" + NAME.encode())
    missing = [*broken]
    missing[0], missing[place] = "missing", f"slides/{NAME}_{BORN}/{NAME}-gone.svs"
    rows += [",".join(broken), ",".join(missing)]
    (folder / "slides.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    people = (folder / "patients.csv").read_text(encoding="utf-8").splitlines()
    people = [
        people[0] + ",name,birth_date,case",
        *(f"{line},{NAME},{BORN},{NUMBER}" for line in people[1:]),
    ]
    (folder / "patients.csv").write_text("\n".join(people) + "\n", encoding="utf-8")
    return folder


def unpacked(path: Path) -> bytes:
    """Return what a file holds, compressed parts of zips and PNGs as well."""
    raw = path.read_bytes()
    found = [raw]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    at = 0
    while (at := raw.find(b"IDAT", at)) >= 0:
        length = int.from_bytes(raw[at - 4 : at], "big")
        with contextlib.suppress(zlib.error):
            found.append(zlib.decompressobj().decompress(raw[at + 4 : at + 4 + length], 10**7))
        at += 4
    return b"\n".join(found)


def leaks(content: bytes) -> list[str]:
    spelled = [c.encode(code) for c in CANARIES for code in ("utf-8", "utf-16-le")]
    return [repr(c) for c in spelled if c in content]


@pytest.mark.ci
def test_nothing_of_a_patient_comes_out_of_any_step_export_page_or_log(
    study: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert leaks((study / "slides.csv").read_bytes()), "the canaries are there"
    for arguments in (
        ["check"], ["tile"], ["embed"], ["train"], ["evaluate"], ["explain"], ["discover"],
        ["report"], ["status"], ["lock"], ["pack"],
    ):  # fmt: skip
        code = pathoml(*arguments, str(study))
        assert code in (0, 1), arguments
    for tool in ("qupath", "ome_tiff", "figures", "trident", "clam", "stamp", "pt", "h5ad"):
        assert pathoml("export", str(study), "--to", tool, "--out", str(tmp_path / tool)) == 0, tool
    assert pathoml("view", str(study), "--static", str(tmp_path / "static")) == 1, (
        "two slides have no picture"
    )
    said = capfd.readouterr()
    assert [line for line in said.out.splitlines() if leaks(line.encode())] == []
    assert [line for line in said.err.splitlines() if leaks(line.encode())] == []
    written = [
        p
        for p in study.rglob("*")
        if p.is_file()
        and p.relative_to(study).parts[0] not in ("slides", "slides.csv", "patients.csv")
    ]
    written += [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(written) > 60
    assert [
        (str(p), found)
        for p in written
        if (found := leaks(unpacked(p)) + leaks(str(p.relative_to(p.anchor)).encode()))
    ] == []


@pytest.mark.ci
def test_no_answer_of_the_viewer_names_the_patient(study: Path) -> None:
    slides = [
        line.split(",")[0]
        for line in (study / "slides.csv").read_text(encoding="utf-8").splitlines()[1:]
    ]
    with asking(load_study(study)) as client:
        answers = [
            client.get(address)
            for address in ("/", "/api/study", "/api/gallery", "/api/readings.csv", "/nothing")
        ]
        for slide in slides:
            answers.append(client.get(f"/api/slides/{slide}"))
            if answers[-1].status_code == 200:
                version = answers[-1].json()["version"]
                answers += [
                    client.get(f"/api/slides/{slide}/layers"),
                    client.get(f"/thumbnails/{slide}/{version}.jpg"),
                    client.get(f"/mini-maps/{slide}/{version}.jpg"),
                    client.get(f"/tiles/{slide}/{version}/8/0_0.jpg"),
                ]
    assert sum(answer.status_code == 200 for answer in answers) > 20
    assert [
        (str(a.url), found)
        for a in answers
        if (found := leaks(a.content) + leaks(str(a.headers).encode()))
    ] == []


@pytest.mark.ci
def test_specimen_numbers_of_a_dicom_slide_stay_in_it(
    shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = next((shared_data / "wsi").glob("openslide_boxes_0*"))
    archive = tmp_path / "study" / "slides" / "D"
    archive.mkdir(parents=True)
    for part in [source] if source.is_file() else sorted(source.iterdir()):
        shutil.copy(part, archive)
    import openslide

    first = sorted(archive.iterdir())[0]
    with openslide.OpenSlide(first) as handle:
        secret = {
            v
            for k, v in handle.properties.items()
            if "pecimenIdentifier" in k or (k.endswith(("StudyID", "AccessionNumber")) and v)
        }
    secret = {value for value in secret if len(value) > 5}
    assert secret
    folder = tmp_path / "study"
    (folder / "study.yaml").write_text(
        "endpoint: {name: x, time_zero: x, time: t, event: e}\ntiles: {tile_px: 64, mpp: "
        "0.5}\nsplits: {folds: 2}\n"
    )
    (folder / "slides.csv").write_text(
        f"slide_id,patient_id,path,mpp\nD1,P1,slides/D/{first.name},0.25\n"
    )
    (folder / "patients.csv").write_text("patient_id,centre,t,e\nP1,north,3,1\nP2,north,4,0\n")
    pathoml("check", str(folder), "--set", "cohort.without_slides=keep")
    pathoml("tile", str(folder), "--set", "cohort.without_slides=keep")
    said = capfd.readouterr()
    written = [
        p
        for p in folder.rglob("*")
        if p.is_file() and "slides" not in p.relative_to(folder).parts[0]
    ]
    assert any(p.name in ("failures.csv", "index.html") for p in written), said.out
    everything = b"".join(unpacked(p) for p in written) + (said.out + said.err).encode()
    assert [value for value in secret if value.encode() in everything] == []
