"""A source with some of its files left out, as those that another set has too (Sec. 5.2)."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from zf_lightning.data.sources.base import SPLITS, ImageSource, LabelledFiles, Split
from zf_lightning.errors import UserError


class SourceWithout:
    """What `source` offers, without the files that are named.

    Args:
        source: any source of files.
        names: relative to the source's root, as `task=overlap` lists them, or to a folder in it
            (`n01440764/x.JPEG` is `train/n01440764/x.JPEG` too, but a bare `x.JPEG` is not).

    Raises:
        UserError: the source has no files of its own, or none of these names is in it.
    """

    def __init__(self, source: ImageSource, names: Collection[str]) -> None:
        self._source = source
        self._names = frozenset(names)
        self._splits: dict[Split, LabelledFiles] = {}

    def __getattr__(self, name: str) -> Any:
        # Only the source's own public attributes: `copy` and `pickle` look for special methods
        # before there is a source.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def prepare(self) -> None:
        """Prepare the source, and look for the names in it."""
        if self._splits:
            return
        self._source.prepare()
        splits: dict[Split, LabelledFiles] = {}
        whole: dict[Split, LabelledFiles] = {}
        for name in SPLITS:
            files = self._source.split(name)
            if not isinstance(files, LabelledFiles):
                raise UserError("data.exclude_files needs data that are files.")
            # Splits that are one in the source are one here.
            same = next((split for split, other in whole.items() if other is files), None)
            whole[name] = files
            splits[name] = self._without_named(files, name) if same is None else splits[same]
        if self._names and all(len(whole[name]) == len(splits[name]) for name in SPLITS):
            raise UserError(
                f"None of the {len(self._names):,} names in data.exclude_files, as "
                f"{min(self._names)}, is a file of the data, as {whole['train'].names[0]}."
            )
        self._splits = splits

    def split(self, name: Split) -> LabelledFiles:
        """The files of a split that stay."""
        self.prepare()
        return self._splits[name]

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


def read_names(path: Path | str) -> list[str]:
    """File names from a list, one a line; empty lines and those that begin with # do not count.

    Raises UserError if there is no such list.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"data.exclude_files={path} does not exist.")
    lines = path.read_text().splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]
