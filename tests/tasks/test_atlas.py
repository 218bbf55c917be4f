"""task=atlas: right, resumable, and the same from a stream as from files that are read again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import Compose
from tests.system.damage import DAMAGES
from zf_lightning.atlas import Atlas, TopActivations
from zf_lightning.data import UnlabelledImages
from zf_lightning.errors import UserError
from zf_lightning.inspection import tile_files
from zf_lightning.inspection.search import AtlasSearch
from zf_lightning.inspection.subject import classifier_to_inspect
from zf_lightning.models import torchvision_network
from zf_lightning.tasks import atlas as task

LAYERS = ["features.0", "features.3.squeeze", "features.3.expand3x3"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(torchvision_network("squeezenet1_1", num_classes=5).state_dict(), path)
    return path


@pytest.fixture
def asked(image_folder: Path, weights: Path) -> list[str]:
    return [
        "task=atlas",
        "model=torchvision",
        "model.name=squeezenet1_1",
        f"model.weights={weights}",
        "model.input_size=63",
        "data=images",
        f"data.root={image_folder}",
        "data.batch_size=16",
        "data.workers=0",
        f"atlas.layers=[{','.join(LAYERS)}]",
        "atlas.maps=[0,3,5,11]",
        "atlas.top=4",
        "logger=csv",
    ]


def contents(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.suffix in (".safetensors", ".json")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_has_the_strongest_images_of_every_feature_map(
    compose_config: Compose, asked: list[str], tmp_path: Path, image_folder: Path
) -> None:
    config = compose_config(*asked)
    result = task.run(config)
    assert result["images"] == 60 and list(result["layers"]) == LAYERS
    assert all(layer["mismatches"] == 0 for layer in result["layers"].values())
    classifier = classifier_to_inspect(config)
    files = UnlabelledImages(image_folder).split("val")
    images = torch.stack([files[index][0] for index in range(60)])
    module = dict(classifier.network.named_modules())
    outputs: dict[str, Any] = {}
    for layer in LAYERS:
        module[layer].register_forward_hook(
            lambda _, inputs, output, layer=layer: outputs.__setitem__(layer, output.relu())
        )
    with torch.no_grad():
        classifier.network(classifier.preprocessing(images))
    run = tmp_path / "run"
    for layer in LAYERS:
        (path,) = (run / "atlas" / layer).glob("*.safetensors")
        found = Atlas.load(path).layers[layer]
        expected = outputs[layer].amax((2, 3)).T.sort(descending=True).values[:, :4]
        torch.testing.assert_close(found.activations, expected, rtol=1e-4, atol=1e-5)
        assert found.drawn.tolist() == [0, 3, 5, 11]
        assert (run / "figures" / f"{layer}.png").exists()
    assert "features.3.squeeze" in (run / "report" / "maps.js").read_text()
    assert 'src="maps.js"' in (run / "report" / "index.html").read_text()


def test_resumes_where_it_was_stopped(
    compose_config: Compose,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Files of two feature maps each.
    monkeypatch.setattr(tile_files, "BLOCK_BYTES", 1)
    run = tmp_path / "run"
    task.run(compose_config(*asked))
    expected = contents(run / "atlas")
    # The search, the digests, and two for each file.
    assert len(expected) == 2 + 2 * 3 * 4
    run.rename(tmp_path / "uninterrupted")

    updates = 0
    update = TopActivations.update

    def stopping(self: TopActivations, *arguments: Any) -> None:
        nonlocal updates
        updates += 1
        if updates == 3:
            raise KeyboardInterrupt
        update(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(TopActivations, "update", stopping)
        task.run(compose_config(*asked, "atlas.save_every=0"))
    counted: list[int] = []
    save = AtlasSearch.save
    monkeypatch.setattr(
        AtlasSearch, "save", lambda self: (counted.append(self.batches), save(self))
    )
    result = task.run(compose_config(*asked))
    # The first two of four batches were not seen again.
    assert counted == [4] and result["images"] == 60
    assert contents(run / "atlas") == expected
    # Projections that are not there are made; a search that is done is not repeated.
    for layer in LAYERS[1:]:
        for file in sorted((run / "atlas" / layer).glob("*.json"))[1:]:
            file.unlink()
    monkeypatch.setattr(TopActivations, "update", stopping)
    updates = 2
    task.run(compose_config(*asked))
    assert contents(run / "atlas") == expected
    # What is damaged is projected again, too.
    first, second, *_ = sorted((run / "atlas").glob("*/*.safetensors"))
    DAMAGES["bit at 50%"](first)
    DAMAGES["truncated"](second.with_suffix(".json"))
    task.run(compose_config(*asked))
    assert contents(run / "atlas") == expected
    # And a damaged search begins anew.
    DAMAGES["bit at 80%"](run / "atlas" / "search.safetensors")
    updates = 3
    task.run(compose_config(*asked))
    assert contents(run / "atlas") == expected


def test_a_stream_gives_the_same_as_files_that_are_read_again(
    compose_config: Compose,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    task.run(compose_config(*asked))
    expected = contents(run / "atlas")
    run.rename(tmp_path / "read again")
    monkeypatch.setattr(task, "load_top_images", None)
    task.run(compose_config(*asked, "atlas.keep_images=true"))
    found = contents(run / "atlas")
    # The search itself holds the images.
    assert found.pop("search.safetensors") != expected.pop("search.safetensors")
    assert found == expected


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("atlas.layers=[conv9]", "has no layer conv9"),
        ("atlas.layers=conv*", "No layer is meant by conv"),
        ("atlas.split=everything", "it must be train, val or test"),
        ("atlas.maps=some", "^atlas.maps=some is not possible"),
        ("atlas.maps=[600]", "^atlas.maps: features.0 has 64 feature maps, and no map 600"),
        ("atlas.pictures=some", "^atlas.pictures=some is not possible"),
        ("data.root=/nowhere", "is not a folder"),
        ("trainer.accelerator=gpu", "but this machine has no such GPU"),
    ],
)
def test_mistakes(
    override: str,
    words: str,
    compose_config: Compose,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=words):
        task.run(compose_config(*asked, override))


def test_another_atlas_is_not_overwritten(compose_config: Compose, asked: list[str]) -> None:
    one = "atlas.layers=features.0"
    task.run(compose_config(*asked, one))
    task.run(compose_config(*asked, one, "atlas.pictures=2"))
    with pytest.raises(UserError, match="contains an atlas of another network"):
        task.run(compose_config(*asked, one, "atlas.top=3"))


def no_search(*_: Any) -> None:
    raise AssertionError("the dataset was read once more")


def tiles(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*-*.safetensors"))


def test_another_look_needs_no_other_search(
    compose_config: Compose, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = "atlas.layers=[features.0,features.3.squeeze]"
    run, layer = tmp_path / "run", "features.0"
    nothing = task.run(compose_config(*asked, one, "atlas.maps=[]"))
    assert nothing["files"] == {layer: [], "features.3.squeeze": []} and nothing["images"] == 60
    assert tiles(run) == [] and not list((run / "figures").iterdir())
    monkeypatch.setattr(TopActivations, "update", no_search)
    first = task.run(compose_config(*asked, one))
    assert (run / "figures" / f"{layer}.png").exists()
    kept = (run / first["files"][layer][0]).stat().st_mtime_ns
    # Other maps: the projections that are there stay.
    task.run(compose_config(*asked, one, "atlas.maps=[0,1,11]", "seed=5"))
    atlas = Atlas.load(run / "atlas" / layer / "00000-00011.safetensors")
    assert atlas.layers[layer].drawn.tolist() == [0, 1, 11]
    task.run(compose_config(*asked, one, "atlas.maps=[3]"))
    assert len(tiles(run / "atlas")) == len(tiles(run / "distribution")) == 4
    # Another method replaces them.
    task.run(compose_config(*asked, one, "atlas.maps=[3]", "atlas.method=guided"))
    assert len(tiles(run / "atlas")) == len(tiles(run / "distribution")) == 2
    (path,) = (run / "atlas" / layer).glob("*.safetensors")
    assert Atlas.load(path).rule == "guided" and path.stat().st_mtime_ns > kept


def test_what_only_serves_to_look_into_a_network_is_not_trained_on(
    compose_config: Compose, image_folder: Path
) -> None:
    from zf_lightning.tasks import train

    with pytest.raises(UserError, match="has no split to learn from"):
        train.run(compose_config("data=images", f"data.root={image_folder}", "logger=none"))
