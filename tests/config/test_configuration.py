"""What `conf/` composes, and how mistakes in it are reported."""

import dataclasses
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tests.conftest import ROOT, Compose
from zf_lightning.cli.messages import composition_message, missing_message
from zf_lightning.config import schema
from zf_lightning.config.instantiate import check_target, plain
from zf_lightning.errors import UserError
from zf_lightning.models import specification


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (ROOT / "conf" / group).glob("*.yaml"))


CHOICES = [
    (group, option)
    for group in (
        *("task", "model", "ablation", "data", "optimizer", "scheduler", "callbacks", "logger"),
        "trainer",
    )
    for option in options(group)
    if (group, option) != ("data", "default")
]


OWN = "torchvision.models.AlexNet"


@pytest.mark.parametrize(("group", "option"), CHOICES)
def test_every_choice_composes_and_its_targets_take_its_options(
    group: str, option: str, compose_config: Compose
) -> None:
    named = ["model.name=alexnet"]
    asked = {"torchvision": named, "timm": named, "custom": [f"model.network._target_={OWN}"]}
    config = compose_config(f"{group}={option}", "data.root=somewhere", *asked.get(option, []))
    check_target(plain(config))


def test_zfnet_composes_the_papers_recipe(compose_config: Compose) -> None:
    config = compose_config("model=zfnet")
    assert config.model.input_size == 224
    assert config.optimizer._target_ == "torch.optim.SGD"
    assert (config.optimizer.lr, config.optimizer.momentum) == (0.01, 0.9)
    assert config.optimizer.weight_decay == 0
    assert config.scheduler.schedule._target_.endswith("ReduceLROnPlateau")
    assert config.scheduler.schedule.factor == 0.1
    assert config.scheduler.monitor == "val/top1_error"
    assert config.trainer.max_epochs == 70
    assert config.data.batch_size == 128
    assert config.callbacks.filter_renormalisation.rms_limit == 0.1
    assert config.model.fcs.fc6.dropout == config.model.fcs.fc7.dropout == 0.5
    assert config.model.initialisation == "paper"
    assert dict(config.model.preprocessing) == {"mean": "pixel", "scale": "none"}


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=0.1",
        "optimizer=sgd",
        "scheduler=one_cycle",
        "callbacks=default",
        "trainer.max_epochs=3",
        "trainer.gradient_clip_val=1.0",
        "callbacks.filter_renormalisation.rms_limit=0.2",
        "model.convs.conv3.maps=512",
        "model.convs.conv3=null",
        "logger=[csv,tensorboard]",
        "ablation=[drop_fc7,maps_512_1024_512]",
    ],
)
def test_everything_is_one_override_away(override: str, compose_config: Compose) -> None:
    changed, unchanged = compose_config("model=zfnet", override), compose_config("model=zfnet")
    assert OmegaConf.to_yaml(changed) != OmegaConf.to_yaml(unchanged)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sed=3", "There is no option sed; did you mean seed?"),
        ("modle=zfnet", "There is no option modle; did you mean model?"),
        ("trainer.max_epoch=3", "There is no option trainer.max_epoch; did you mean max_epochs?"),
        ("model.convs.conv44.maps=3", "There is no option model.convs.conv44"),
        ("optimizer.lrr=3", "There is no option optimizer.lrr"),
        ("atlas.layers=conv1", "atlas.layers is an option of task=atlas: add task=atlas, or leave"),
        ("experiment=table4", "There is no experiment=table4; did you mean table3?"),
        ("ablation=drop_fc8", "There is no ablation=drop_fc8; did you mean drop_fc7?"),
        ("data.batch_size=many", "Value 'many' of type 'str' could not be converted to Integer"),
        ("model.width=wide", "Value 'wide' of type 'str' could not be converted to Float"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence_that_names_it(
    override: str, message: str, compose_config: Compose
) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as mistake:
        compose_config(override)
    assert message in composition_message(mistake.value)
    assert "\n" not in composition_message(mistake.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# @package _global_\nsed: 3", "There is no option sed; did you mean seed?"),
        (
            "# @package ablation.mine\nconvs: {conv3: {map: 5}}",
            "There is no option ablation.mine.convs.conv3.map",
        ),
        ("# @package _global_\nmodel: {input_sise: 5}", "no option model.input_sise"),
        ("# @package _global_\ntrainer: {max_epoch: 5}", "no option trainer.max_epoch"),
    ],
)
def test_a_mistake_in_an_overlay_file_is_named(
    text: str, message: str, compose_config: Compose, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "wrong.yaml").write_text(text)
    search = f"hydra.searchpath=[file://{tmp_path / 'mine'}]"
    with pytest.raises((HydraException, OmegaConfBaseException)) as mistake:
        compose_config("experiment=wrong", search)
    assert message in composition_message(mistake.value)


def test_a_forced_option_that_nothing_reads_is_refused(compose_config: Compose) -> None:
    with pytest.raises(UserError, match=r"There is no option model\.depth"):
        compose_config("+model.depth=3")
    with pytest.raises(UserError, match="There is no option foo"):
        compose_config("+foo=3")


def test_an_option_that_a_target_does_not_take_is_refused(compose_config: Compose) -> None:
    config = compose_config("+optimizer.lrr=3")
    with pytest.raises(UserError, match=r"torch.optim.SGD has no option lrr; did you mean lr\?"):
        check_target(plain(config))
    config = compose_config("optimizer._target_=torch.optim.SGDD")
    with pytest.raises(UserError, match=r"there is no torch\.optim\.SGDD"):
        check_target(plain(config))


def test_an_option_that_must_be_given_is_named(compose_config: Compose) -> None:
    with pytest.raises(OmegaConfBaseException) as mistake:
        _ = compose_config("data=folder").data.root
    message = missing_message(str(mistake.value))
    assert message == "data.root must be given: add data.root=… to the command."


@pytest.mark.parametrize(
    "name", ["Pooling", "Convolution", "FullyConnected", "ContrastNormalisation"]
)
def test_the_schema_has_the_options_that_layers_have(name: str) -> None:
    legal = {field.name for field in dataclasses.fields(getattr(schema, name))}
    read = {field.name for field in dataclasses.fields(getattr(specification, name))}
    assert legal == read


def test_ablations_are_a_few_lines_of_differences() -> None:
    for option in options("ablation"):
        lines = (ROOT / "conf" / "ablation" / f"{option}.yaml").read_text().splitlines()
        # The name of the file, under which the overlay is applied in its turn.
        assert lines[0] == f"# @package ablation.{option}"
        assert lines[1].startswith("# Table 3")
        assert len(lines) <= 10
