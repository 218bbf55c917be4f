"""Networks of timm."""

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Compose
from zf_lightning.errors import UserError
from zf_lightning.inspection.subject import classifier_to_inspect
from zf_lightning.models import timm_network, timm_preprocessing
from zf_lightning.training.build import build_model_options

timm = pytest.importorskip("timm")


def test_names_tags_and_number_of_classes() -> None:
    with torch.device("meta"):
        network = timm_network("test_resnet.r160_in1k", num_classes=7, in_chans=3)
    assert network.get_classifier().out_features == 7
    for name, words in (
        ("resnet_18", "timm has no model.name=resnet_18; it has .*resnet18"),
        ("resnet18.a9", "no model.name=resnet18.a9; it has .*resnet18.a1_in1k"),
        ("nothing at all", "timm has no model.name=nothing at all[.]"),
    ):
        with pytest.raises(UserError, match=words):
            timm_preprocessing(name)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "test_resnet", "inception_v3.tf_in1k"])
def test_input_is_that_of_the_weights(name: str) -> None:
    known = timm.get_pretrained_cfg(name)
    found = timm_preprocessing(name)
    assert (3, found["input_size"], found["input_size"]) == known.input_size
    assert found["mean"] == pytest.approx([255 * value for value in known.mean], abs=1e-3)
    assert found["scale"] == pytest.approx([255 * value for value in known.std], abs=1e-3)


def test_options_of_ones_own_win(compose_config: Compose) -> None:
    asked = ["model=timm", "model.name=test_resnet"]
    own = build_model_options(compose_config(*asked))
    assert own["input_size"] == 160 and own["preprocessing"]["mean"][0] == pytest.approx(127.5)
    given = build_model_options(
        compose_config(*asked, "model.input_size=64", "model.preprocessing.mean=imagenet")
    )
    assert given["input_size"] == 64 and given["preprocessing"]["mean"] == "imagenet"
    assert given["preprocessing"]["scale"] == own["preprocessing"]["scale"]
    with pytest.raises(UserError, match=r"Only networks of timm .* give model.input_size"):
        other = ["model=torchvision", "model.name=alexnet", "model.preprocessing.mean=own"]
        build_model_options(compose_config(*other))


def test_weights_of_a_training_by_timm(compose_config: Compose, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=4).eval()
    path = tmp_path / "last.pth.tar"
    torch.save({"epoch": 1, "arch": "test_resnet", "state_dict": network.state_dict()}, path)
    config = compose_config("model=timm", "model.name=test_resnet", f"model.weights={path}")
    classifier = classifier_to_inspect(config)
    assert classifier.class_names == ("0", "1", "2", "3")
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(classifier.network(images), network(images))


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "timm":
            raise ImportError(name)
        return found(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="needs the package timm"):
        timm_network("resnet18", num_classes=3)
