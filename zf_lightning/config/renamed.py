"""Targets and options that a file of an earlier version names, and what they are called today."""

from typing import Any

#: Beginnings of a `_target_` as they were, and as they are.
RENAMED = {
    "callbacks.": "zf_lightning.callbacks.",
    "zf_lightning.loggers.": "zf_lightning.training.loggers.",
    "zf_lightning.schedules.": "zf_lightning.training.schedules.",
    "zf_lightning.module.": "zf_lightning.training.module.",
    "zf_lightning.network.": "zf_lightning.training.network.",
}

#: Options as they were on a command line, and as they are.
OPTIONS = {
    "probe.rule": "probe.method",
    "atlas.rule": "atlas.method",
    "sanity.rules": "sanity.methods",
}


def with_current_options(overrides: list[str]) -> list[str]:
    """Overrides of a stored command line, with every option as it is called now."""
    found = []
    for override in overrides:
        key, equals, value = override.partition("=")
        option = key.lstrip("+~")
        found.append(key.removesuffix(option) + OPTIONS.get(option, option) + equals + value)
    return found


def with_current_targets(node: Any) -> Any:
    """Plain data that was read from a file, with every `_target_` as it is called now."""
    if isinstance(node, list):
        return [with_current_targets(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _current(value) if key == "_target_" else with_current_targets(value)
        for key, value in node.items()
    }


def _current(target: Any) -> Any:
    for old, new in RENAMED.items():
        if isinstance(target, str) and target.startswith(old):
            return new + target.removeprefix(old)
    return target
