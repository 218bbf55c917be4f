"""Exceptions that are shown to a user as a sentence, without a traceback."""

from pathlib import Path
from typing import Self


class UserError(ValueError):
    """A mistake in what the user asked for: one sentence, what is wrong and what to do."""

    @property
    def sentence(self) -> str:
        """The message alone, also where a data loader's worker wrapped its traceback around it."""
        return str(self).rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip()


class UnreadableImage(UserError):
    """A file that is not an image, or not a whole one."""


class DamagedFile(UserError):
    """A file that this project wrote and that is no longer what it wrote."""

    @classmethod
    def at(cls, path: str | Path, reason: object = "") -> Self:
        """Say which file it is; of `reason` the first line."""
        line = str(reason).strip().split("\n")[0].rstrip(".")
        return cls(f"{path} is damaged{f' ({line})' if line else ''}.")


def reason_of(problem: BaseException) -> str:
    """The first line of an exception's message, or its class's name where it has none."""
    return str(problem).strip().split("\n")[0] or type(problem).__name__
