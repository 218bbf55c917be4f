"""Which code a configuration that comes out of a file may name.

A `_target_` is called. What the command line and `conf/` name is the user's own choice; a
checkpoint or a run's folder may come from a stranger. Such a file may name what this project's
`conf/` names, the optimisers and schedules of torch, and what this call itself names or trusts.
"""

import functools
import re
from pathlib import Path
from typing import Any

from zf_lightning.config import CONF
from zf_lightning.errors import UserError

#: Targets that tasks put into a configuration, beside those in `conf/`.
OF_TASKS = ("zf_lightning.data.FoldSource", "zf_lightning.callbacks.FinalCheckpoint")
#: Targets in `conf/` of earlier versions.
OF_EARLIER = ("lightning.pytorch.callbacks.ModelCheckpoint",)
#: Classes of torch that take plain data; one name deep, so that no module is reached through them.
OF_TORCH = re.compile(r"torch\.optim\.(lr_scheduler\.)?[A-Z]\w*")
#: An interpolation that only refers to another option, or to where and when a run takes place:
#: others, as `${oc.decode:…}`, can make a `_target_` of any text.
PLAIN = re.compile(r"\$\{[.\w]*\}|\$\{(now|hydra|oc\.env):[^${}]*\}")
#: What stands in `conf/` itself.
OWN_EXPRESSION = "${oc.select:transfer.per_class_of.${data.name},[15,30]}"

_trusted: set[str] = set()


def trust(*targets: str) -> None:
    """Let files name these targets too (`package.module.Class`), for as long as Python runs."""
    _trusted.update(targets)


def trust_targets_in(node: Any) -> None:
    """Trust every `_target_` of a configuration that the user composed, as plain data."""
    if isinstance(node, list):
        for value in node:
            trust_targets_in(value)
    elif isinstance(node, dict):
        trust_targets_in(list(node.values()))
        if isinstance(node.get("_target_"), str):
            trust(node["_target_"])


def check_stored(node: Any, *, file: Path | str, where: str = "") -> None:
    """Check plain data that was read from `file` before anything is made of it.

    Raises UserError for a `_target_` that is neither this project's nor trusted, and for text that
    could become one.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            place = f"{where}.{key}" if where else str(key)
            if key == "_target_" and not _allowed(value):
                raise UserError(
                    f"{file} wants {place}={value} to be called, which is not this project's and "
                    f"could do anything; if you trust the file, add trust=[{value}] to the command "
                    "(in Python: zf_lightning.config.targets.trust)."
                )
            if key == "_instantiator":
                raise UserError(f"{file} names an {key} ({value}), which would be called: refused.")
            check_stored(value, file=file, where=place)
    elif isinstance(node, list | tuple):
        for value in node:
            check_stored(value, file=file, where=where)
    elif isinstance(node, str):
        check_expressions(node, file=file)


def check_expressions(text: str, *, file: Path | str) -> None:
    """Raise UserError for interpolations in `text` that could become a `_target_`."""
    rest = PLAIN.sub("", text.replace(OWN_EXPRESSION, ""))
    if "${" in rest:
        found = rest[rest.index("${") :].splitlines()[0][:60]
        raise UserError(
            f"{file} contains the expression {found}, which is more than a reference to another "
            "option: refused, because it could name any code."
        )


def _allowed(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    own = target in (*OF_TASKS, *OF_EARLIER) or target in _in_conf() or OF_TORCH.fullmatch(target)
    return bool(own) or target in _trusted


@functools.cache
def _in_conf() -> frozenset[str]:
    texts = (file.read_text(encoding="utf-8") for file in CONF.rglob("*.yaml"))
    return frozenset(name for text in texts for name in re.findall(r"_target_: ([\w.]+)", text))
