"""Files are written whole or not at all."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import ROOT
from zf_lightning.errors import UserError
from zf_lightning.system.files import below, remove_unfinished, share, write_whole
from zf_lightning.system.processes import claimed


@pytest.mark.parametrize(
    "contents",
    ["größer\n", "größer\n".encode(), lambda path: path.write_bytes("größer\n".encode())],
)
def test_text_bytes_and_a_function_are_written(
    tmp_path: Path, contents: str | bytes | Callable[[Path], Any]
) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    assert write_whole(path, contents) == path
    assert path.read_bytes() == "größer\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def fail(target: Path) -> None:
        target.write_text("half of the n")
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left.*result\.json"):
        write_whole(tmp_path / "result.json", full)
    assert not list(tmp_path.iterdir())


def test_other_users_may_read_what_a_library_makes_private(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        path = write_whole(
            tmp_path / "file.safetensors", lambda file: save_file({"a": torch.ones(2)}, file)
        )
        text = write_whole(tmp_path / "file.txt", "text")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == text.stat().st_mode & 0o777 == 0o644
    assert load_file(path)["a"].sum() == 2


def test_several_processes_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    program = (
        "import sys; from zf_lightning.system.files import write_whole\n"
        "for _ in range(100): write_whole(sys.argv[1], sys.argv[2] * 100_000)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), letter], cwd=ROOT)
        for letter in "ab"
    ]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            text = path.read_text()
            assert len(text) == 100_000 and len(set(text)) == 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed_when_the_folder_is_claimed(tmp_path: Path) -> None:
    kept = [".unfinished/1.json", ".a.unfinished", "a.0123abcd.unfinished", "b/.lock"]
    # In a folder that another run may have claimed.
    kept.append("b/.best.ckpt.0123abcd.unfinished")
    left = [".last.ckpt.0123abcd.unfinished", "checkpoints/.best.ckpt.99aabbcc.unfinished"]
    for name in kept + left:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with claimed(tmp_path):
        assert all((tmp_path / name).exists() for name in kept)
        assert not any((tmp_path / name).exists() for name in left)


def test_a_killed_writer_leaves_what_is_removed(tmp_path: Path) -> None:
    def killed(target: Path) -> None:
        raise SystemExit

    unlink, Path.unlink = Path.unlink, lambda *_, **__: None  # type: ignore[method-assign]
    try:
        with pytest.raises(SystemExit):
            write_whole(tmp_path / "last.ckpt", killed)
    finally:
        Path.unlink = unlink  # type: ignore[method-assign]
    assert len(list(tmp_path.iterdir())) == 1
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "..", "a\0b"])
def test_a_name_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"list\.csv names .* outside of"):
        below(tmp_path, name, listed_in="list.csv")
    assert below(tmp_path, "a/../b..c/d", listed_in="list.csv") == tmp_path / "a/../b..c/d"


def test_a_copy_becomes_another_name_of_the_file(tmp_path: Path) -> None:
    file, copy, other = (tmp_path / name for name in ("file", "copy", "other"))
    for path, text in ((file, "same"), (copy, "same"), (other, "else")):
        path.write_text(text)
    for path in (copy, copy, other):
        share(file, path)
    assert copy.samefile(file) and not other.samefile(file) and other.read_text() == "else"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "file", "other"]
