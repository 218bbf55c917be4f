"""Options that are one value or several."""

from typing import Any

from omegaconf import OmegaConf

from zf_lightning.errors import UserError


def names_of(value: Any, *, option: str) -> list[str]:
    """The names that an option gives: a list, or text with commas.

    Raises UserError if there are none.
    """
    found = [str(part).strip() for part in _parts(value)]
    if not found or not all(found):
        raise UserError(f"{option}={value} must be a name or a list, as {option}=[a,b].")
    return list(dict.fromkeys(found))


def numbers_of(value: Any, *, option: str) -> list[int]:
    """The whole numbers that an option gives: one, a list, or text with commas; ascending.

    Raises UserError if it is something else.
    """
    try:
        found = [int(str(part)) for part in _parts(value)]
    except ValueError:
        found = []
    if not found:
        raise UserError(f"{option}={value} must be a number or a list, as {option}=[15,30].")
    return sorted(set(found))


def _parts(value: Any) -> list[Any]:
    if OmegaConf.is_list(value):
        value = OmegaConf.to_container(value, resolve=True)
    if isinstance(value, list | tuple):
        return list(value)
    return value.split(",") if isinstance(value, str) else [value]
