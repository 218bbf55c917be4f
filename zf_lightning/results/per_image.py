"""Right or wrong, image by image: what a test leaves so that two networks compare in pairs.

`per_image.json` holds two bits an image: 13 kB for the 50,000 validation images of ImageNet.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zf_lightning.errors import DamagedFile
from zf_lightning.system.sealed import read_json, write_json

NAME = "per_image.json"


def write_per_image(folder: Path, splits: Mapping[str, Mapping[int, bool]]) -> Path:
    """Write by split whether the top-1 answer from ten crops was wrong, by the image's index.

    Images that were not scored, as their files could not be read, are left out of the mapping.
    """
    contents = {}
    for split, wrong in splits.items():
        flags = np.zeros((2, max(wrong, default=-1) + 1), dtype=bool)
        flags[0, list(wrong)] = True
        flags[1, list(wrong)] = list(wrong.values())
        scored, false = (np.packbits(some).tobytes().hex() for some in flags)
        contents[split] = {"images": flags.shape[1], "scored": scored, "wrong": false}
    return write_json(folder / NAME, contents)


def read_per_image(folder: Path, split: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Whether each image of a split was scored, and was wrong: two `[N]`.

    None if the file is damaged, lacks the split, or is not there, as in runs of version 0.1.0.
    """
    try:
        found = read_json(folder / NAME)[split]
    except (FileNotFoundError, DamagedFile, KeyError):
        return None
    scored, wrong = (
        np.unpackbits(
            np.frombuffer(bytes.fromhex(found[name]), dtype=np.uint8), count=found["images"]
        ).astype(bool)
        for name in ("scored", "wrong")
    )
    return scored, wrong
