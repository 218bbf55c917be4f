"""Images in folders, one folder a class."""

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy

from zf_lightning.data.sources.base import SPLITS, LabelledFiles, Split
from zf_lightning.data.sources.class_folders import files_of_classes, limit_per_class
from zf_lightning.data.sources.scan import IMAGE_SUFFIXES, folder_names, image_names
from zf_lightning.errors import UserError

log = logging.getLogger(__name__)

LAYOUT = (
    "expected either one folder a class (ROOT/dog/1.jpg, ROOT/cat/2.jpg) or "
    "ROOT/train and ROOT/val (and ROOT/test) with one folder a class in each"
)


class FolderSource:
    """A folder with one folder a class, or with `train`, `val` and perhaps `test` of that kind.

    Images are found at any depth of a class folder.

    Without folders of their own the splits are drawn class by class from a seed. With `train` and
    `val` but no `test`, the validation images are tested on, as is usual for ImageNet.

    Args:
        root: the folder.
        exclude: class folders to leave out.
        validation_share, test_share: shares of each class for the splits drawn here.
        train_per_class: use only so many training images of each class, drawn from the seed.
        seed: decides the splits.

    Raises:
        UserError: the folder is missing, is laid out otherwise, or has fewer than two classes.
    """

    #: Whether images in folders within a class folder belong to the class.
    nested = True

    def __init__(
        self,
        root: str | Path,
        *,
        exclude: Collection[str] = (),
        validation_share: float = 0.1,
        test_share: float = 0.1,
        train_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 < validation_share < 1 or not 0 < test_share < 1:
            raise UserError("data.validation_share and data.test_share must be between 0 and 1.")
        if validation_share + test_share >= 1:
            raise UserError("data.validation_share and data.test_share leave nothing to train on.")
        if train_per_class is not None and train_per_class < 1:
            raise UserError("data.train_per_class must be at least 1, or null for all.")
        self.root = Path(root).expanduser()
        self.exclude = frozenset(exclude)
        self.shares = {"val": validation_share, "test": test_share}
        self.train_per_class = train_per_class
        self.seed = seed
        self._class_ids: tuple[str, ...] | None = None
        self._splits: dict[Split, LabelledFiles] = {}
        #: Suffixes of the files that are not images by their name.
        self._others: Counter[str] = Counter()

    def prepare(self) -> None:
        """Read the folder; raises UserError where it is not as expected."""
        if self._class_ids is None:
            self._scan()

    @property
    def class_ids(self) -> tuple[str, ...]:
        """Names of the class folders in alphabetical order."""
        self.prepare()
        assert self._class_ids is not None
        return self._class_ids

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called where a person reads it, in the order of the labels."""
        return self.class_ids

    def split(self, name: Split) -> LabelledFiles:
        """The files of a split."""
        self.prepare()
        return self._splits[name]

    def _scan(self) -> None:
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder; {LAYOUT}.")
        if (self.root / "train").is_dir():
            self._scan_given_splits()
        else:
            self._draw_splits()
        if self.train_per_class is not None:
            train = limit_per_class(self._splits["train"], self.train_per_class, seed=self.seed)
            self._splits["train"] = train
        self._tell_others()

    def _tell_others(self) -> None:
        if self._others:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in self._others.most_common(5))
            log.info(f"Left out of {self.root}, being no images by their names: {kinds}")

    def _scan_given_splits(self) -> None:
        if not (self.root / "val").is_dir():
            raise UserError(f"{self.root} has a folder train but no folder val; {LAYOUT}.")
        names = self._classes_of(self.root / "train")
        splits: dict[Split, LabelledFiles] = {}
        for split in SPLITS:
            if not (self.root / split).is_dir():
                continue
            extra = set(self._classes_of(self.root / split)) - set(names)
            if extra:
                raise UserError(
                    f"{self.root / split} has classes that {self.root / 'train'} does not have: "
                    f"{', '.join(sorted(extra)[:5])}."
                )
            splits[split] = self._labelled(split, names)
            if not len(splits[split]):
                raise UserError(f"{self.root / split} has no images in its class folders.")
        splits.setdefault("test", splits["val"])
        self._class_ids, self._splits = tuple(names), splits

    def _draw_splits(self) -> None:
        names = self._classes_of(self.root)
        files = self._labelled("", names)
        chosen: dict[Split, list[int]] = {split: [] for split in SPLITS}
        for label, name in enumerate(names):
            members = numpy.flatnonzero(files.labels == label)
            if len(members) < 3:
                raise UserError(
                    f"{self.root / name} has {len(members)} images; a class needs at least 3, one "
                    "for each split (leave a class out with data.exclude)."
                )
            for split, part in self._parts(len(members), label).items():
                chosen[split] += members[numpy.sort(part)].tolist()
        self._class_ids = tuple(names)
        self._splits = {split: files.subset(chosen[split]) for split in SPLITS}

    def _parts(self, count: int, label: int) -> dict[Split, numpy.ndarray]:
        order = numpy.random.default_rng([self.seed, label]).permutation(count)
        counts = {s: max(1, round(share * count)) for s, share in self.shares.items()}
        ends = numpy.cumsum([counts["val"], counts["test"]])
        val, test, train = numpy.split(order, ends)
        return {"train": train, "val": val, "test": test}

    def _labelled(self, folder: str, classes: list[str]) -> LabelledFiles:
        return files_of_classes(self.root, folder, classes, nested=self.nested, others=self._others)

    def _classes_of(self, folder: Path) -> list[str]:
        found = folder_names(folder)
        if folder == self.root or folder.name == "train":
            unknown = self.exclude - set(found)
            if unknown:
                raise UserError(
                    f"data.exclude names {', '.join(sorted(unknown))}, which are not in {folder}."
                )
        names = [name for name in found if name not in self.exclude]
        if len(names) < 2:
            what = f"one class folder ({names[0]})" if names else "no class folders"
            raise UserError(f"{folder} has {what}, and learning needs at least two; {LAYOUT}.")
        if not any(image_names(folder / name) for name in names):
            raise UserError(
                f"The class folders of {folder} hold no images "
                f"({', '.join(IMAGE_SUFFIXES)}); {LAYOUT}."
            )
        return names
