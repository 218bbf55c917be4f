"""Options that are one value or several."""

import pytest
from omegaconf import OmegaConf

from zf_lightning.cli.main import with_lists
from zf_lightning.config.options import names_of, numbers_of
from zf_lightning.errors import UserError


@pytest.mark.parametrize("value", [[30, 15], "15,30", "15, 30", OmegaConf.create([15, 30, 30])])
def test_numbers_come_as_a_list_or_as_text(value: object) -> None:
    assert numbers_of(value, option="x") == [15, 30]


def test_one_value_is_a_list_of_one() -> None:
    assert numbers_of(7, option="x") == [7]
    assert names_of("all", option="x") == ["all"]
    assert names_of("conv5,fc7", option="x") == ["conv5", "fc7"]


@pytest.mark.parametrize("value", ["many", "", [], 1.5, None, "1,,2"])
def test_what_is_no_number_is_named(value: object) -> None:
    with pytest.raises(UserError, match=r"transfer.per_class=.* must be a number or a list"):
        numbers_of(value, option="transfer.per_class")


def test_the_command_line_takes_lists_without_brackets_where_they_can_only_be_lists() -> None:
    assert with_lists(["transfer.per_class=15,30", "ckpt=a.ckpt,b.ckpt", "model=zfnet"]) == [
        "transfer.per_class=[15,30]",
        "ckpt=[a.ckpt,b.ckpt]",
        "model=zfnet",
    ]
    # What the schema says, a list among others; also of the Trainer.
    assert with_lists(["probe.layers=conv1,conv5", "data.exclude=a,b", "trainer.devices=0,1"]) == [
        "probe.layers=[conv1,conv5]",
        "data.exclude=[a,b]",
        "trainer.devices=[0,1]",
    ]
    for same in (
        ["-m", "transfer.per_class=15,30"],
        ["transfer.per_class=[15,30]", "ckpt='a,b'", "ablation=none,drop_fc7"],
    ):
        assert with_lists(same) == same
