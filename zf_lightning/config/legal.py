"""The legal values of an option, as data beside its type: `maps: int = legal(whole(1, 1000))`.

Checked by `check.py` when the configuration is composed, before anything else is loaded.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from zf_lightning.errors import UserError

#: Of a seed: what NumPy and Lightning take.
MAX_SEED = 2**32 - 1
#: Of a count that nothing else bounds.
MANY = 10**9


def _shown(bound: float) -> str:
    return f"{int(bound) if bound == bound // 1 else bound:,}"


@dataclass(frozen=True)
class Number:
    """A finite number; `above` and `below` are bounds that it does not reach."""

    least: float = -math.inf
    most: float = MANY
    above: float = -math.inf
    below: float = math.inf
    whole: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether a value is one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.whole and value != value // 1:
            return False
        return self.least <= value <= self.most and self.above < value < self.below

    def __str__(self) -> str:
        name = "a whole number" if self.whole else "a number"
        strict = not (math.isinf(self.above) and math.isinf(self.below))
        # A bound that nobody comes near is not worth a word.
        if not strict and self.most < MANY and not math.isinf(self.least):
            return f"{name} from {_shown(self.least)} to {_shown(self.most)}"
        bounds = (
            ("above", self.above),
            ("of at least", self.least if math.isinf(self.above) else -math.inf),
            ("below", self.below),
            ("at most", self.most if math.isinf(self.below) and self.most < MANY else math.inf),
        )
        words = [f"{word} {_shown(bound)}" for word, bound in bounds if not math.isinf(bound)]
        return " ".join([name, " and ".join(words)]).rstrip()


@dataclass(frozen=True)
class Several:
    """A list of so many values, or a mapping to them: each is accepted by one of `each`."""

    each: tuple[Any, ...]
    least: int = 1
    most: int = MANY
    mapping: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether a value is one."""
        if not isinstance(value, dict if self.mapping else list):
            return False
        values = value.values() if isinstance(value, dict) else value
        each = all(is_legal(one, self.each) for one in values)
        return self.least <= len(value) <= self.most and each

    def __str__(self) -> str:
        size = "" if self.most == MANY else f" of {self.most}"
        name = f"a {'mapping' if self.mapping else 'list'}{size}"
        return f"{name}, each {_words(self.each)}"


@dataclass(frozen=True)
class Kind:
    """A value of a type, described by `words`: text of a pattern, a mapping with a key."""

    type: type
    words: str
    key: str | None = None
    #: Not blank; a control character would forge lines of the log.
    pattern: str = r"(?=.*\S)[^\x00-\x1f\x7f]*"

    def accepts(self, value: Any) -> bool:
        """Whether a value is one."""
        if not isinstance(value, self.type):
            return False
        if isinstance(value, dict):
            return self.key is None or self.key in value
        return not isinstance(value, str) or re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.words


TEXT = Kind(str, "text")
FLAG = Kind(bool, "true or false")
#: A class or a function.
DOTTED = Kind(str, "a name as package.module.Class", pattern=r"[^\W\d]\w*(\.\w+)+")
#: An object that the configuration makes.
OBJECT = Kind(dict, "options with a _target_", "_target_")


def whole(least: int = 0, most: int = MANY) -> Number:
    """A whole number."""
    return Number(least, most, whole=True)


def several(*each: Any, least: int = 1, most: int = MANY) -> Several:
    """A list whose values are each one of these."""
    return Several(each, least, most)


def legal(*choices: Any, default: Any = MISSING, optional: bool = False) -> Any:
    """A field of the schema whose value is one of `choices`: values, or kinds of values.

    An `optional` one may be left out of a part that must otherwise be whole (`check.WHOLE`).
    """
    lists = any(isinstance(choice, Several) and not choice.mapping for choice in choices)
    metadata = {"legal": choices, "list": lists, "optional": optional}
    return field(default=default, metadata=metadata)


def is_legal(value: Any, choices: Iterable[Any]) -> bool:
    """Whether one of `choices` is this value, or accepts it."""
    return any(
        choice.accepts(value)
        if hasattr(choice, "accepts")
        # 1 is not true.
        else type(choice) is type(value) and choice == value
        for choice in choices
    )


def check_value(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise UserError, which says what is legal, if `value` is none of `choices`."""
    if not is_legal(value, choices):
        shown = "null" if value is None else re.sub(r"[\x00-\x1f\x7f]", "?", str(value))
        shown = shown if len(shown) < 60 else f"{shown[:50]}…"
        raise UserError(f"{name}={shown} is not possible: it must be {_words(choices)}.")


def _words(choices: Iterable[Any]) -> str:
    words = ["null" if choice is None else str(choice) for choice in choices]
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]
