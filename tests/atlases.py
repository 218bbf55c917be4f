"""Atlases of noise, for what draws and shows them."""

from collections.abc import Sequence

import torch

from zf_lightning.analysis.distributions import Detection, Example, MapDistribution
from zf_lightning.atlas import Atlas, LayerAtlas
from zf_lightning.atlas.levels import in_steps


def described(maps: int, *, label: int) -> list[MapDistribution]:
    """Feature maps that half of eight images excite; a class is detected well."""
    return [
        MapDistribution(
            feature_map=number,
            images=8,
            excited=0.5,
            quantiles=(Example(0.5, 0.0, 3), Example(0.9, 2.5, 7)),
            histogram=((0.0, 0.0, 4), (1.25, 1.375, 1), (2.5, 2.75, 2), (2.75, 3.0, 1)),
            classes=(Detection(label, 0.75, 0.25, 0.8, 1.25), Detection(0, 0.5, 0.5, 0.6, 0.0)),
        )
        for number in range(maps)
    ]


def noise_atlas(
    layers: Sequence[tuple[str, int, int]],
    *,
    images: int = 9,
    size: int = 64,
    classes: Sequence[str] = ("car", "cat"),
    drawn: int | None = None,
    epoch: int | None = None,
) -> Atlas:
    """Layers given by name, number of feature maps and receptive field; the first are `drawn`.

    The images of feature map `m` are of class `m` modulo the number of classes, and called
    `class/number.jpg`.
    """
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, maps, field in layers:
        tile = min(field, size)
        number = maps if drawn is None else min(drawn, maps)
        indices = torch.arange(maps * images).view(maps, images)
        corners = torch.randint(0, size - tile + 1, (maps, images, 2), generator=generator)
        shape = (number, images, 3, tile, tile)
        noise = torch.rand(shape, generator=torch.Generator().manual_seed(1))
        levels, steps, peaks = in_steps(noise * 2 - 1)
        found[name] = LayerAtlas(
            layer=name,
            receptive_field=(field, field),
            activations=torch.rand(maps, images, generator=generator).sort(1, True).values + 1,
            indices=indices,
            labels=(torch.arange(maps) % len(classes))[:, None].expand(maps, images),
            rows=torch.zeros_like(indices),
            columns=torch.zeros_like(indices),
            windows=torch.cat([corners, torch.full_like(corners, field)], -1),
            nans=torch.zeros(maps, dtype=torch.int64),
            drawn=torch.arange(number),
            tiles=corners[:number],
            patches=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            inside=torch.ones(number, images, tile, tile, dtype=torch.bool),
            levels=levels,
            steps=steps,
            peaks=peaks,
        )
    most = max(maps for _, maps, _ in layers)
    names = {
        map_ * images + rank: f"{classes[map_ % len(classes)]}/{map_ * images + rank}.jpg"
        for map_ in range(most)
        for rank in range(images)
    }
    return Atlas(
        layers=found,
        input_size=(size, size),
        rule="deconvnet",
        norm="identity",
        epoch=epoch,
        classes=tuple(classes),
        split="val",
        names=names,
    )
