"""Images in folders, one folder a class."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy

from zf_lightning.data.sources.base import SPLITS, LabelledFiles, Split, SplitSource
from zf_lightning.data.sources.scan import IMAGE_SUFFIXES, count_beside, folder_names, image_names
from zf_lightning.errors import UserError

log = logging.getLogger(__name__)

#: Usual names of the folders of splits, in lower case.
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class FolderSource(SplitSource[LabelledFiles]):
    """A folder with one folder a class, or with `train`, `val` and perhaps `test` of that kind.

    The folders of splits may have other usual names, as `Training` (`SPLIT_NAMES`). Images are
    found at any depth of a class folder. Without folders of their own the splits are drawn class by
    class from a seed. With `train` and `val` but no `test`, the validation images are tested on, as
    is usual for ImageNet.

    Args:
        root: the folder.
        exclude: class folders to leave out.
        validation_share, test_share: shares of each class for the splits drawn here.
        train_per_class: as for `SplitSource`.
        seed: decides the splits too.

    Raises:
        UserError: the folder is missing, is laid out otherwise, or has fewer than two classes.
    """

    #: What the errors say about a folder that is laid out otherwise.
    expected = (
        "expected either one folder a class (ROOT/dog/1.jpg, ROOT/cat/2.jpg) or "
        "ROOT/train and ROOT/val (and ROOT/test) with one folder a class in each"
    )
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
        super().__init__(train_per_class=train_per_class, seed=seed)
        if validation_share + test_share >= 1:
            raise UserError("data.validation_share and data.test_share leave nothing to train on.")
        self.root = Path(root).expanduser()
        self.exclude = frozenset(exclude)
        self.shares = {"val": validation_share, "test": test_share}
        self._class_ids: tuple[str, ...] = ()

    @property
    def class_ids(self) -> tuple[str, ...]:
        """Names of the class folders in alphabetical order."""
        self.prepare()
        return self._class_ids

    def _read(self) -> tuple[Sequence[str], dict[Split, LabelledFiles]]:
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder; {self.expected}.")
        splits = self._read_splits()
        return self._shown_names(), splits

    def _read_splits(self) -> dict[Split, LabelledFiles]:
        """Find the classes, `_class_ids`, and the images of the splits."""
        folders = self._split_folders()
        if not folders:
            self.layout = f"one folder a class, splits drawn from seed {self.seed}"
            self._class_ids = self._classes_in(self.root)
            count_beside(self.root, self.ignored)
            return self._draw_splits(self._labelled(self.root))
        self.layout = "splits " + ", ".join(f"{folder.name}/" for folder in folders.values())
        for name in {*folder_names(self.root)} - {folder.name for folder in folders.values()}:
            self.ignored[f"folder {name} beside the splits"] = 1
        for folder in folders.values():
            count_beside(folder, self.ignored)
        self._class_ids = self._classes_in(folders["train"])
        for folder in folders.values():
            self._refuse_new_classes(folder, train=folders["train"])
        return {
            split: self._checked(self._labelled(folder), folder, train=folders["train"])
            for split, folder in folders.items()
        }

    def _split_folders(self) -> dict[Split, Path]:
        """The folders of the splits; none where the root has folders of classes."""
        names = folder_names(self.root)
        found = {
            split: [name for name in names if name.lower() in known]
            for split, known in SPLIT_NAMES.items()
        }
        given = [name for split in found.values() for name in split]
        # `Training` alone may be a class; `train` is what the documentation calls a split.
        with_train = "train" in given or (found["train"] and len(given) > 1)
        if not given or not (with_train or len(given) == len(names)):
            return {}
        listed = ", ".join(f"{name} ({split})" for split in SPLITS for name in found[split])
        for split in SPLITS:
            if len(found[split]) > 1:
                raise UserError(f"{self.root} has several folders of one split: {listed}.")
            if split != "test" and not found[split]:
                raise UserError(
                    f"{self.root} has no folder {split}, only {listed}; {self.expected}."
                )
        return {split: self.root / found[split][0] for split in SPLITS if found[split]}

    def _shown_names(self) -> Sequence[str]:
        """Class names for people."""
        return self._class_ids

    def _draw_splits(self, files: LabelledFiles) -> dict[Split, LabelledFiles]:
        chosen: dict[Split, list[int]] = {split: [] for split in SPLITS}
        for label, name in enumerate(self._class_ids):
            members = numpy.flatnonzero(files.labels == label)
            if len(members) < 3:
                raise UserError(
                    f"{self.root / name} has {len(members)} images; a class needs at least 3, one "
                    "for each split (leave a class out with data.exclude)."
                )
            order = numpy.random.default_rng([self.seed, label]).permutation(len(members))
            counts = [max(1, round(self.shares[s] * len(members))) for s in ("val", "test")]
            val, test, train = numpy.split(order, numpy.cumsum(counts))
            for split, part in zip(SPLITS, (train, val, test), strict=True):
                chosen[split] += members[numpy.sort(part)].tolist()
        return {split: files.subset(chosen[split]) for split in SPLITS}

    def _labelled(self, folder: Path) -> LabelledFiles:
        """All images of the class folders in `folder`; a class without a folder has none."""
        names, labels = [], []
        inner = set()
        for label, name in enumerate(self._class_ids):
            found = image_names(folder / name, nested=self.nested, ignored=self.ignored)
            below = (folder / name).relative_to(self.root).as_posix()
            inner.add(frozenset(file.split("/")[0] if "/" in file else "" for file in found))
            names += [f"{below}/{file}" for file in found]
            labels += [label] * len(found)
        if not names:
            loose = image_names(folder, nested=False)
            beside = f", but {len(loose):,} lie beside them" if loose else ""
            raise UserError(
                f"The class folders of {folder} contain no images "
                f"({', '.join(IMAGE_SUFFIXES)}){beside}; {self.expected}."
            )
        shared = next(iter(inner))
        if len(inner) == 1 and len(shared) > 1 and "" not in shared:
            log.warning(
                f"{', '.join(self._class_ids[:5])} are taken for classes, but each has the folders "
                f"{', '.join(sorted(shared)[:5])}: if those are the classes, make them the folders "
                f"of {folder}, or of train and val in it."
            )
        return LabelledFiles(self.root, names, labels)

    def _classes_in(self, folder: Path) -> tuple[str, ...]:
        """The class folders in `folder`, without those of `exclude`."""
        found = folder_names(folder)
        unknown = self.exclude - set(found)
        if unknown:
            raise UserError(
                f"data.exclude names {', '.join(sorted(unknown))}, which are not in {folder}."
            )
        names = tuple(name for name in found if name not in self.exclude)
        if self.exclude:
            self.ignored["class folders (data.exclude)"] = len(self.exclude)
        if len(names) < 2:
            what = f"one class folder ({names[0]})" if names else "no class folders"
            raise UserError(
                f"{folder} has {what}, and learning needs at least two; {self.expected}."
            )
        return names

    def _refuse_new_classes(self, folder: Path, *, train: Path) -> None:
        """Raises UserError if `folder` has classes that `train` does not have."""
        extra = set(folder_names(folder)) - set(self._class_ids) - self.exclude
        if extra:
            raise UserError(
                f"{folder} has classes that {train} does not have: {', '.join(sorted(extra)[:5])}."
            )

    def _checked(self, files: LabelledFiles, folder: Path, *, train: Path) -> LabelledFiles:
        """The files of `folder`; classes without images are reported.

        Raises UserError for classes without training images.
        """
        self._refuse_new_classes(folder, train=train)
        counts = numpy.bincount(files.labels, minlength=len(self._class_ids))
        empty = [name for name, count in zip(self._class_ids, counts, strict=True) if not count]
        if empty:
            more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
            missing = (
                f"{folder} has no images of {len(empty)} of {len(counts)} classes: "
                f"{', '.join(empty[:5])}{more}"
            )
            if folder == train:
                raise UserError(f"{missing}; leave them out with data.exclude.")
            log.warning(f"{missing}.")
        return files
