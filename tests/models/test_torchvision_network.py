"""Networks of torchvision, and weights from files."""

import re
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from zf_lightning.errors import UserError
from zf_lightning.models import (
    imagenet_class_names,
    load_weights,
    outputs_of,
    read_weights,
    torchvision_network,
)


def test_names_and_number_of_classes() -> None:
    network = torchvision_network("squeezenet1_1", num_classes=7)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    with pytest.raises(UserError, match=r"no model.name=resnet19; it has resnet1"):
        torchvision_network("resnet19", num_classes=7)
    names = imagenet_class_names()
    assert len(names) == 1000 and names[0] == "tench" and names[-1] == "toilet tissue"


def test_inception_family_has_one_output() -> None:
    with torch.device("meta"):
        network = torchvision_network("googlenet", num_classes=5)
        assert network.train()(torch.zeros(2, 3, 224, 224)).shape == (2, 5)
        with_auxiliary = torchvision.models.googlenet(num_classes=5, init_weights=False)
    weights = with_auxiliary.state_dict()
    assert any(name.startswith("aux") for name in weights)
    assert outputs_of(weights, network) == 5
    assert load_weights(network, weights, path="file", last_may_differ=False) == []


def test_densenets_old_names() -> None:
    with torch.device("meta"):
        network = torchvision_network("densenet121", num_classes=5)
    weights = network.state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in weights.items()
    }
    assert "features.denseblock1.denselayer2.norm.1.weight" in old
    assert load_weights(network, old, path="file", last_may_differ=False) == []


@pytest.mark.parametrize("form", ["safetensors", "pt", "nested", "wrapped"])
def test_weights_from_a_file(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = (torchvision_network("squeezenet1_1", num_classes=4) for _ in range(2))
    state = source.state_dict()
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        save_file(state, path)
    elif form == "nested":
        torch.save({"state_dict": state, "epoch": 3}, path)
    elif form == "wrapped":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    weights = read_weights(path)
    assert outputs_of(weights, torchvision_network("squeezenet1_1", num_classes=9)) == 4
    assert load_weights(target, weights, path=path, last_may_differ=False) == []
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(source.eval()(images), target.eval()(images))


def test_another_number_of_classes_keeps_the_new_last_layer() -> None:
    source = torchvision_network("squeezenet1_1", num_classes=4)
    target = torchvision_network("squeezenet1_1", num_classes=3)
    own = target.state_dict()["classifier.1.weight"].clone()
    kept = load_weights(target, source.state_dict(), path="file", last_may_differ=True)
    assert kept == ["classifier.1.bias", "classifier.1.weight"]
    assert torch.equal(target.state_dict()["classifier.1.weight"], own)
    first = "features.0.weight"
    assert torch.equal(target.state_dict()[first], source.state_dict()[first])
    with pytest.raises(UserError, match=r"classifier.1.weight is \[4, .* there and \[3, "):
        load_weights(target, source.state_dict(), path="file", last_may_differ=False)


def test_weights_of_another_network_are_refused() -> None:
    network = torchvision_network("squeezenet1_1", num_classes=3)
    other = torchvision_network("alexnet", num_classes=3).state_dict()
    with pytest.raises(UserError, match=r"of another network: it lacks features.*has, unlike"):
        load_weights(network, other, path="file", last_may_differ=True)
    wider = network.state_dict()
    wider["features.0.weight"] = torch.zeros(3, 3, 3, 3)
    with pytest.raises(UserError, match=r"features.0.weight is"):
        load_weights(network, wider, path="file", last_may_differ=True)


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_weights(tmp_path / "absent.pt")
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "text.pt").write_text("no tensors")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("text.safetensors", "text.pt", "module.pt"):
        with pytest.raises(UserError, match="cannot be read as weights"):
            read_weights(tmp_path / name)
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(tmp_path / "list.pt")
