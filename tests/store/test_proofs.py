"""A foreign writer that lost bytes is found out before its file is published."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyreadstat
import pytest
from tensorboardX import SummaryWriter

from pathoml.errors import StoreError
from pathoml.store import proofs
from pathoml.store.files import proved_path
from pathoml.store.foreign import ForeignFile, is_whole_hdf5, write_foreign
from pathoml.store.hdf5 import refuse_torn

FRAME = pd.DataFrame(
    {"patient_id": ["P1", "Łódź", "=x"], "risk": [0.1, float("nan"), -3], "event": [0, 1, 2]}
)
NOISE = np.random.default_rng(1).integers(0, 255, (2, 64, 64)).astype(np.uint8)


def log_of(path: Path) -> None:
    with SummaryWriter(str(path.parent / "scratch")) as writer:
        for epoch in range(3):
            writer.add_scalar("loss/m", 0.5, epoch)
    [written] = (path.parent / "scratch").glob("events.*")
    path.write_bytes(written.read_bytes())


WRITERS = {  # what another library writes, and how it is read back
    "dta": (
        lambda p: pyreadstat.write_dta(FRAME, str(p)),
        partial(proofs.refuse_other_table, frame=FRAME, read=pyreadstat.read_dta),
    ),
    "sav": (
        lambda p: pyreadstat.write_sav(FRAME, str(p)),
        partial(proofs.refuse_other_table, frame=FRAME, read=pyreadstat.read_sav),
    ),
    "h5": (
        lambda p: write_foreign(p, ForeignFile(arrays={"a": NOISE}, root={}, attrs={})),
        partial(refuse_torn, arrays={"a": NOISE}),
    ),
    "h5ad": (
        lambda p: write_foreign(p, ForeignFile(arrays={"a": NOISE}, root={}, attrs={})),
        is_whole_hdf5,
    ),
    "log": (log_of, partial(proofs.refuse_other_log, records=3)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_whole_file_is_let_through_and_one_that_lost_its_end_is_not(tmp_path, kind):
    write, proof = WRITERS[kind]
    path = tmp_path / f"a.{kind}"
    with proved_path(path, proof) as temporary:
        write(temporary)
    whole = path.read_bytes()
    for lost in (1, 8, len(whole) // 2, len(whole)):
        with (
            pytest.raises(StoreError, match=r"whole"),
            proved_path(path, proof) as temporary,
        ):
            temporary.write_bytes(whole[: len(whole) - lost])
        assert path.read_bytes() == whole, "what was there before stays"
    assert [p.name for p in tmp_path.iterdir() if p.name != "scratch"] == [path.name]


def test_another_number_in_a_statistics_file_is_found_out(tmp_path):
    other = FRAME.assign(risk=[0.1, float("nan"), -4])
    for end, write in ((".dta", pyreadstat.write_dta), (".sav", pyreadstat.write_sav)):
        write(other, str(tmp_path / f"a{end}"))
        read = getattr(pyreadstat, f"read_{end[1:]}")
        with pytest.raises(StoreError, match="column 'risk' is not what was written"):
            proofs.refuse_other_table(tmp_path / f"a{end}", frame=FRAME, read=read)


def test_an_array_that_is_missing_is_found_out(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=NOISE[:1])
    with pytest.raises(ValueError, match="'a' is not whole"):
        refuse_torn(tmp_path / "a.h5", {"a": NOISE})
