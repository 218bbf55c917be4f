"""ImageNet (ILSVRC 2012) in the layouts that it is found in."""

from pathlib import Path

import numpy

from zf_lightning.data.sources.base import LabelledFiles
from zf_lightning.data.sources.class_folders import limit_per_class
from zf_lightning.data.sources.folder import FolderSource
from zf_lightning.data.sources.imagenet_labels import find_labels, image_number, shown_names
from zf_lightning.data.sources.scan import folder_names, image_names
from zf_lightning.errors import UserError

#: Where the images are below the root: torchvision's layout, and Kaggle's.
IMAGES = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
LAYOUT = (
    "expected ROOT/train/<wnid>/*.JPEG, and ROOT/val/<wnid>/*.JPEG or ROOT/val/*.JPEG with the "
    "devkit (ILSVRC2012_devkit_t12.tar.gz, or its folder) in ROOT, or Kaggle's ILSVRC folder"
)


class ImageNetSource(FolderSource):
    """ImageNet, or a subset of its classes; labels are in the order of the sorted wnids.

    Training images lie in folders named by wnid. So may the validation images; or they lie flat,
    and the devkit, or Kaggle's `LOC_val_solution.csv`, has their labels. The validation images are
    tested on: the test labels are not public, and the paper does so too.

    Args:
        root: the folder, see `LAYOUT`.
        exclude: wnids to leave out.
        train_per_class: use only so many training images of each class, drawn from the seed.
        seed: decides which.

    Raises:
        UserError: the folder is missing or laid out otherwise, or labels are missing.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        exclude: list[str] | tuple[str, ...] = (),
        train_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(root, exclude=exclude, train_per_class=train_per_class, seed=seed)
        self._shown: tuple[str, ...] = ()
        self._devkit_ids: tuple[int, ...] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names as "tench", in the order of the labels; `class_ids` are the wnids."""
        self.prepare()
        return self._shown

    @property
    def devkit_ids(self) -> tuple[int, ...] | None:
        """The ILSVRC2012_ID of each class, as in submissions; None without the devkit."""
        self.prepare()
        return self._devkit_ids

    def _scan(self) -> None:
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder; {LAYOUT}.")
        folder = self._folder_of_images()
        labels = find_labels([self.root, *(self.root / part for part in IMAGES[1:])])
        ids = self._classes_of(folder / "train")
        train = self._labelled(self._below(folder / "train"), ids)
        if self.train_per_class is not None:
            train = limit_per_class(train, self.train_per_class, seed=self.seed)
        if folder_names(folder / "val"):
            unknown = set(folder_names(folder / "val")) - set(ids) - self.exclude
            if unknown:
                raise UserError(
                    f"{folder / 'val'} has classes that {folder / 'train'} does not have: "
                    f"{', '.join(sorted(unknown)[:5])}."
                )
            val = self._labelled(self._below(folder / "val"), ids)
        else:
            val = self._flat_validation(folder / "val", ids, labels.validation)
        if not len(val):
            raise UserError(f"{folder / 'val'} has no images of these classes; {LAYOUT}.")
        self._splits = {"train": train, "val": val, "test": val}
        self._shown = shown_names(ids, labels.words)
        if all(wnid in labels.devkit_ids for wnid in ids):
            self._devkit_ids = tuple(labels.devkit_ids[wnid] for wnid in ids)
        self._class_ids = tuple(ids)
        self._tell_others()

    def _folder_of_images(self) -> Path:
        for part in IMAGES:
            folder = self.root / part
            if (folder / "train").is_dir() and (folder / "val").is_dir():
                self._check_unpacked(folder / "train")
                return folder
        if any(self.root.glob("ILSVRC2012_img_*.tar")):
            raise UserError(
                f"{self.root} holds ImageNet's archives; torchvision unpacks them: python -c \"from"
                " torchvision.datasets import ImageNet; [ImageNet('ROOT', split) for split in "
                "('train', 'val')]\"."
            )
        raise UserError(f"{self.root} has no folders train and val; {LAYOUT}.")

    @staticmethod
    def _check_unpacked(train: Path) -> None:
        if not folder_names(train) and any(train.glob("n*.tar")):
            raise UserError(
                f"{train} holds an archive of each class; unpack them: cd {train} && for file in "
                "*.tar; do mkdir ${file%.tar} && tar -xf $file -C ${file%.tar}; done"
            )

    def _flat_validation(
        self, folder: Path, ids: list[str], labels: dict[int, str]
    ) -> LabelledFiles:
        if not labels:
            raise UserError(
                f"The images in {folder} lie flat, and nothing in {self.root} says what they show;"
                f" {LAYOUT}."
            )
        label_of = {wnid: label for label, wnid in enumerate(ids)}
        names, found = [], []
        for name in image_names(folder, nested=False, others=self._others):
            number = image_number(name)
            if number is None or number not in labels:
                raise UserError(f"There is no label for {folder / name}.")
            wnid = labels[number]
            if wnid in label_of:
                names.append(f"{self._below(folder)}/{name}")
                found.append(label_of[wnid])
            elif wnid not in self.exclude:
                raise UserError(
                    f"{folder / name} is of class {wnid}, which has no training images; leave it "
                    "out with data.exclude."
                )
        # Class by class, as they lie in folders.
        order = numpy.argsort(numpy.array(found, dtype=numpy.int64), kind="stable")
        return LabelledFiles(self.root, names, found).subset(order)

    def _below(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()
