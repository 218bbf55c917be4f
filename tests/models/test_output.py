"""The logits among a network's outputs."""

import copy
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError
from zf_lightning.models import find_logits, giving_logits

Named = namedtuple("Named", ["logits", "features"])


@dataclass
class Output:
    """As `transformers.ModelOutput`, some of it left out."""

    loss: Tensor | None = None
    logits: Tensor | None = None


LOGITS, OTHER = torch.ones(2, 3), torch.zeros(2, 5)


@pytest.mark.parametrize(
    ("output", "name", "expected"),
    [
        (LOGITS, None, LOGITS),
        (LOGITS, "anything", LOGITS),
        ((LOGITS, OTHER), None, LOGITS),
        ([OTHER, LOGITS], 1, LOGITS),
        ([OTHER, LOGITS], "1", LOGITS),
        (([LOGITS], OTHER), None, LOGITS),
        ({"out": LOGITS, "aux": OTHER}, None, LOGITS),
        (OrderedDict(aux=OTHER, out=LOGITS), "out", LOGITS),
        (OrderedDict(aux=OTHER, out=LOGITS), 1, LOGITS),
        (Named(LOGITS, OTHER), None, LOGITS),
        (Named(OTHER, LOGITS), "features", LOGITS),
        (Output(logits=LOGITS), None, LOGITS),
        (Output(OTHER, LOGITS), "logits", LOGITS),
    ],
)
def test_the_first_tensor_or_the_one_named(
    output: Any, name: str | int | None, expected: Tensor
) -> None:
    assert find_logits(output, name) is expected


@pytest.mark.parametrize(
    ("output", "name", "words"),
    [
        (Output(), None, "no tensor .it has loss, logits"),
        ({"out": LOGITS}, "logits", "no tensor model.logits=logits .it has out"),
        ((LOGITS,), 1, "no tensor model.logits=1 .it has 0"),
        ((LOGITS,), -1, "model.logits=-1"),
        ("text", None, "it has str"),
    ],
)
def test_a_mistake_names_what_there_is(output: Any, name: str | int | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_logits(output, name)


class Several(nn.Module):
    """Logits and what they are made of, in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = torch.relu(self.conv(images))
        return {"maps": maps, "logits": self.head(maps.mean((2, 3)))}


def test_names_of_layers_and_weights_stay_and_it_can_be_copied_and_traced() -> None:
    torch.manual_seed(0)
    network = Several().eval()
    images = torch.randn(2, 3, 6, 6)
    expected = network(images)["logits"]
    changed = giving_logits(network, "logits")
    assert changed is network and isinstance(network, Several)
    assert list(network.state_dict()) == list(Several().state_dict())
    assert torch.equal(network(images), expected)
    assert torch.equal(copy.deepcopy(network)(images), expected)
    deconvnet = Deconvnet(network)
    assert deconvnet.layers == ("conv", "head")
    assert torch.equal(deconvnet.with_feature_maps(images, ["conv"])[0], expected)
    unit = Unit(image=1, layer="head", feature_map=1)
    projected = deconvnet.project(images, [unit])
    torch.testing.assert_close(projected.activations[0], expected[1, 1].detach())
