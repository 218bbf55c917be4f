"""Overlays on a network that a user has specified layer by layer, in files of their own."""

from pathlib import Path

import pytest

from tests.conftest import Compose
from zf_lightning.errors import UserError
from zf_lightning.models import build_convnet
from zf_lightning.training.build import build_model_options

MODEL = """# @package _global_
model:
  name: mine
  input_size: 64
  width: 1.0
  initialisation: he
  preprocessing: {mean: channel, scale: std}
  convs:
    stem: {maps: 8, kernel: 5, stride: 2, pool: {kernel: 3, stride: 2}}
    body: {maps: 12, kernel: 3, padding: 1}
    head: {maps: 16, kernel: 3, padding: 1}
  fcs: {hidden: {units: 20, dropout: 0.5}}
  output: classes
"""
OVERLAYS = {
    "drop_body": "convs: {body: null}",
    "wide": "convs: {head: {maps: 30}}\nfcs: {hidden: {units: 40}}",
    "drop_tail": "convs: {tail: null}",
}


@pytest.fixture
def search(tmp_path: Path) -> str:
    """The option that adds the user's folder of configuration files."""
    for group, texts in (("model", {"mine": MODEL}), ("ablation", OVERLAYS)):
        (tmp_path / "conf" / group).mkdir(parents=True)
        for name, text in texts.items():
            head = f"# @package ablation.{name}\n" if group == "ablation" else ""
            (tmp_path / "conf" / group / f"{name}.yaml").write_text(head + text)
    return f"hydra.searchpath=[file://{tmp_path / 'conf'}]"


def test_overlays_combine_and_what_follows_takes_its_size(
    search: str, compose_config: Compose
) -> None:
    whole = build_convnet(build_model_options(compose_config("model=mine", search)), classes=3)
    assert whole.layers == ("stem", "body", "head", "hidden", "classes")
    config = compose_config("model=mine", "ablation=[drop_body,wide]", search)
    network = build_convnet(build_model_options(config), classes=3)
    assert network.layers == ("stem", "head", "hidden", "classes")
    assert (network.head.in_channels, network.head.out_channels) == (8, 30)
    # 64 pixels: 30 after the stem, 14 after its pool.
    assert network.hidden.in_features == 30 * 14 * 14
    assert network.classes.in_features == 40


@pytest.mark.parametrize(
    ("ablation", "message"),
    [
        ("drop_tail", r"ablation=drop_tail removes tail, which the network does not have \(its co"),
        ("drop_conv34", "removes conv3, which the network does not have .*stem, body, head"),
        ("fc_2048", "changes fc6, which the network does not have .*hidden"),
    ],
)
def test_an_overlay_of_a_layer_that_is_absent_is_refused_before_any_training(
    ablation: str, message: str, search: str, compose_config: Compose
) -> None:
    with pytest.raises(UserError, match=message):
        build_model_options(compose_config("model=mine", f"ablation={ablation}", search))
