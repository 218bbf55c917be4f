"""A source without some of its files, such as those that another set has too (Sec. 5.2)."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from zf_lightning.data.sources.base import SPLITS, ImageSource, LabelledFiles, Split, SplitSource
from zf_lightning.errors import UserError


class SourceWithout(SplitSource[LabelledFiles]):
    """The images of `source`, without the files that are named.

    Args:
        source: any source of files.
        names: relative to the source's root, as `task=overlap` lists them, or to a folder in it
            (`n01440764/x.JPEG` is `train/n01440764/x.JPEG` too, but a bare `x.JPEG` is not).

    Raises:
        UserError: the source has no files of its own, or none of these names is in it.
    """

    def __init__(self, source: ImageSource, names: Collection[str]) -> None:
        super().__init__()
        self._source = source
        self._names = frozenset(names)

    def __getattr__(self, name: str) -> Any:
        # Only the source's own public attributes: `copy` and `pickle` look for special methods
        # before there is a source.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def _read(self) -> tuple[Sequence[str], dict[Split, LabelledFiles]]:
        self._source.prepare()
        whole = files_by_split(self._source, needed_by="data.exclude_files")
        splits: dict[Split, LabelledFiles] = {}
        for name, files in whole.items():
            # Splits that are one in the source are one here.
            same = next((split for split in splits if whole[split] is files), None)
            splits[name] = self._without_named(files, name) if same is None else splits[same]
        if self._names and all(len(whole[name]) == len(splits[name]) for name in SPLITS):
            raise UserError(
                f"None of the {len(self._names):,} names in data.exclude_files, as "
                f"{min(self._names)}, is a file of the data, as {whole['train'].names[0]}."
            )
        self.layout = getattr(self._source, "layout", "")
        self.ignored = Counter(getattr(self._source, "ignored", {}))
        # A split that is tested on too counts once.
        different = {id(files): len(files) for files in whole.values()}
        kept = {id(files): len(files) for files in splits.values()}
        self.ignored["images (data.exclude_files)"] = sum(different.values()) - sum(kept.values())
        return self._source.class_names, splits

    def _without_named(self, files: LabelledFiles, split: Split) -> LabelledFiles:
        stay = [i for i, file in enumerate(files.names) if not self._is_named(file)]
        if not stay:
            raise UserError(f"data.exclude_files leaves no image in the {split} split.")
        return files.subset(stay)

    def _is_named(self, file: str) -> bool:
        folders = file.split("/")[:-1]
        return file in self._names or any(
            "/".join([*folders[start:], file.split("/")[-1]]) in self._names
            for start in range(1, len(folders))
        )


def files_by_split(source: ImageSource, *, needed_by: str) -> dict[Split, LabelledFiles]:
    """The splits of a source of files; raises UserError if the images are not files."""
    splits: dict[Split, LabelledFiles] = {}
    for name in SPLITS:
        files = source.split(name)
        if not isinstance(files, LabelledFiles):
            raise UserError(f"{needed_by} needs image files: choose data that is not in shards.")
        splits[name] = files
    return splits


def read_names(path: Path | str) -> list[str]:
    """File names from a list, one a line; empty lines and those that begin with # do not count.

    Raises UserError if there is no such list.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"data.exclude_files={path} does not exist.")
    lines = path.read_text().splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]
