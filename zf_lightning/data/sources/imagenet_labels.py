"""Labels of flat validation images and names of classes, from the files around ImageNet's images.

Two orders of the 1,000 classes are in use. Labels here, and in torchvision, are those of the sorted
WordNet identifiers (wnids). The devkit has its own ILSVRC2012_IDs, 1 to 1,000 in another order, and
its validation labels are such. `meta.mat` tells which is which.
"""

import csv
import io
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scipy.io import loadmat

from zf_lightning.errors import UserError, reason_of
from zf_lightning.models.torchvision_network import imagenet_class_names
from zf_lightning.system.compat import imagenette_names
from zf_lightning.system.digests import digest_of

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
DEVKIT = "ILSVRC2012_devkit_t12"
SOLUTION = "LOC_val_solution.csv"
MAPPING = "LOC_synset_mapping.txt"
#: Folders below the root that such files are kept in.
PLACES = ("", "data", f"{DEVKIT}/data", "devkit/data", "val", "validation")
#: Of the sorted wnids of ILSVRC 2012, each on a line: torchvision has the names in this order.
STANDARD_WNIDS = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"


@dataclass
class ImageNetLabels:
    """What the files say; empty where there is none."""

    #: The wnid of a validation image, by the number in its file's name.
    validation: dict[int, str] = field(default_factory=dict)
    #: Synonyms of a class, as "tench, Tinca tinca", by wnid.
    words: dict[str, str] = field(default_factory=dict)
    #: The devkit's number of a class, by wnid.
    devkit_ids: dict[str, int] = field(default_factory=dict)


def find_labels(folders: Sequence[Path]) -> ImageNetLabels:
    """Read the devkit, packed or not, or Kaggle's lists, from the first folders that have them.

    Raises UserError where a file is not as it should be.
    """
    places = [folder / name for folder in folders for name in PLACES]
    labels = ImageNetLabels()
    devkit = _devkit_files(folders, places)
    if META in devkit:
        _read_meta(devkit[META], labels)
    mapping = _first(places, MAPPING)
    if mapping is not None:
        rows = (line.split(" ", 1) for line in mapping.read_text().splitlines() if line.strip())
        labels.words |= {wnid: words.strip() for wnid, words in rows}
    solution = _first(places, SOLUTION)
    if solution is not None:
        _read_solution(solution, labels)
    elif GROUND_TRUTH in devkit:
        _read_ground_truth(devkit[GROUND_TRUTH].decode().split(), labels)
    return labels


def image_number(name: str) -> int | None:
    """293 of `ILSVRC2012_val_00000293.JPEG`."""
    number = re.search(r"(\d{8})(?=\D*$)", Path(name).stem)
    return int(number.group(1)) if number else None


def shown_names(wnids: Sequence[str], words: dict[str, str]) -> tuple[str, ...]:
    """Class names for people; a wnid of which nothing is known stands for itself.

    For the 1,000 classes of ILSVRC 2012 they are torchvision's, which are all different, whatever
    else is there: a checkpoint must fit the same data on another machine.
    """
    if digest_of(["\n".join(wnids)]) == STANDARD_WNIDS:
        return tuple(imagenet_class_names())
    known = imagenette_names() | {wnid: text.split(", ")[0] for wnid, text in words.items()}
    names = [known.get(wnid, wnid) for wnid in wnids]
    # "crane" is a bird and a machine.
    return tuple(
        name if names.count(name) == 1 else f"{name} ({wnid})"
        for name, wnid in zip(names, wnids, strict=True)
    )


def _first(places: Sequence[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).is_file()), None)


def _devkit_files(folders: Sequence[Path], places: Sequence[Path]) -> dict[str, bytes]:
    """Contents of `meta.mat` and of the ground truth, where they lie open or in the archive."""
    files = {name: _first(places, name) for name in (META, GROUND_TRUTH)}
    contents = {name: path.read_bytes() for name, path in files.items() if path is not None}
    packed = _first(folders, f"{DEVKIT}.tar.gz")
    if packed is None or len(contents) == len(files):
        return contents
    try:
        with tarfile.open(packed) as archive:
            for member in archive.getmembers():
                name = Path(member.name).name
                file = archive.extractfile(member) if name in files and member.isfile() else None
                if file is not None and name not in contents:
                    contents[name] = file.read()
    except (tarfile.TarError, EOFError, OSError) as problem:
        raise UserError(f"{packed} cannot be read as an archive ({problem}).") from problem
    return contents


def _read_meta(content: bytes, labels: ImageNetLabels) -> None:
    try:
        synsets = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
        # Number, wnid, words, gloss, number of children; groups of classes have children.
        for row in synsets:
            if int(row[4]) == 0:
                labels.devkit_ids[str(row[1])] = int(row[0])
                labels.words[str(row[1])] = str(row[2])
    except Exception as problem:
        reason = reason_of(problem)
        raise UserError(f"The devkit's {META} is not as expected ({reason}).") from problem


def _read_ground_truth(lines: list[str], labels: ImageNetLabels) -> None:
    wnid_of = {str(number): wnid for wnid, number in labels.devkit_ids.items()}
    for number, line in enumerate(lines, start=1):
        if line.startswith("n"):
            # Lists of wnids are in use as well.
            labels.validation[number] = line
        elif not wnid_of:
            raise UserError(
                f"{GROUND_TRUTH} numbers the classes in the devkit's order, which {META} tells: "
                f"put the devkit's {META} beside it, or {DEVKIT}.tar.gz into data.root."
            )
        elif line not in wnid_of:
            raise UserError(f"{GROUND_TRUTH}, line {number}: {line} is not a class of the devkit.")
        else:
            labels.validation[number] = wnid_of[line]


def _read_solution(path: Path, labels: ImageNetLabels) -> None:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            number = image_number(row.get("ImageId") or "")
            wnid = (row.get("PredictionString") or "").split(" ")[0]
            if number is None or not wnid:
                raise UserError(f"{path} is not Kaggle's list of validation labels: {row}.")
            labels.validation[number] = wnid
