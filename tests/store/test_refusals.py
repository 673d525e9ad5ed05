"""What the machine refuses is told as such: the file may be whole, and nobody is to delete it."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator

import h5py
import numpy as np
import pytest

from pathoml.cli import guarded
from pathoml.errors import CohortError, StoreError
from pathoml.store.embeddings import read_embeddings, stored_rows
from pathoml.store.foreign import read_foreign
from pathoml.store.hdf5 import stored_attr
from pathoml.store.refusals import REFUSALS, refusal_number, refused_by_the_machine
from pathoml.store.tables import read_table
from pathoml.store.workbooks import read_workbook


@pytest.fixture
def no_more_files(embeddings_path) -> Iterator[None]:
    """Leave this process no descriptor for another file."""
    read_embeddings(embeddings_path)  # what is loaded once is loaded
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        yield
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("no_more_files")
@pytest.mark.parametrize("read", [read_embeddings, stored_rows, lambda p: stored_attr(p, "x")])
def test_too_many_open_files_are_no_torn_file(embeddings_path, read):
    with pytest.raises(StoreError, match="ulimit -n") as told:
        read(embeddings_path)
    assert embeddings_path.name in str(told.value)
    assert "Delete" not in str(told.value)
    assert "torn" not in str(told.value)


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error"),
        OSError("Unable to open file (open failed: errno = 13, error message = 'denied')"),
        OSError(errno.ESTALE, "Stale file handle"),
        MemoryError(),
        OSError("Can't read data (memory allocation failed for raw data chunk)"),
    ],
)
def test_no_right_no_memory_and_a_failing_disk_are_no_torn_file(
    embeddings_path, monkeypatch, error
):
    def refuse(*_: object, **__: object) -> None:
        raise error

    np.savez(embeddings_path.with_suffix(".xlsx"), a=1)
    monkeypatch.setattr(h5py, "File", refuse)
    monkeypatch.setattr("zipfile.ZipFile", refuse)
    monkeypatch.setattr("pathoml.store.foreign.refuse_deadly_hdf5", lambda _: None)
    for read in (read_embeddings, read_foreign, stored_rows):
        with pytest.raises(StoreError) as told:
            read(embeddings_path)
        assert embeddings_path.name in str(told.value)
        assert not {"Delete", "torn"} & set(str(told.value).split())
    with pytest.raises(CohortError) as told:
        read_workbook(embeddings_path.with_suffix(".xlsx"))
    assert "Save it again" not in str(told.value)


def test_an_interruption_while_a_file_is_opened_is_nothing_to_speak_of(
    embeddings_path, monkeypatch
):
    real, refused = h5py.File, []

    def interrupted(*arguments: object, **more: object) -> h5py.File:
        if len(refused) % 4 < 3:
            refused.append(1)
            raise InterruptedError(errno.EINTR, "Interrupted system call")
        refused.append(0)
        return real(*arguments, **more)

    monkeypatch.setattr(h5py, "File", interrupted)
    assert read_embeddings(embeddings_path).features.shape == (3, 4)
    assert len(refused) == 4


def test_a_damaged_file_is_still_called_torn(embeddings_path):
    embeddings_path.write_bytes(embeddings_path.read_bytes()[:-200])
    with pytest.raises(StoreError, match=r"torn.*Delete it and rerun"):
        read_embeddings(embeddings_path)


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_each_refusal_is_a_sentence_and_exit_code_2(number, capsys):
    def refuse() -> None:
        raise OSError(number, os.strerror(number), "scores.csv")

    assert guarded(refuse) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "the same command goes on" in said


def test_a_table_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a\n1\n")

    def refuse(*_: object, **__: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", "t.csv")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(PermissionError) as told:
        read_table(tmp_path / "t.csv")
    assert refusal_number(told.value) == errno.EACCES
    assert "ask its owner" in refused_by_the_machine(told.value)
