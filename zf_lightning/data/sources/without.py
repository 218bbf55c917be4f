"""A source with some of its files left out, as those that another set has too (Sec. 5.2)."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from zf_lightning.data.sources.base import ImageSource, LabelledFiles, Split
from zf_lightning.errors import UserError


class SourceWithout:
    """What `source` offers, without the files that are named.

    Args:
        source: any source of files.
        names: relative to the source's root, as `task=overlap` lists them.

    Raises:
        UserError: the source has no files of its own, or none of these names is in it.
    """

    def __init__(self, source: ImageSource, names: Collection[str]) -> None:
        self._source = source
        self._names = frozenset(names)
        self._splits: dict[Split, LabelledFiles] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def prepare(self) -> None:
        """Prepare the source."""
        self._source.prepare()

    def split(self, name: Split) -> LabelledFiles:
        """The files of a split that stay."""
        if name not in self._splits:
            files = self._source.split(name)
            if not isinstance(files, LabelledFiles):
                raise UserError("data.exclude_files needs data that are files.")
            stay = [i for i, file in enumerate(files.names) if file not in self._names]
            if not stay:
                raise UserError(f"data.exclude_files leaves no image in the {name} split.")
            self._splits[name] = files.subset(stay)
        return self._splits[name]


def read_names(path: Path | str) -> list[str]:
    """File names from a list, one a line; empty lines and those that begin with # do not count.

    Raises UserError if there is no such list.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"data.exclude_files={path} does not exist.")
    lines = path.read_text().splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]
