"""Exceptions that are shown to a user as a sentence, without a traceback."""


class UserError(ValueError):
    """A mistake in what the user asked for: one sentence, what is wrong and what to do."""

    @property
    def sentence(self) -> str:
        """The message alone, also where a data loader's worker wrapped its traceback around it."""
        return str(self).rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip()


class UnreadableImage(UserError):
    """A file that is not an image, or not a whole one."""


def reason_of(problem: BaseException) -> str:
    """The first line of an exception's message, or its class's name where it has none."""
    return str(problem).strip().split("\n")[0] or type(problem).__name__
