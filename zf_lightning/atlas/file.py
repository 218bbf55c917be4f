"""The atlas: for each feature map its strongest images, and for some of them what excited it.

On disk it is one safetensors file (`atlas/epoch=003.safetensors`), which is all that `load` needs,
and beside it an index in JSON for people and web pages.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from zf_lightning.atlas.earlier import FORMAT_1, layers_of_1
from zf_lightning.atlas.layer import LayerAtlas, Mismatch
from zf_lightning.atlas.on_disk import FORMAT, header_of, layers_of, tensors_of
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.sealed import read_tensors, write_json, write_tensors


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
        tensors = tensors_of(self.layers, self.input_size)
        write_tensors(path, FORMAT, tensors, self._header())
        # Last: where there is an index, there is a whole atlas.
        write_json(path.with_suffix(".json"), self.index(), indent=None)

    @classmethod
    def load(cls, path: Path) -> "Atlas":
        """Read what `save` wrote. Raises UserError for a file that is something else."""
        for version in (FORMAT, FORMAT_1):
            header, tensors = read_tensors(path, version)
            if header:
                break
        else:
            raise UserError(
                f"{path} is not an atlas of this version ({FORMAT}): make it again, or read it "
                "with the version that wrote it."
            )
        try:
            size = header["input_size"] = tuple(header["input_size"])
            header["classes"] = tuple(header["classes"])
            # JSON's keys are text; atlases of before 0.2 name no images.
            header["names"] = {int(key): name for key, name in header.get("names", {}).items()}
            headers = header.pop("layers")
            read = layers_of if version == FORMAT else layers_of_1
            layers = read(tensors, headers, size)
            return cls(layers=layers, **header)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as problem:
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
            "layers": {layer: header_of(found) for layer, found in self.layers.items()},
        }


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
