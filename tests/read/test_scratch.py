"""What is temporary is deleted, whatever interrupts its making and its deletion."""

from __future__ import annotations

import gc
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from tokenpak.telemetry.read.replacing import replacing
from tokenpak.telemetry.read.scratch import Scratch


class Interrupted(BaseException):
    """What a signal raises, between any two steps."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files belong."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_s5_it_is_its_users_alone_and_gone_at_the_end(place: Path) -> None:
    """With all that is in it; twice is no error."""
    with Scratch("tokenpak-x-") as scratch:
        folder = Path(scratch.name)
        assert folder.parent == place
        assert folder.name.startswith("tokenpak-x-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "file").touch()

    scratch.delete()

    assert list(place.iterdir()) == []


def test_s5_interrupted_when_it_was_just_made_it_is_not_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has it then, who could delete it."""
    real = os.mkdir

    def mkdir(*arguments: Any) -> None:
        real(*arguments)
        raise Interrupted

    monkeypatch.setattr(os, "mkdir", mkdir)
    try:
        Scratch("x-")
    except Interrupted:
        pass
    gc.collect()

    assert list(place.iterdir()) == []


def test_s5_interrupted_while_it_is_deleted_it_is_deleted_later(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody has it any more, as at the end of the process."""
    scratch = Scratch("x-")
    (Path(scratch.name) / "file").touch()

    def rmtree(*_arguments: Any, **_options: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(Interrupted):
            scratch.delete()
    del scratch
    gc.collect()

    assert list(place.iterdir()) == []


def test_what_lies_there_already_is_not_deleted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is somebody else's, however unlikely."""
    monkeypatch.setattr(os, "urandom", bytes)
    other = place / f"x-{'00' * 8}"
    other.mkdir()

    with pytest.raises(FileExistsError):
        Scratch("x-")
    gc.collect()

    assert other.is_dir()


@pytest.mark.parametrize("name", ["open", "replace"])
def test_s5_a_file_that_replaces_another_is_whole_or_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Interrupted when it was just made, or had just taken the other's place."""
    target = tmp_path / "out"
    target.write_bytes(b"old")
    real = getattr(os, name)

    def interrupted(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(os, name, interrupted)
        with pytest.raises(Interrupted), replacing(target) as out:
            out.write(b"new")

    assert target.read_bytes() == (b"new" if name == "replace" else b"old")
    assert os.listdir(tmp_path) == ["out"]
