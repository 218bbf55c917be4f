"""What task=atlas says of all images, against a loop over them and scikit-learn."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score

from tests.conftest import Compose
from zf_lightning.atlas import Atlas
from zf_lightning.inspection import search
from zf_lightning.inspection.subject import classifier_to_inspect
from zf_lightning.models import torchvision_network
from zf_lightning.tasks import atlas as task
from zf_lightning.training import build as assembly

LAYER = "features.3.squeeze"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pt"
    torch.save(torchvision_network("squeezenet1_1", num_classes=3).state_dict(), path)
    return path


@pytest.fixture
def asked(image_folder: Path, weights: Path, tmp_path: Path) -> list[str]:
    return [
        *("task=atlas", "model=torchvision", "model.name=squeezenet1_1", "model.input_size=63"),
        *(f"model.weights={weights}", "data=folder", f"data.root={image_folder}"),
        *("data.batch_size=16", "data.workers=0", f"paths.data={tmp_path / 'data'}"),
        *(f"atlas.layers=[{LAYER}]", "atlas.maps=[0,3]", "atlas.top=2", "atlas.split=train"),
        "logger=csv",
    ]


def strongest_by_hand(config: Any) -> tuple[np.ndarray, np.ndarray]:
    """The strongest activations `[N, C]` and the classes of all images."""
    files = assembly.build_source(config).split("train")
    classifier = classifier_to_inspect(config)
    module = dict(classifier.network.named_modules())[LAYER]
    found: list[torch.Tensor] = []
    module.register_forward_hook(lambda _, inputs, output: found.append(output.relu()))
    with torch.no_grad():
        for index in range(len(files)):
            classifier.network(classifier.preprocessing(files[index][0][None]))
    return torch.cat(found).amax((2, 3)).numpy(), np.asarray(files.labels)


def test_every_map_over_all_images(
    compose_config: Compose, asked: list[str], tmp_path: Path
) -> None:
    config = compose_config(*asked)
    result = task.run(config)
    values, labels = strongest_by_hand(config)
    folder = tmp_path / "run" / "distribution" / LAYER
    said = json.loads((folder / "maps.json").read_text())
    assert said["layer"] == LAYER and len(said["feature_maps"]) == values.shape[1]
    scores = load_file(folder / "classes.safetensors")["average_precision"].numpy()
    atlas = Atlas.load(folder / "00000-00003.safetensors")
    examples = atlas.layers[LAYER]
    for number, one in enumerate(said["feature_maps"]):
        column = values[:, number]
        assert one["images"] == len(column) == sum(n for *_, n in one["histogram"])
        assert one["excited"] == pytest.approx((column > 0).mean(), abs=1e-5)
        for low, high, images in one["histogram"]:
            # Rounding in the sixth digit, of the limits and between one image and a batch.
            above, below = column >= low * (1 - 1e-4), column < float(high) * (1 + 1e-4)
            inside = above & below if high else column == 0
            assert images <= inside.sum()
        for rank, example in enumerate(one["quantiles"]):
            exact = np.quantile(column, example["quantile"], method="inverted_cdf")
            assert example["activation"] == pytest.approx(exact, rel=0.126)
            at = column[example["index"]]
            assert example["activation"] == pytest.approx(at, rel=1e-4)
            drawn = example["activation"] > 0
            assert int(examples.indices[number, rank]) == (example["index"] if drawn else -1)
        for label in range(3):
            expected = average_precision_score(labels == label, column)
            assert scores[number, label] == pytest.approx(expected, abs=0.02)
        best = one["classes"][0]
        assert best["average_precision"] == pytest.approx(scores[number].max(), abs=1e-5)
        assert best["share"] == pytest.approx((labels == best["label"]).mean(), abs=1e-5)
    assert not atlas.mismatches and examples.drawn.tolist() == [0, 3]
    assert torch.equal(examples.levels.abs().amax((2, 3, 4)).max(), examples.steps.max())
    with (folder / "feature_maps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[3]["excited"]) == pytest.approx((values[:, 3] > 0).mean(), abs=1e-4)
    assert result["layers"][LAYER]["median_excited"] == pytest.approx(
        np.median((values > 0).mean(0)), abs=1e-6
    )
    page = (tmp_path / "run" / "report" / "maps.js").read_text()
    assert '"quantile": 0.999' in page
    assert (tmp_path / "run" / "report" / "maps" / LAYER / "3_quantiles.webp").exists()


def test_other_quantiles_are_drawn_anew_and_none_are_not(
    compose_config: Compose, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Too many images to keep the activations of.
    monkeypatch.setattr(search, "VALUES_BYTES", 1)
    folder = tmp_path / "run" / "distribution" / LAYER
    task.run(compose_config(*asked, "atlas.quantiles=[]"))
    assert not list(folder.glob("*-*")) and not (folder / "classes.safetensors").exists()
    assert json.loads((folder / "maps.json").read_text())["feature_maps"][0]["classes"] == []
    for quantile in (0.5, 0.9):
        task.run(compose_config(*asked, f"atlas.quantiles=[{quantile}]"))
        said = json.loads((folder / "maps.json").read_text())["feature_maps"]
        atlas = Atlas.load(folder / "00000-00003.safetensors").layers[LAYER]
        assert [one["quantile"] for one in said[3]["quantiles"]] == [quantile]
        example = said[3]["quantiles"][0]
        assert atlas.indices[3].tolist() == [example["index"] if example["activation"] > 0 else -1]
