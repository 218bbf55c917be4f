"""Jaccard, similarity and settling of atlases whose contents are known."""

import math
from collections.abc import Sequence

import pytest
import torch

from zf_lightning.analysis import epochs_to_show, evolution
from zf_lightning.analysis.evolution import settled_maps
from zf_lightning.atlas import Atlas, LayerAtlas
from zf_lightning.errors import UserError


def atlas(epoch: int | None, images: Sequence[Sequence[int]], *, turned: float = 0.0) -> Atlas:
    """One layer of two feature maps with top 3 `images` each, the first of them drawn."""
    indices = torch.tensor(images)
    activations = torch.where(indices >= 0, 1.0, 0.0)
    levels = torch.zeros(1, 3, 3, 2, 2, dtype=torch.int16)
    levels[0, :, 0, 0, 0] = round(10_000 * math.cos(turned))
    levels[0, :, 0, 0, 1] = round(10_000 * math.sin(turned))
    layer = LayerAtlas(
        "conv1",
        (2, 2),
        activations,
        indices,
        labels=torch.zeros_like(indices),
        rows=torch.zeros_like(indices),
        columns=torch.zeros_like(indices),
        windows=torch.zeros(2, 3, 4, dtype=torch.int64),
        nans=torch.zeros(2, dtype=torch.int64),
        drawn=torch.tensor([0]),
        tiles=torch.zeros(1, 3, 2, dtype=torch.int64),
        patches=torch.zeros(1, 3, 3, 2, 2, dtype=torch.uint8),
        inside=torch.ones(1, 3, 2, 2, dtype=torch.bool),
        levels=levels,
        steps=torch.full((1, 3), 10_000),
        peaks=torch.ones(1, 3),
    )
    return Atlas({"conv1": layer}, (2, 2), "deconvnet", "identity", epoch=epoch)


def test_jaccard_and_jumps_count_images() -> None:
    atlases = [
        atlas(0, [[1, 2, 3], [4, 5, -1]]),
        atlas(1, [[2, 3, 9], [4, 5, -1]]),
        atlas(3, [[3, 2, 9], [-1, -1, -1]]),
    ]
    (found,) = evolution(atlases[::-1])
    assert found.epochs == (1, 2, 4)
    assert found.jaccard_with_previous.tolist() == [[0.5, 1.0], [1.0, 0.0]]
    assert found.jaccard_with_last[0].tolist() == [0.5, 0.0]
    assert found.jaccard_with_last[2, 0] == 1
    assert torch.isnan(found.jaccard_with_last[2, 1]), "nothing excites it: neither equal nor not"
    assert found.jumped.tolist() == [[True, False], [True, True]]


def test_similarity_is_the_cosine_of_the_strongest_projections() -> None:
    images = [[1, 2, 3], [4, 5, 6]]
    (found,) = evolution([atlas(0, images), atlas(1, images, turned=1.0)])
    assert found.similarity_with_previous[0, 0] == pytest.approx(0.5403, abs=1e-3)


def test_a_layer_settles_where_its_images_stay_those_of_the_end() -> None:
    end = [[1, 2, 3], [4, 5, 6]]
    other = [[7, 8, 9], [10, 11, 12]]
    epochs = [end, other, end, end, end]
    (found,) = evolution([atlas(epoch, images) for epoch, images in enumerate(epochs)])
    assert found.settled() == 3
    (found,) = evolution([atlas(epoch, images) for epoch, images in enumerate([end, other, end])])
    assert found.settled() is None
    (found,) = evolution([atlas(epoch, end) for epoch in range(3)])
    assert found.settled() == 1


def test_a_map_settles_by_itself() -> None:
    images = [[[1, 2, 3], [-1] * 3], [[7, 8, 9], [-1] * 3], *[[[1, 2, 3], [-1] * 3]] * 3]
    atlases = [atlas(epoch, one) for epoch, one in enumerate(images)]
    assert settled_maps(iter(atlases), atlases[-1]) == {"conv1": [3, None]}
    # Of one epoch alone nothing is known.
    assert settled_maps(atlases[-1:], atlases[-1]) == {"conv1": [None, None]}


def test_the_papers_epochs_are_shown_where_they_are() -> None:
    assert epochs_to_show(range(1, 71)) == [1, 2, 5, 10, 20, 30, 40, 64]
    assert epochs_to_show(range(1, 51)) == [1, 2, 5, 10, 20, 30, 40, 50]
    assert epochs_to_show(range(1, 13)) == [1, 2, 5, 10, 12]
    assert epochs_to_show([5, 10, 15]) == [5, 10, 15]
    assert epochs_to_show(range(1, 70), [3, 1]) == [1, 3]
    with pytest.raises(UserError, match="no atlas of epoch 9"):
        epochs_to_show([1, 2], [9])


def test_mistakes_are_named() -> None:
    images = [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(UserError, match="at least two"):
        evolution([atlas(0, images)])
    with pytest.raises(UserError, match="no epoch"):
        evolution([atlas(0, images), atlas(None, images)])
    other = atlas(1, images)
    other.layers["conv1"].drawn = torch.tensor([1])
    with pytest.raises(UserError, match="epochs 1 and 2"):
        evolution([atlas(0, images), other])
