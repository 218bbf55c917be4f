"""Lines of the terminal and of `run.log`, which names of files and classes cannot forge."""

import logging
import re
import sys

#: Control characters but tab and newline, separators of lines, and bytes that are no UTF-8.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escaped(text: str) -> str:
    r"""Text with control characters as `\x1b`, so that they command no terminal."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Escaped(logging.Formatter):
    """Formats messages without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, of one or several lines."""
        return escaped(super().format(record))


class Indented(Escaped):
    """Also indents what follows a record's first line: only a record begins with a time."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, of one or several lines."""
        return super().format(record).replace("\n", "\n    ")


class LogFile(logging.FileHandler):
    """`run.log`; what the disk does not take is a warning on the terminal, once."""

    _warned = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say it without a trace; the run goes on."""
        problem = sys.exc_info()[1]
        if not isinstance(problem, OSError):
            super().handleError(record)
        elif not self._warned:
            self._warned = True
            print(f"{self.baseFilename} could not be written: {problem}", file=sys.stderr)
