"""Occlusion equals a plain loop over positions, for any size of image, square and stride."""

import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.analysis.networks import Branches, chain, pictures
from zf_lightning.analysis import ObservedNetwork, Occlusion, occlude
from zf_lightning.errors import UserError


def one_by_one(
    network: nn.Module, image: Tensor, found: Occlusion, fill: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """The three maps from whole forward passes of one occluded image at a time."""
    observed = ObservedNetwork(network)
    rows = []
    for top in found.tops:
        row = []
        for left in found.lefts:
            occluded = image.clone()
            window = occluded[:, top : top + found.size, left : left + found.size]
            window[:] = torch.as_tensor(fill).expand(image.shape)[
                :, top : top + found.size, left : left + found.size
            ]
            totals: list[Tensor] = []
            scores = observed.run(
                occluded[None],
                [found.layer],
                lambda _, output, totals=totals: totals.append(output[0, found.feature_map].sum()),
            )
            row.append((totals[0], scores.double().log_softmax(1)[0, found.label], scores.argmax()))
        rows.append(row)
    values = torch.tensor(
        [[[float(value) for value in cell] for cell in row] for row in rows]
    ).double()
    return values[..., 0].float(), values[..., 1], values[..., 2].to(torch.int64)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([chain, Branches]),
    st.integers(20, 40),
    st.integers(20, 40),
    st.integers(1, 20),
    st.integers(5, 13),
    st.integers(1, 70),
    st.booleans(),
)
def test_it_equals_a_loop_over_positions(
    make: type[nn.Module],
    height: int,
    width: int,
    size: int,
    stride: int,
    batch_size: int,
    windows: bool,
) -> None:
    network = make().eval()
    images = pictures(2, height, width)
    fill = torch.full((3, 1, 1), 0.3)
    options = {"size": size, "stride": stride, "batch_size": batch_size, "windows": windows}
    found = occlude(network, images, fill=fill, labels=[2, 0], **options)
    for image, one in zip(images, found, strict=True):
        activation, log_probability, most_probable = one_by_one(network, image, one, fill)
        torch.testing.assert_close(one.activation, activation, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.log_probability, log_probability, rtol=1e-4, atol=1e-5)
        assert torch.equal(one.most_probable, most_probable)


def test_every_pixel_is_hidden_and_the_probability_is_captums() -> None:
    network, images = chain().eval(), pictures(1)
    (found,) = occlude(network, images, size=8, stride=6, labels=[1])
    # One output of Captum's for each pixel: the mean over the squares that hide it.
    expected = captum.attr.Occlusion(lambda x: network(x).log_softmax(1)).attribute(
        images, (3, 8, 8), strides=(3, 6, 6), target=1, perturbations_per_eval=7
    )
    total, hidden = torch.zeros(31, 37).double(), torch.zeros(31, 37)
    for row, top in enumerate(found.tops):
        for column, left in enumerate(found.lefts):
            lost = found.log_probability_unoccluded - found.log_probability[row, column]
            total[top : top + 8, left : left + 8] += lost
            hidden[top : top + 8, left : left + 8] += 1
    assert hidden.min() > 0
    torch.testing.assert_close(total / hidden, expected[0, 0].double(), rtol=1e-3, atol=1e-5)


def test_the_strongest_map_and_the_predicted_class_are_followed() -> None:
    network, images = chain().eval(), pictures(3)
    totals: list[Tensor] = []
    observed = ObservedNetwork(network)
    scores = observed.run(images, ["4"], lambda _, output: totals.append(output.sum((2, 3))))
    for place, one in enumerate(occlude(observed, images, size=9, stride=9)):
        assert one.layer == "4"
        assert one.feature_map == int(totals[0][place].argmax())
        assert one.total_activation == pytest.approx(float(totals[0][place].max()), rel=1e-5)
        assert one.label == one.predicted == int(scores[place].argmax())
        lowest = one.probability[one.tops.index(one.worst[0]), one.lefts.index(one.worst[1])]
        assert lowest == one.probability.min()


def test_what_does_not_matter_leaves_a_flat_map() -> None:
    network = chain().eval()
    nn.init.zeros_(network[11].weight)
    (found,) = occlude(network, pictures(1), size=9, stride=9)
    assert found.flat
    (found,) = occlude(chain(), pictures(1), size=9, stride=9)
    assert not found.flat


def test_progress_is_told_of_every_position() -> None:
    done: list[int] = []
    found = occlude(chain(), pictures(2), size=9, stride=7, batch_size=4, progress=done.append)
    assert sum(done) == sum(one.activation.numel() for one in found)
    assert max(done) <= 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 40, "stride": 4}, "larger than the image"),
        ({"size": 4, "stride": 0}, "at least 1"),
        ({"size": 4, "stride": 4, "layer": "8"}, "no feature maps"),
        ({"size": 4, "stride": 4, "layer": "conv9"}, "no layer conv9"),
        ({"size": 4, "stride": 4, "labels": [9]}, "no class 9"),
        ({"size": 4, "stride": 4, "labels": [1, 2]}, "2 labels"),
        ({"size": 4, "stride": 4, "batch_size": 0}, "batch_size"),
    ],
)
def test_mistakes_are_named(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        occlude(chain(), pictures(1), **options)
