"""Files with a checksum: what is damaged is found, what is sound or older is read."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file

from tests.system.damage import DAMAGES, flipped_bits
from zf_lightning.errors import DamagedFile
from zf_lightning.system.sealed import (
    check_archive,
    read_json,
    read_tensors,
    seal_archive,
    write_json,
    write_tensors,
)

CONTENT: dict[str, Any] = {"b": [1, 2.5, None], "a": {"1": "größer", "10": True, "2": -0.0}}
TENSORS = {
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "mask": torch.tensor([True, False]),
    "number": torch.tensor(3),
    "none": torch.empty(0, 4),
}


def archives(path: Path) -> None:
    torch.save({"weights": torch.arange(1000.0), "list": [1, "a"]}, path)


WRITERS = {
    "json": (lambda path: write_json(path, CONTENT), read_json),
    "tensors": (
        lambda path: write_tensors(path, "kind", TENSORS, CONTENT),
        lambda path: read_tensors(path, "kind"),
    ),
    "torch": (archives, check_archive),
    "sealed": (lambda path: (archives(path), seal_archive(path)), check_archive),
    "numpy": (lambda path: numpy.savez(path, a=numpy.arange(1000)), check_archive),
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {**CONTENT, "c": (1, 2), 3: 4})
    assert read_json(path) == {**CONTENT, "c": [1, 2], "3": 4}
    path = write_tensors(tmp_path / "a.safetensors", "kind", TENSORS, CONTENT)
    header, tensors = read_tensors(path, "kind")
    assert header == CONTENT and tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    again = write_tensors(tmp_path / "b.safetensors", "kind", TENSORS, CONTENT)
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", WRITERS)
def test_damage_is_found_and_the_file_named(kind: str, damage: str, tmp_path: Path) -> None:
    write, read = WRITERS[kind]
    path = tmp_path / "file.npz"
    write(path)
    read(path)
    DAMAGES[damage](path)
    with pytest.raises(DamagedFile, match=r"file\.npz is damaged") as found:
        read(path)
    assert len(str(found.value).splitlines()) == 1


def test_every_bit_of_a_json_file_counts(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"seed": 3}, indent=None)
    whole = path.read_bytes().strip()
    for damaged in flipped_bits(whole, stop=len(whole)):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile):
            read_json(path)


def test_every_bit_of_a_sealed_archive_counts_and_torch_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.arange(3)}, path)
    seal_archive(path)
    assert torch.load(path, mmap=True)["a"].tolist() == [0, 1, 2]
    whole = path.read_bytes()
    for damaged in flipped_bits(whole, stop=len(whole) - 14, step=97):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile):
            check_archive(path)


def test_files_without_a_checksum_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(CONTENT))
    assert read_json(tmp_path / "a.json") == CONTENT
    save_file(TENSORS, tmp_path / "a.safetensors")
    header, tensors = read_tensors(tmp_path / "a.safetensors", "kind")
    assert header == {} and torch.equal(tensors["half"], TENSORS["half"])
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "b.json")
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "b.safetensors", "kind")
    with pytest.raises(FileNotFoundError):
        check_archive(tmp_path / "b.ckpt")
