"""ImageNet (ILSVRC 2012) in its usual layouts."""

from pathlib import Path

import numpy

from zf_lightning.data.sources.base import LabelledFiles, Split
from zf_lightning.data.sources.folder import FolderSource
from zf_lightning.data.sources.imagenet_labels import (
    ImageNetLabels,
    find_labels,
    image_number,
    shown_names,
)
from zf_lightning.data.sources.scan import count_beside, folder_names, image_names
from zf_lightning.errors import UserError

#: Where the images are below the root: torchvision's layout, and Kaggle's.
IMAGES = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")


class ImageNetSource(FolderSource):
    """ImageNet, or a subset of its classes; labels are in the order of the sorted wnids.

    Training images lie in folders named by wnid. So may the validation images; or they lie flat,
    and the devkit, or Kaggle's `LOC_val_solution.csv`, has their labels. The validation images are
    tested on: the test labels are not public, and the paper does so too. Class names are such as
    "tench"; `class_ids` are the wnids.

    `val` alone is enough to test a trained network: without `train` there is nothing to learn from,
    and the classes are those of the devkit or of Kaggle's `LOC_synset_mapping.txt`, or else the
    folders of `val`.

    Args:
        root: the folder, see `expected`.
        exclude: wnids to leave out.
        train_per_class, seed: as for `SplitSource`.

    Raises:
        UserError: the folder is missing or laid out otherwise, or labels are missing.
    """

    expected = (
        "expected ROOT/train/<wnid>/*.JPEG, and ROOT/val/<wnid>/*.JPEG or ROOT/val/*.JPEG with the "
        "devkit (ILSVRC2012_devkit_t12.tar.gz, or its folder) in ROOT, or Kaggle's ILSVRC folder"
    )
    _labels = ImageNetLabels()

    def __init__(
        self,
        root: str | Path,
        *,
        exclude: list[str] | tuple[str, ...] = (),
        train_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(root, exclude=exclude, train_per_class=train_per_class, seed=seed)

    @property
    def devkit_ids(self) -> tuple[int, ...] | None:
        """The ILSVRC2012_ID of each class, as in submissions; None without the devkit."""
        numbers = [self._labels.devkit_ids.get(wnid) for wnid in self.class_ids]
        known = tuple(number for number in numbers if number is not None)
        return known if len(known) == len(numbers) else None

    def _read_splits(self) -> dict[Split, LabelledFiles]:
        folder = self._folder_of_images()
        self._labels = find_labels([self.root, *(self.root / part for part in IMAGES[1:])])
        train, val = folder / "train", folder / "val"
        known = tuple(sorted(set(self._labels.words) - self.exclude))
        if not train.is_dir() and known:
            self._class_ids = known
        else:
            self._class_ids = self._classes_in(train if train.is_dir() else val)
        given = [part for part in (train, val) if part.is_dir()]
        for part in given:
            if folder_names(part):
                count_beside(part, self.ignored)
        flat = "" if folder_names(val) else ", val/ flat with labels from a file"
        self.layout = f"splits {', '.join(f'{part.name}/' for part in given)}{flat}"
        if not folder_names(val):
            validation = self._flat_validation(val)
        elif loose := image_names(val, nested=False):
            raise UserError(
                f"{val} has images in class folders and {len(loose):,} beside them, as {loose[0]}: "
                "move all of them into folders, or none."
            )
        else:
            validation = self._labelled(val)
        if not train.is_dir():
            validation = self._checked(validation, val, train=self.root)
            return {"train": validation.subset([]), "val": validation}
        return {
            "train": self._checked(self._labelled(train), train, train=train),
            "val": self._checked(validation, val, train=train),
        }

    def _shown_names(self) -> tuple[str, ...]:
        return shown_names(self._class_ids, self._labels.words)

    def _folder_of_images(self) -> Path:
        folders = [self.root / part for part in IMAGES if (self.root / part / "val").is_dir()]
        for folder in folders:
            train = folder / "train"
            if train.is_dir():
                if not folder_names(train) and any(train.glob("n*.tar")):
                    raise UserError(
                        f"{train} holds an archive of each class; unpack them: cd {train} && for "
                        "file in *.tar; do mkdir ${file%.tar} && tar -xf $file -C ${file%.tar}; "
                        "done"
                    )
                return folder
        if any(self.root.glob("ILSVRC2012_img_*.tar")):
            raise UserError(
                f"{self.root} holds ImageNet's archives; torchvision unpacks them: python -c \"from"
                " torchvision.datasets import ImageNet; [ImageNet('ROOT', split) for split in "
                "('train', 'val')]\"."
            )
        if folders:
            return folders[0]
        raise UserError(f"{self.root} has no folders train and val; {self.expected}.")

    def _flat_validation(self, folder: Path) -> LabelledFiles:
        labels = self._labels.validation
        if not labels:
            raise UserError(
                f"The images in {folder} lie flat, and nothing in {self.root} says what they show;"
                f" {self.expected}."
            )
        label_of = {wnid: label for label, wnid in enumerate(self._class_ids)}
        names, found = [], []
        for name in image_names(folder, nested=False, ignored=self.ignored):
            wnid = labels.get(image_number(name) or 0)
            if wnid is None:
                raise UserError(f"There is no label for {folder / name}.")
            if wnid in label_of:
                names.append((folder / name).relative_to(self.root).as_posix())
                found.append(label_of[wnid])
            elif wnid not in self.exclude:
                raise UserError(
                    f"{folder / name} is of class {wnid}, which has no training images; leave it "
                    "out with data.exclude."
                )
        if not names:
            raise UserError(f"{folder} has no images of these classes; {self.expected}.")
        # Class by class, as they lie in folders.
        order = numpy.argsort(numpy.array(found, dtype=numpy.int64), kind="stable")
        return LabelledFiles(self.root, names, found).subset(order)
