"""The one place where a `_target_` of the configuration becomes an object."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

import hydra
from hydra.errors import InstantiationException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from zf_lightning.errors import UserError, reason_of

_RESERVED = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


def plain(config: Any) -> Any:
    """A configuration as dictionaries, lists, numbers and strings; what is not given is left out.

    Safe to keep in a checkpoint: torch loads nothing else by default.
    """
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items() if value != "???"}
    if isinstance(config, list):
        return [plain(value) for value in config]
    return config


def instantiate(node: DictConfig | Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
    """Call the `_target_` of a node with its other keys, `arguments` and `options`.

    Nodes inside are instantiated first. Values arrive as plain data.
    Raises UserError where the target does not exist or does not take an option.
    """
    values = plain(node)
    check_target(values)
    try:
        return hydra.utils.instantiate(values, *arguments, _convert_="all", **options)
    except InstantiationException as problem:
        cause = problem.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        reason = reason_of(cause or problem)
        raise UserError(f"{values.get('_target_')} could not be made: {reason}") from problem


def check_target(node: Any, *, where: str = "") -> None:
    """Check every `_target_` below `node` and the names of its options.

    `where` is the node's place in the configuration, for messages.
    Raises UserError for a target that does not exist, or an option that it does not take.
    """
    if isinstance(node, list):
        for value in node:
            check_target(value, where=where)
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        _check_options(node, where)
    for key, value in node.items():
        check_target(value, where=f"{where}.{key}" if where else str(key))


def suggestion(wrong: str, choices: list[str]) -> str:
    """`; did you mean …?` if one of `choices` is close to `wrong`, else nothing."""
    close = difflib.get_close_matches(wrong, choices, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_options(node: dict[str, Any], where: str) -> None:
    target = node["_target_"]
    try:
        signature = inspect.signature(get_object(target))
    except (ImportError, AttributeError, ValueError) as problem:
        raise UserError(
            f"{where or 'The configuration'}: there is no {target} ({reason_of(problem)})."
        ) from None
    except TypeError:
        # Not everything that can be called has a signature to check against.
        return
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return
    known = [name for name in signature.parameters if name != "self"]
    for option in set(node) - _RESERVED - set(known):
        raise UserError(
            f"{where or target}: {target} has no option {option}"
            f"{suggestion(option, known)} (it has {', '.join(known)})."
        )
