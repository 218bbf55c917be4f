"""Unreadable files: named, counted and left out; too many of them are an error.

A worker marks such a sample with a weight of NaN (`LabelledFiles`), and the process that trains or
tests sees it in the batch: so the count is that of a process, whatever the number of its workers.
The counts of several processes are added up at the end of each epoch (`ImageClassifier`).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from zf_lightning.data.batch import Batch
from zf_lightning.data.decode import load_image
from zf_lightning.errors import UnreadableImage, UserError

log = logging.getLogger(__name__)

#: So many files are named in an error; all are named in the log.
NAMED = 20


@dataclass
class BadFiles:
    """The unreadable files that one process has met in a split."""

    #: The split, whose `path(index)` names a file.
    files: Any
    #: How many are left out; one more is an error.
    limit: int
    #: The option that sets the limit, for messages.
    option: str
    #: Sentences by dataset index, of all epochs.
    met: dict[int, str] = field(default_factory=dict)
    _of_epoch: set[int] = field(default_factory=set)

    @classmethod
    def of_split(cls, files: Any, split: str, allowed: Mapping[str, float]) -> Self:
        """`allowed` limits `train` and `evaluation`: a share below 1, or a number of files."""
        part = "train" if split == "train" else "evaluation"
        limit = allowed.get(part, 0)
        limit = int(limit if limit >= 1 else limit * len(files))
        return cls(files, limit=limit, option=f"data.max_bad_files.{part}")

    def start_epoch(self) -> None:
        """Count from zero."""
        self._of_epoch.clear()

    @property
    def count(self) -> int:
        """How many were met in this epoch."""
        return len(self._of_epoch)

    def leave_out(self, batch: Batch) -> Batch:
        """The batch with weight 0 for unreadable files, which are reported and counted.

        The others of this process take over their weight, so that the mean of `weights × loss` is
        that of the samples that there are: exactly on one process, and on several as far as their
        parts of a batch count alike.
        Raises UserError if this process has met more than the limit.
        """
        bad = batch.weights.isnan()
        if not bad.any():
            return batch
        for index in batch.indices[bad].tolist():
            self._of_epoch.add(index)
            if index not in self.met:
                self.met[index] = _sentence(self.files.path(index))
                if len(self.met) <= self.limit:
                    log.warning(f"{self.met[index]}; it is left out.")
        self.check(len(self.met))
        weights = batch.weights.masked_fill(bad, 0.0)
        kept = int((weights > 0).sum())
        return batch._replace(weights=weights * ((kept + int(bad.sum())) / max(1, kept)))

    def check(self, count: int) -> None:
        """Raise UserError if `count`, of all processes, is more than the limit."""
        if count <= self.limit:
            return
        named = list(self.met.values())
        more = f"; and {count - NAMED} more" if count > NAMED else ""
        # Another process may have met other files: they are in the log.
        listing = f"{'; '.join(named[:NAMED])}{more}" if named else f"{count} files are unreadable"
        allowed = f"{self.limit} of {len(self.files):,} may be" if self.limit else "none may be"
        raise UserError(
            f"{listing}: {allowed} ({self.option}); repair or remove what cannot be read, or allow "
            "for more."
        )


def _sentence(path: Path) -> str:
    try:
        load_image(path)
    except UnreadableImage as problem:
        return problem.sentence
    return f"{path} could not be read at first, and can be now"
