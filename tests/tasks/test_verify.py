"""task=verify: a sound atlas, and what has changed by its name."""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from tests.conftest import Compose, check_result
from tests.runs import own_network
from zf_lightning.atlas import Atlas
from zf_lightning.errors import UserError
from zf_lightning.tasks import atlas, verify


@pytest.fixture
def asked(image_folder: Path, tmp_path: Path, compose_config: Compose) -> list[str]:
    """Options of the network and the data, after an atlas of them was made."""
    given = [*own_network(image_folder, tmp_path, maps=3), "data.workers=0", "logger=none"]
    tiny = ["atlas.layers=[stem,last]", "atlas.top=3", "atlas.pictures=1"]
    atlas.run(compose_config("task=atlas", *given, *tiny))
    (tmp_path / "run").rename(tmp_path / "made")
    return ["task=verify", *given, f"verify.atlas={tmp_path / 'made'}", "verify.share=0.5"]


def test_a_sound_atlas_and_then_a_byte_a_picture_and_a_tile(
    compose_config: Compose, asked: list[str], tmp_path: Path, image_folder: Path
) -> None:
    result = verify.run(compose_config(*asked))
    check_result(tmp_path / "run", result)
    assert result["verdict"] == "as it says" and result["findings"] == []
    assert result["units_projected_again"] >= 8 and result["images_compared"] > 2
    assert "as it says" in (tmp_path / "run" / "report" / "index.html").read_text()
    # The same code and versions: they stand beside the digests.
    digests = tmp_path / "made" / "atlas" / "digests.json"
    assert result["made_with"] == [] and "safetensors" in digests.read_text()

    found = Atlas.load(next((tmp_path / "made" / "atlas" / "last").glob("*.safetensors")))
    index = int(found.layers["last"].indices[0, 0])
    picture = image_folder / found.names[index]
    before = picture.read_bytes()
    pixels = 255 - numpy.asarray(Image.open(picture).convert("RGB"))
    Image.fromarray(pixels).save(picture)
    named = [tuple(one[:2]) for one in verify.run(compose_config(*asked))["findings"]]
    assert ("image", found.names[index]) in named
    assert {name for what, name in named if what == "image"} == {found.names[index]}
    picture.write_bytes(before)

    weights = torch.load(tmp_path / "own.pt")
    first = weights["block.weight"].view(torch.uint8).flatten()
    first[0] ^= 1
    torch.save(weights, tmp_path / "own.pt")
    result = verify.run(compose_config(*asked))
    # One bit, which rounding hides in what is projected: the digest does not.
    assert [one[:2] for one in result["findings"]] == [["weights", "network.block.weight"]]
    assert result["verdict"] == "not as it says: 1 finding"


def test_an_atlas_whose_projections_were_changed(
    compose_config: Compose, asked: list[str], tmp_path: Path
) -> None:
    path = next((tmp_path / "made" / "atlas" / "last").glob("*.safetensors"))
    found = Atlas.load(path)
    found.layers["last"].levels.neg_()
    found.save(path)
    (tmp_path / "made" / "atlas" / "digests.json").unlink()
    findings = verify.run(compose_config(*asked, "verify.share=1"))["findings"]
    assert {what for what, *_ in findings} == {"digests", "projection"}
    assert any("last, map" in name for _, name, _ in findings)


@pytest.mark.parametrize(
    ("override", "words"),
    [("verify.atlas=null", "needs verify.atlas=FOLDER"), ("verify.atlas=/", "is not the folder")],
)
def test_mistakes(compose_config: Compose, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        verify.run(compose_config("task=verify", override))
