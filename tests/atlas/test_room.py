"""What cannot fit is refused before the search, in one sentence."""

from pathlib import Path

import pytest

from tests.conftest import Compose
from zf_lightning.atlas import room
from zf_lightning.deconv.receptive_field import ReceptiveField
from zf_lightning.errors import UserError
from zf_lightning.system.memory import available_memory
from zf_lightning.tasks import atlas, train

FIELD = {
    "conv5": ReceptiveField(
        size=(10, 10), jump=(1, 1), offset=(0, 0), map_size=(1, 1), input_size=(10, 10)
    )
}
MAPS = {"conv5": range(4)}


def check(top: int, folder: Path, **others: int) -> None:
    room.check_room(
        "probe.top", top, {"conv5": 8}, FIELD, drawn=MAPS, on_disk=MAPS, folder=folder, **others
    )


def test_needs_grow_with_top_maps_and_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 9 × (8 maps × 256 + 4 maps × 100 pixels × 25).
    need = 9 * (8 * 256 + 4 * 100 * 25)
    monkeypatch.setattr(room, "available_memory", lambda: need)
    check(9, tmp_path)
    for more in ({"kept_bytes": 1}, {"tables": 2}):
        with pytest.raises(UserError, match=r"probe\.top=9 with 4 feature maps"):
            check(9, tmp_path, **more)
    # A system that does not say.
    monkeypatch.setattr(room, "available_memory", lambda: None)
    check(9, tmp_path / "not" / "yet")
    with pytest.raises(UserError, match=r"1,200\.0 GB on the disk .* GB are free: lower it"):
        check(10**9, tmp_path)


def test_memory_of_this_machine() -> None:
    free = available_memory()
    assert free is None or free > 2**20


def test_a_probe_that_cannot_fit(
    compose_config: Compose, tiny: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 10**9)
    with pytest.raises(UserError, match=r"probe\.top=100000 .* GB of memory, where 1\.0 GB are"):
        train.run(compose_config(*tiny, "probe.top=100000", "probe.maps=all"))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_atlas_that_cannot_fit(
    compose_config: Compose, trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 10**9)
    asked = ["task=atlas", f"ckpt={trained_run}", "atlas.maps=1", "atlas.top=100000"]
    with pytest.raises(UserError, match=r"atlas\.top=100000 with 5 feature maps"):
        atlas.run(compose_config(*asked))
