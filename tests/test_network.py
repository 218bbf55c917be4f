"""Networks that are not made of layer specifications, from the command line to a checkpoint."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import Compose
from zf_lightning import assembly
from zf_lightning.checkpoint import load_classifier
from zf_lightning.deconv import Atlas
from zf_lightning.errors import UserError
from zf_lightning.models import torchvision_network
from zf_lightning.tasks import test as test_task
from zf_lightning.tasks import train


class Own(nn.Module):
    """A network of a user's own, with a functional ReLU and a skip."""

    def __init__(self, classes: int, maps: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, maps, 3, stride=2)
        self.second = nn.Conv2d(maps, maps, 3, padding=1)
        self.last = nn.Linear(maps, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last((x + torch.relu(self.second(x))).mean((2, 3)))


def own(tiny: list[str]) -> list[str]:
    kept = [one for one in tiny if not one.startswith("model.width")]
    return [*kept, "model=custom", "model.network._target_=tests.test_network.Own"]


def squeezenet(tiny: list[str]) -> list[str]:
    kept = [one for one in tiny if not one.startswith("model.width")]
    return [*kept, "model=torchvision", "model.name=squeezenet1_1"]


def test_a_network_of_ones_own_is_trained_probed_and_tested(
    compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    options = [*own(tiny), "+model.network.maps=5"]
    result = train.run(compose_config(*options))
    assert result["parameters"] == 3 * 5 * 9 + 5 + 5 * 5 * 9 + 5 + 5 * 3 + 3
    folder = tmp_path / "run"
    atlas = Atlas.load(folder / "atlas" / "epoch=002.safetensors")
    assert list(atlas.layers) == ["first", "second"] and not atlas.mismatches
    again = load_classifier(folder / "checkpoints" / "best.ckpt")
    assert isinstance(again.network, Own)
    tested = test_task.run(compose_config("task=test", f"ckpt={folder}", "logger=none"))
    assert tested["test/top1_error"] == result["test/top1_error"]


def test_a_network_of_torchvision_starts_from_weights(
    compose_config: Compose, tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "weights.safetensors"
    save_file(torchvision_network("squeezenet1_1", num_classes=8).state_dict(), path)
    options = [*squeezenet(tiny), f"model.weights={path}", "probe.layers=features.3.*"]
    train.run(compose_config(*options, "trainer.max_epochs=1"))
    assert "classifier.1.bias, classifier.1.weight start anew" in caplog.text
    atlas = Atlas.load(tmp_path / "run" / "atlas" / "epoch=001.safetensors")
    expected = [f"features.3.{name}" for name in ("squeeze", "expand1x1", "expand3x3")]
    assert list(atlas.layers) == expected
    path.unlink()
    # The checkpoint needs the file no more.
    classifier = assembly.classifier_to_inspect(compose_config(f"ckpt={tmp_path / 'run'}"))
    assert classifier.class_names == ("blue", "green", "red") and not classifier.training


def test_weights_alone_are_enough_to_look_into_a_network(
    compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    network = torchvision_network("squeezenet1_1", num_classes=1000).eval()
    save_file(network.state_dict(), path)
    config = compose_config(*squeezenet(tiny), f"model.weights={path}")
    classifier = assembly.classifier_to_inspect(config)
    assert classifier.class_names[0] == "tench" and not classifier.training
    images = torch.randn(1, 3, 70, 70)
    assert torch.equal(classifier.network(images), network(images))


def test_mistakes(compose_config: Compose, tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a trained network: give ckpt"):
        assembly.classifier_to_inspect(compose_config(*squeezenet(tiny)))
    with pytest.raises(UserError, match="changes layers of a specification"):
        train.run(compose_config(*squeezenet(tiny), "ablation=drop_fc7"))
    with pytest.raises(UserError, match="has no option mapps"):
        train.run(compose_config(*own(tiny), "+model.network.mapps=5"))
    path = tmp_path / "weights.safetensors"
    save_file({"first.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(UserError, match=r"lacks first.bias"):
        train.run(compose_config(*own(tiny), f"model.weights={path}"))
    with pytest.raises(UserError, match="brings no statistics"):
        assembly.classifier_to_inspect(compose_config(*own(tiny), f"model.weights={path}"))
