"""Wrong values for every option: each is refused in one sentence, or makes sense."""

import copy
import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tests.conftest import ROOT, Compose
from zf_lightning.cli.messages import composition_message
from zf_lightning.config.check import ONE, SEVERAL, check
from zf_lightning.config.instantiate import plain
from zf_lightning.errors import UserError
from zf_lightning.tasks import TASKS

HUGE = "9" * 30
VALUES = [
    *("null", "true", "-1", "0", "1.5", "-0.001", "nan", "inf", "-inf", "1.0e300", HUGE),
    *("''", "nope", "[]", "[nope]", "[-1]", "[nan]", "[null]", "{}", "{a: -1}"),
]
#: Where a number below 0 means something: `-1` for all or without an end, places, colours.
NEGATIVE = {
    "trainer.devices",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.num_sanity_val_steps",
    "invariance.rotation.first",
    "invariance.rotation.last",
    "invariance.vertical_translation.first",
    "invariance.vertical_translation.last",
    "invariance.scale.first",
    "invariance.scale.last",
    # Whatever the bucket's client takes.
    "data.storage_options",
    "data.storage_options.a",
    "data.source.storage_options",
}
#: Where no value at all means something.
EMPTY = {
    # A search alone.
    "atlas.maps",
    "atlas.pictures",
    "atlas.quantiles",
    # No numbers beside the pictures.
    "probe.scores",
    *("model.convs", "model.fcs", "ablation", "ablation.none.convs", "ablation.none.fcs"),
    *(
        "callbacks",
        "logger",
        "data.exclude",
        "data.source.exclude",
        "data.storage_options",
        "data.source.storage_options",
        "logger.wandb.tags",
    ),
    *("transfer.per_class_of", "overrides", "trust"),
}
BASES: list[list[str]] = [
    [],
    ["task=atlas", "model=zfnet", "data=folder", "data.root=x"],
    *(
        [f"task={task}", "data=shards", "data.root=x", "prepare.out=x"][: 3 + (task == "prepare")]
        for task in TASKS
    ),
    ["logger=[csv,tensorboard]", "optimizer=paper", "scheduler=steps", "data=voc2012"],
]


def names(node: Any, where: str = "") -> Iterator[str]:
    """Every option of a configuration, and every group of them."""
    for key, value in node.items():
        name = f"{where}{key}"
        if name not in ("overrides", "task"):
            yield name
            if isinstance(value, dict):
                yield from names(value, f"{name}.")


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value


def with_override(base: DictConfig, override: str) -> DictConfig:
    """What the command line makes of a composed configuration."""
    config = copy.deepcopy(base)
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides([override]), config
    )
    with open_dict(config):
        config.overrides = [override]
    check(config)
    return config


def refused(base: DictConfig, override: str) -> bool:
    """Whether an override is refused; fails where that is no sentence, or nonsense is accepted."""
    key = override.partition("=")[0]
    try:
        config = with_override(base, override)
    except UserError as mistake:
        assert "\n" not in mistake.sentence
        assert key.split(".")[-1] in mistake.sentence or key.split(".")[0] in mistake.sentence
        return True
    except (HydraException, OmegaConfBaseException) as mistake:
        sentence = composition_message(mistake)
        assert sentence and "\n" not in sentence
        return True
    value = OmegaConf.select(config, key, throw_on_missing=False)
    value = plain(value) if OmegaConf.is_config(value) else value
    assert all(map(math.isfinite, numbers(value))), override
    assert key in NEGATIVE or all(one >= 0 for one in numbers(value)), override
    assert key in EMPTY or value not in ("", [], {}), override
    return False


def overrides_of(base: DictConfig) -> list[str]:
    found = names(plain(base))
    return [f"{name}={value}" for name, value in itertools.product(found, VALUES)]


def ready(config: DictConfig) -> DictConfig:
    OmegaConf.set_struct(config, True)
    return config


def test_three_hundred_wrong_values(compose_config: Compose) -> None:
    base = ready(compose_config())
    asked = random.Random(0).sample(overrides_of(base), 300)
    assert sum(refused(base, override) for override in asked) > 200


@pytest.mark.slow
@pytest.mark.parametrize("options", BASES, ids=" ".join)
def test_wrong_values_of_every_option(options: list[str], compose_config: Compose) -> None:
    base = ready(compose_config(*options))
    # All are 5,000 for each base, 70 ms each: two values of every option, others for each base.
    drawn = random.Random(" ".join(options))
    asked = [f"{name}={one}" for name in names(plain(base)) for one in drawn.sample(VALUES, 2)]
    assert len(asked) > 300
    assert sum(refused(base, override) for override in asked) > len(asked) / 2


CHOICES = ("null", "3", "''", "[]", "nope", "[nope]", "1.5", "true", "nan", "[null]", "../x", "{}")


@pytest.mark.slow
@pytest.mark.parametrize("group", [*ONE, *SEVERAL])
def test_wrong_choices(group: str, compose_config: Compose) -> None:
    asked = [f"{group}={value}" for value in CHOICES]
    known = sorted((ROOT / "conf" / group).glob("*.yaml"))[0].stem
    for override in [*asked, f"{group}=[{known},{known}]", f"~{group}", f"+{group}={known}"]:
        try:
            compose_config(override)
        except UserError as mistake:
            assert "\n" not in mistake.sentence
        except (HydraException, OmegaConfBaseException) as mistake:
            assert "\n" not in composition_message(mistake)
        else:
            assert group in SEVERAL and (override[0] in "~+" or override.endswith("=[]")), override


def test_what_only_a_command_line_shows(compose_config: Compose) -> None:
    for override, words in (
        ("logger=null", "logger=null is not possible: it must be a name or a list of names"),
        ("optimizer=3", "optimizer=3 is not possible: it must be a name of conf/optimizer"),
        ("ablation=[none,none]", "names one twice"),
        ("~task", "~task is not possible: a run needs a choice of conf/task"),
        (f"seed={'9' * 5000}", "too many digits"),
        ("data.test_share=0.3", r"data=embedded does not read data\.test_share"),
        ("model=torchvision model.name=alexnet model.width=0.5", r"model\.width is of networks"),
        ("scheduler=steps scheduler.monitor=val/loss", "read by scheduler=plateau alone"),
        ("model.output=a.b", "a layer's name of letters and digits"),
        ("label=nope", "task=train does not read label"),
        ("ckpt=somewhere", r"task=train does not read ckpt: .*model\.weights=FILE"),
    ):
        with pytest.raises(UserError, match=words):
            compose_config(*override.split())
