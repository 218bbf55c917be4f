"""The atlas: for each feature map its strongest images, and for some of them what excited it.

On disk it is one safetensors file (`atlas/epoch=003.safetensors`), which is all that `load` needs,
and beside it an index in JSON for people and web pages. Its tensors are compressed (`packing`);
what lies beyond the border follows from where a tile begins, and is not stored.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zf_lightning.atlas.packing import packed, unpacked, unpacked_2
from zf_lightning.deconv.receptive_field import inside_image
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.sealed import read_tensors, write_json, write_tensors

FORMAT = "zf-lightning atlas 3"
#: Before 0.2: nothing was compressed, or pixels alone.
FORMAT_1, FORMAT_2 = "zf-lightning atlas 1", "zf-lightning atlas 2"


@dataclass(frozen=True)
class Mismatch:
    """An activation that was not found again when its unit was projected."""

    feature_map: int
    rank: int
    index: int
    recorded: float
    recomputed: float


class Score(NamedTuple):
    """A number about a feature map's pictures: the mean of some samples, and its standard error."""

    mean: float
    #: None for a single sample.
    error: float | None
    samples: int


@dataclass
class LayerAtlas:
    """What is known of one layer: C feature maps, k images each, M maps with tiles of `h`×`w`.

    Pixels are in the order RGB, tensors `[C, k, ...]` strongest image first. Where only the tile of
    the strongest image was kept, tiles are `[M, 1, ...]`.
    """

    layer: str
    #: Receptive field in pixels, height and width; tiles are smaller where the image is.
    receptive_field: tuple[int, int]
    #: `[C, k]` float32; -inf where there was no image. 0 after a ReLU: nothing excited the map.
    activations: Tensor
    #: `[C, k]` int64, of the dataset; -1 where there was no image.
    indices: Tensor
    #: `[C, k]` int64, the image's class; -1 where it is not known.
    labels: Tensor
    #: `[C, k]` int64, the unit's position in the feature map.
    rows: Tensor
    columns: Tensor
    #: `[C, k, 4]` int64: top, left, height, width of what the unit sees, in pixels of the
    #: network's input; negative where it begins beyond the border.
    windows: Tensor
    #: `[C]` int64: in how many images the feature map held a NaN.
    nans: Tensor
    #: `[M]` int64: the feature maps that have tiles.
    drawn: Tensor
    #: `[M, k, 2]` int64: first row and column of each tile in the image.
    tiles: Tensor
    #: `[M, k, 3, h, w]` uint8: what the unit saw; 0 beyond the border.
    patches: Tensor
    #: `[M, k, h, w]` bool: False beyond the border.
    inside: Tensor
    #: `[M, k, 3, h, w]` float16 in [-1, 1]: the projections, each divided by its peak, and
    #: `packing.rounded`.
    scaled_projections: Tensor
    #: `[M, k]` float32: the largest magnitude of each projection, in units of the input.
    peaks: Tensor
    mismatches: list[Mismatch] = field(default_factory=list)
    #: Of the drawn feature maps, by name: samples float32 `[M, n]`, NaN where there is none.
    #: What they mean: `zf_lightning/analysis/map_scores.py`.
    scores: dict[str, Tensor] = field(default_factory=dict)

    def not_scored(self, size: int) -> Tensor:
        """No samples `[M, size]` of the drawn feature maps."""
        return torch.full((len(self.drawn), size), torch.nan)

    def scores_of(self, place: int) -> dict[str, Score]:
        """What is known of the drawn feature map at a place in `drawn`."""
        found = {}
        for name, samples in self.scores.items():
            values = samples[place][samples[place].isfinite()].double()
            count = len(values)
            if count:
                error = float(values.std()) / math.sqrt(count) if count > 1 else None
                found[name] = Score(float(values.mean()), error, count)
        return found

    def mean_scores(self) -> dict[str, float]:
        """Means over the drawn feature maps of which a score is known."""
        means = {name: samples.nanmean(1).nanmean() for name, samples in self.scores.items()}
        return {name: float(mean) for name, mean in means.items() if mean.isfinite()}

    @property
    def clipped(self) -> bool:
        """Whether the receptive field exceeds the image, so that tiles show less than it."""
        return tuple(self.patches.shape[-2:]) != tuple(self.receptive_field)

    def select(self, feature_maps: Sequence[int]) -> "LayerAtlas":
        """The same with the tiles of some of the drawn feature maps, in their order."""
        where = {int(number): place for place, number in enumerate(self.drawn)}
        places = torch.tensor([where[number] for number in feature_maps], dtype=torch.int64)
        scores = {name: samples[places] for name, samples in self.scores.items()}
        return replace(self, scores=scores, **{name: getattr(self, name)[places] for name in TILES})

    def strongest(self) -> "LayerAtlas":
        """The same with the tile of each drawn feature map's strongest image alone."""
        tiles = {name: getattr(self, name)[:, :1] for name in TILES if name != "drawn"}
        return replace(self, **tiles)

    @classmethod
    def joined(cls, parts: Sequence["LayerAtlas"]) -> "LayerAtlas":
        """One layer of several parts, each with the tiles of other feature maps."""
        tiles: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts]) for name in TILES
        }
        # A part knows the labels of the images that it has read.
        labels = torch.stack([part.labels for part in parts]).amax(0)
        mismatches = [one for part in parts for one in part.mismatches]
        sizes = {name: len(some[0]) for part in parts for name, some in part.scores.items()}
        scores = {
            name: torch.cat([part.scores.get(name, part.not_scored(size)) for part in parts])
            for name, size in sizes.items()
        }
        return replace(parts[0], labels=labels, mismatches=mismatches, scores=scores, **tiles)

    @property
    def projections(self) -> Tensor:
        """`[M, k, 3, h, w]` float32, comparable between images and feature maps."""
        return self.scaled_projections.float() * self.peaks[..., None, None, None]


@dataclass
class Atlas:
    """The layers of one network at one time, and how they were projected."""

    layers: dict[str, LayerAtlas]
    #: Height and width of the network's input in pixels.
    input_size: tuple[int, int]
    rule: str
    norm: str
    #: The epoch after which it was made, counted from 0; None outside training.
    epoch: int | None = None
    #: Names of the classes, by label; may be empty.
    classes: tuple[str, ...] = ()
    #: The split of the dataset that the images are of; None where there was none.
    split: str | None = None
    #: File names of the images of the drawn feature maps, by dataset index; may be empty.
    names: dict[int, str] = field(default_factory=dict)
    #: How feature maps were scored, for comparison; empty where they were not.
    scoring: str = ""

    @property
    def mismatches(self) -> list[tuple[str, Mismatch]]:
        """Activations that were not found again, with their layers: to be reported."""
        return [
            (layer, mismatch)
            for layer, found in self.layers.items()
            for mismatch in found.mismatches
        ]

    def class_names(self, layer: str, feature_map: int) -> list[str]:
        """The class of each of a feature map's images, strongest first.

        Empty where the class is not known, or where the image does not excite the feature map.
        """
        labels = self.layers[layer].labels[feature_map].tolist()
        activations = self.layers[layer].activations[feature_map].tolist()
        return [
            self.classes[label] if 0 <= label < len(self.classes) and activation else ""
            for label, activation in zip(labels, activations, strict=True)
        ]

    def strongest(self) -> "Atlas":
        """The same with the tile of each drawn feature map's strongest image alone."""
        return replace(self, layers={name: one.strongest() for name, one in self.layers.items()})

    def save(self, path: Path) -> None:
        """Write `path` (`….safetensors`) and the index beside it (`….json`), each atomically."""
        path = Path(path)
        tensors = {}
        for layer, found in self.layers.items():
            for name in TENSORS:
                value = getattr(found, name)
                tensors[f"{layer}/{name}"] = value if name in PLAIN else packed(value)
            for name, samples in found.scores.items():
                tensors[f"{layer}/scores/{name}"] = samples
        write_tensors(path, FORMAT, tensors, self._header())
        # Last: where there is an index, there is a whole atlas.
        write_json(path.with_suffix(".json"), self.index(), indent=None)

    @classmethod
    def load(cls, path: Path) -> "Atlas":
        """Read what `save` wrote. Raises UserError for a file that is something else."""
        for version in (FORMAT, FORMAT_2, FORMAT_1):
            header, tensors = read_tensors(path, version)
            if header:
                break
        else:
            raise UserError(f"{path} is not an atlas of this version ({FORMAT}).")
        try:
            header["input_size"] = tuple(header["input_size"])
            header["classes"] = tuple(header["classes"])
            # JSON's keys are text; atlases of before 0.2 name no images.
            header["names"] = {int(key): name for key, name in header.get("names", {}).items()}
            layers = {}
            for layer, values in header.pop("layers").items():
                found = {name: tensors[f"{layer}/{name}"] for name in TENSORS}
                if version != FORMAT_1:
                    found |= _unpacked(found, values["tile_size"], version)
                layers[layer] = LayerAtlas(
                    layer=layer,
                    receptive_field=tuple(values["receptive_field"]),
                    mismatches=[Mismatch(**one) for one in values["mismatches"]],
                    # Not in atlases of before 0.2.
                    scores={
                        name: tensors[f"{layer}/scores/{name}"] for name in values.get("scores", [])
                    },
                    inside=_inside(found, header["input_size"]),
                    **found,
                )
            return cls(layers=layers, **header)
        except (KeyError, TypeError, AttributeError, ValueError, zlib.error) as problem:
            raise DamagedFile.at(path, problem) from problem

    def index(self) -> dict[str, Any]:
        """The contents as plain data: each feature map's images, and where its tiles are."""
        layers = {}
        for layer, found in self.layers.items():
            places = {int(number): place for place, number in enumerate(found.drawn)}
            layers[layer] = {
                "receptive_field": list(found.receptive_field),
                "tile_size": list(found.patches.shape[-2:]),
                "nans": int(found.nans.sum()),
                "mismatches": [plain_json(asdict(mismatch)) for mismatch in found.mismatches],
                "feature_maps": [
                    {
                        "feature_map": number,
                        # Place of its tiles in the tensors, None if it has none.
                        "tile": places.get(number),
                        "activations": [
                            plain_json(value) for value in found.activations[number].tolist()
                        ],
                        "indices": found.indices[number].tolist(),
                        "labels": found.labels[number].tolist(),
                        "positions": torch.stack(
                            [found.rows[number], found.columns[number]], -1
                        ).tolist(),
                        "scores": {}
                        if number not in places
                        else {
                            name: plain_json(score._asdict())
                            for name, score in found.scores_of(places[number]).items()
                        },
                    }
                    for number in range(len(found.activations))
                ],
            }
        return {**self._header(), "layers": layers}

    def _header(self) -> dict[str, Any]:
        return {
            "input_size": list(self.input_size),
            "rule": self.rule,
            "norm": self.norm,
            "epoch": self.epoch,
            "classes": list(self.classes),
            "split": self.split,
            "names": self.names,
            "scoring": self.scoring,
            "layers": {
                layer: {
                    "receptive_field": list(found.receptive_field),
                    "tile_size": list(found.patches.shape[-2:]),
                    "mismatches": [asdict(mismatch) for mismatch in found.mismatches],
                    "scores": [*found.scores],
                }
                for layer, found in self.layers.items()
            },
        }


#: What there is for each drawn feature map.
TILES = ("drawn", "tiles", "patches", "inside", "scaled_projections", "peaks")
#: Tensors in the file, and those that are not compressed, from which the others have their shapes.
TENSORS = tuple(
    one.name for one in fields(LayerAtlas) if one.type is Tensor and one.name != "inside"
)
PLAIN = ("activations", "peaks")


def _unpacked(
    tensors: dict[str, Tensor], tile_size: Sequence[int], version: str
) -> dict[str, Tensor]:
    """A layer's compressed tensors, as they were."""
    maps, tiles = (tensors[name].shape for name in PLAIN)
    pixels = {
        name: (kind, (*tiles, 3, *tile_size))
        for name, kind in (("patches", "uint8"), ("scaled_projections", "float16"))
    }
    if version == FORMAT_2:
        return {name: unpacked_2(tensors[name], *how) for name, how in pixels.items()}
    whole: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("indices", "labels", "rows", "columns"), maps
    )
    whole |= {"windows": (*maps, 4), "nans": maps[:1], "drawn": tiles[:1], "tiles": (*tiles, 2)}
    every = {**pixels, **{name: ("int64", shape) for name, shape in whole.items()}}
    return {name: unpacked(tensors[name], *how) for name, how in every.items()}


def _inside(tensors: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Where tiles lie inside the image; nowhere where there is no image."""
    maps, images, _, *tile = tensors["patches"].shape
    tops, lefts = tensors["tiles"].flatten(0, 1).unbind(-1)
    inside = inside_image(tops, lefts, (tile[0], tile[1]), size).view(maps, images, *tile)
    return inside & (tensors["indices"][tensors["drawn"], :images] >= 0)[..., None, None]


def epoch_files(folder: Path) -> list[Path]:
    """The atlases that a training left in a run's folder, in the order of their epochs."""
    return sorted((folder / "atlas").glob("epoch=*.safetensors"))


def plain_json(value: Any) -> Any:
    """JSON has no NaN and no infinity: numbers that are not finite become their names."""
    if isinstance(value, dict):
        return {key: plain_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value
