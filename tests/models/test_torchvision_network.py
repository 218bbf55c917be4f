"""Networks of torchvision, and weights from files."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from zf_lightning.errors import UserError
from zf_lightning.models import (
    classes_of,
    imagenet_class_names,
    load_weights,
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
    weights = zeros(with_auxiliary)
    assert any(name.startswith("aux") for name in weights)
    assert classes_of(weights, network, classes=5) == 5
    assert load_weights(network.to_empty(device="cpu"), weights, path="file") == []


def test_densenets_old_names() -> None:
    with torch.device("meta"):
        network = torchvision_network("densenet121", num_classes=5)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in zeros(network).items()
    }
    assert "features.denseblock1.denselayer2.norm.1.weight" in old
    assert load_weights(network.to_empty(device="cpu"), old, path="file") == []


def zeros(network: nn.Module) -> dict[str, Tensor]:
    """Weights for a network on the meta device."""
    return {name: torch.zeros(value.shape) for name, value in network.state_dict().items()}


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(4))


class OfSomeoneElse:
    """An object in a file, whose code must never run."""

    def __setstate__(self, state: object) -> None:
        raise AssertionError("code of a file was run")


def wrapped(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


FORMS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "DataParallel": lambda state: wrapped("module.", state),
    "compiled": lambda state: wrapped("_orig_mod.", state),
    "compiled, DistributedDataParallel": lambda state: wrapped("_orig_mod.module.", state),
    "timm's training": lambda state: {
        "epoch": 3,
        "arch": "small",
        "state_dict": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(lr=0.1),
        "state_dict_ema": {name: value * 2 for name, value in state.items()},
        "metric": 71.5,
    },
    "nested twice": lambda state: {"model": {"state_dict": state}, "epoch": 1},
    **{
        key: lambda state, key=key: {key: state, "epoch": 1}  # type: ignore[misc]
        for key in ("model", "model_state", "model_state_dict", "net", "network", "ema")
    },
    "of Lightning": lambda state: {
        "epoch": 1,
        "state_dict": {
            **wrapped("model.", state),
            **wrapped("ema_model.", {name: value * 2 for name, value in state.items()}),
            "loss.weight": torch.ones(4),
        },
        "hyper_parameters": {"options": OfSomeoneElse(), "rates": numpy.arange(3.0)},
        "hparams_name": "kwargs",
        "loops": {"fit_loop": {"state_dict": {}}},
    },
    "network. beside preprocessing": lambda state: {
        "state_dict": {**wrapped("network.", state), "preprocessing.mean": torch.zeros(3)}
    },
    "parameters": lambda state: {n: nn.Parameter(v) for n, v in state.items() if v.dim()},
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_as_trainings_save_them(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 8)
    networks = [small().eval() for _ in range(2)]
    source, target = networks
    expected, _ = (network(images) for network in networks)
    path = tmp_path / "weights.pt"
    torch.save(FORMS[form](source.state_dict()), path)
    assert load_weights(target, read_weights(path), path=path) == []
    assert torch.equal(target(images), expected)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_precision_of_weights_becomes_the_networks(
    kind: torch.dtype, suffix: str, tmp_path: Path
) -> None:
    source, target = small(), small()
    for network in (source, target):
        network(torch.zeros(1, 3, 8, 8))
    path = tmp_path / f"weights.{suffix}"
    state = source.to(kind).state_dict()
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    load_weights(target, read_weights(path), path=path)
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, source[0].weight.float())


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_weights_from_a_file(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = (torchvision_network("squeezenet1_1", num_classes=4) for _ in range(2))
    state = source.state_dict()
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    weights = read_weights(path)
    other = torchvision_network("squeezenet1_1", num_classes=9)
    assert classes_of(weights, other, classes=9) == 4
    assert load_weights(target, weights, path=path) == []
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(source.eval()(images), target.eval()(images))


def test_another_number_of_classes_keeps_the_new_last_layer() -> None:
    source = torchvision_network("squeezenet1_1", num_classes=4)
    target = torchvision_network("squeezenet1_1", num_classes=3)
    own = target.state_dict()["classifier.1.weight"].clone()
    kept = load_weights(target, source.state_dict(), path="file", classes=3)
    assert kept == ["classifier.1.bias", "classifier.1.weight"]
    assert torch.equal(target.state_dict()["classifier.1.weight"], own)
    first = "features.0.weight"
    assert torch.equal(target.state_dict()[first], source.state_dict()[first])
    with pytest.raises(UserError, match=r"classifier.1.weight is \[4, .* there and \[3, "):
        load_weights(target, source.state_dict(), path="file")


def test_weights_of_another_network_are_refused() -> None:
    network = torchvision_network("squeezenet1_1", num_classes=3)
    other = torchvision_network("alexnet", num_classes=3).state_dict()
    message = (
        r"another network: it lacks features.* and \d+ more; it has, unlike the network, .*of o"
    )
    with pytest.raises(UserError, match=message):
        load_weights(network, other, path="file", classes=3)
    wider = network.state_dict()
    wider["features.0.weight"] = torch.zeros(3, 3, 3, 3)
    with pytest.raises(UserError, match=r"features.0.weight is"):
        load_weights(network, wider, path="file", classes=3)


def test_values_that_are_no_weights_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3))
    state = network.state_dict()
    for value, words in (
        (torch.full((2,), float("nan")), "0.bias has values that are NaN or infinite"),
        (torch.zeros(2, dtype=torch.int8), "0.bias is torch.int8, not floating point"),
    ):
        with pytest.raises(UserError, match=words):
            load_weights(network, {**state, "0.bias": value}, path="file")


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_weights(tmp_path / "absent.pt")
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "text.pt").write_text("no tensors")
    for name in ("text.safetensors", "text.pt"):
        with pytest.raises(UserError, match="cannot be read as weights"):
            read_weights(tmp_path / name)
    for what, words in (
        (nn.Linear(2, 2), "whole object with its code.*network.state_dict"),
        ([1, 2], "holds no state dict of tensors[.]"),
        ({"generator": {"a": torch.zeros(1)}, "epoch": 1}, "it has generator, epoch"),
    ):
        torch.save(what, tmp_path / "other.pt")
        with pytest.raises(UserError, match=words):
            read_weights(tmp_path / "other.pt")
