"""Networks that are not made of layer specifications, from the command line to a checkpoint."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import Compose
from tests.networks import ItemInit, Skipping
from zf_lightning.atlas import Atlas
from zf_lightning.data.decode import load_image
from zf_lightning.errors import UserError
from zf_lightning.inspection.subject import classifier_to_inspect
from zf_lightning.models import torchvision_network
from zf_lightning.tasks import predict, train
from zf_lightning.tasks import test as test_task
from zf_lightning.training.build import build_source
from zf_lightning.training.checkpoint import load_classifier
from zf_lightning.training.network import build_network


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
    return [*kept, "model=custom", "model.network._target_=tests.training.test_network.Own"]


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


@pytest.mark.slow
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
    # Neither the checkpoint nor a run that resumes from it needs the file any more.
    result = train.run(compose_config(*options, "trainer.max_epochs=2"))
    assert result["epochs"] == 2 and result["paper"] is None
    classifier = classifier_to_inspect(compose_config("task=atlas", f"ckpt={tmp_path / 'run'}"))
    assert classifier.class_names == ("blue", "green", "red") and not classifier.training


def test_weights_alone_are_enough_to_look_into_a_network(
    compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    network = torchvision_network("squeezenet1_1", num_classes=1000).eval()
    save_file(network.state_dict(), path)
    config = compose_config(*squeezenet(tiny), f"model.weights={path}")
    classifier = classifier_to_inspect(config)
    assert classifier.class_names[0] == "tench" and not classifier.training
    images = torch.randn(1, 3, 70, 70)
    assert torch.equal(classifier.network(images), network(images))


def test_weights_alone_are_enough_to_test_a_network_and_to_predict(
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
    image_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same as of a checkpoint with the same network."""
    caplog.set_level("INFO")
    torch.manual_seed(0)
    network = Own(3).eval()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pt")
    known = ["model.preprocessing.mean=imagenet", "model.preprocessing.scale=imagenet"]
    given = [*own(tiny), *known, f"model.weights={tmp_path / 'weights.pt'}", "logger=none"]
    config = compose_config("task=test", *given)
    result = test_task.run(config)
    assert result["weights"] == str(tmp_path / "weights.pt") and "ckpt" not in result
    assert "names no classes: its outputs are taken to be those of the data" in caplog.text
    preprocess = classifier_to_inspect(config).preprocessing
    files = build_source(config).split("test")
    wrong = []
    for image, label, *_ in (files[number] for number in range(len(files))):
        with torch.no_grad():
            crops = [network(crop).softmax(1) for crop in preprocess.ten_crops(image[None])]
            one, ten = network(preprocess(image[None])), sum(crops)
        wrong.append((int(one.argmax()) != label, int(ten.argmax()) != label))
    errors = 100 * torch.tensor(wrong).float().mean(0)
    assert result["test/top1_error"] == pytest.approx(errors[0].item())
    assert result["test/top1_error_tencrop"] == pytest.approx(errors[1].item())
    asked = [f"predict.root={image_folder}", "predict.crops=1"]
    predict.run(compose_config("task=predict", *given, *asked))
    guesses = (tmp_path / "run" / "predictions.txt").read_text().splitlines()
    with torch.no_grad():
        first = network(preprocess(load_image(image_folder / "red" / "000.png")[None]))
    # The names of files come first, so that the third is of the last folder.
    order = first.argsort(descending=True)[0] + 1
    assert guesses[2] == " ".join(map(str, order.tolist()))
    with pytest.raises(UserError, match=r"knows 3 classes .* has 2"):
        test_task.run(compose_config("task=test", *given, "data.exclude=[red]"))


def test_mistakes(compose_config: Compose, tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a trained network: give ckpt"):
        classifier_to_inspect(compose_config(*squeezenet(tiny)))
    with pytest.raises(UserError, match="changes layers of a specification"):
        train.run(compose_config(*squeezenet(tiny), "ablation=drop_fc7"))
    with pytest.raises(UserError, match="has no option mapps"):
        train.run(compose_config(*own(tiny), "+model.network.mapps=5"))
    path = tmp_path / "weights.safetensors"
    save_file({"first.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(UserError, match=r"lacks first.bias"):
        train.run(compose_config(*own(tiny), f"model.weights={path}"))
    with pytest.raises(UserError, match="brings no statistics"):
        classifier_to_inspect(compose_config(*own(tiny), f"model.weights={path}"))


OWN = ["model=custom", "model.input_size=48", "model.network._target_=tests.networks.Skipping"]


def test_means_and_scales_as_numbers(compose_config: Compose, tmp_path: Path) -> None:
    torch.save(Skipping(3).state_dict(), tmp_path / "own.pt")
    numbers = ["model.preprocessing.mean=[123,117,104]", "model.preprocessing.scale=[1,2,0.5]"]
    config = compose_config(*OWN, *numbers, f"model.weights={tmp_path / 'own.pt'}")
    classifier = classifier_to_inspect(config)
    white = classifier.preprocessing(torch.full((1, 3, 256, 256), 255, dtype=torch.uint8))
    assert white[0, :, 0, 0].tolist() == [132, 69, 302]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=custom"], r"must be options with a _target_"),
        ([*OWN, "model.network._target_=nowhere.Net"], "there is no nowhere.Net"),
        ([*OWN, "model.input_size=3"], "does not take an image of 3 pixels"),
        ([*OWN, "+model.network.num_classes=4"], "gives 4 outputs, and there are 3 classes"),
        ([*OWN, "model.network._target_=tests.networks.no_module"], "made no torch.nn.Module"),
        (
            [*OWN, "model.network._target_=tests.networks.Grey"],
            "3 channels .*expected .* 1 channel",
        ),
        (
            [*OWN, "model.network._target_=tests.networks.TwoOutputs", "model.logits=scores"],
            "no tensor model.logits=scores .it has 0, 1",
        ),
        ([*OWN, "model.network._target_=tests.networks.Smooth"], "sin has.* callbacks.probe=null"),
        ([*OWN, "probe.layers=[stem,conv9]"], "probe.layers: .* no layer conv9"),
        ([*OWN, "model.preprocessing.mean=[1,2]"], "or a list of 3"),
        ([*OWN, "model.preprocessing.scale=[1,2,0]"], "each a number from 1e-06"),
    ],
)
def test_mistakes_are_one_sentence(
    overrides: list[str], words: str, compose_config: Compose, tiny: list[str]
) -> None:
    short = [one for one in tiny if not one.startswith("model.")]
    with pytest.raises(UserError, match=words):
        train.run(compose_config(*short, "trainer.max_epochs=1", *overrides))


@pytest.mark.parametrize("network", ["TwoOutputs", "ItemInit", "TupleChild", "Scaled"])
def test_networks_as_people_write_them_are_trained(
    network: str, compose_config: Compose, tiny: list[str]
) -> None:
    """Auxiliary outputs, values read in the constructor, a list inside, a branch on values."""
    short = [one for one in tiny if not one.startswith("model.")]
    target = f"model.network._target_=tests.networks.{network}"
    options = [*OWN, target, "callbacks.probe=null", "trainer.max_epochs=1", "logger=none"]
    result = train.run(compose_config(*short, *options))
    assert result["epochs"] == 1


def test_weights_of_a_network_that_reads_values_in_its_constructor(
    compose_config: Compose, tmp_path: Path
) -> None:
    torch.save(ItemInit(5).state_dict(), tmp_path / "own.pt")
    known = ["model.preprocessing.mean=imagenet", "model.preprocessing.scale=imagenet"]
    target = "model.network._target_=tests.networks.ItemInit"
    config = compose_config(*OWN, target, *known, f"model.weights={tmp_path / 'own.pt'}")
    assert len(classifier_to_inspect(config).class_names) == 5


def test_a_network_with_a_fixed_number_of_outputs_is_taken_as_it_is() -> None:
    node = {"_target_": "tests.networks.three_outputs"}
    network = build_network({"network": node, "initialisation": "own"}, classes=3)
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 3)
