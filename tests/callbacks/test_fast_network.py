"""A network in the channels-last layout and compiled learns, is watched and tested as before.

What torch.compile generates takes minutes on a processor: here it only captures the network, and
PyTorch's own operations run. `pytest -m slow` generates.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Compose
from tests.runs import Stopped, command, stop_at, weights
from zf_lightning.atlas import Atlas
from zf_lightning.data import Batch
from zf_lightning.tasks import test as test_task
from zf_lightning.tasks import train
from zf_lightning.training.checkpoint import load_classifier
from zf_lightning.training.module import ImageClassifier

FAST = ["callbacks.fast_network.channels_last=true", "callbacks.fast_network.compile=true"]
#: The same function, other sums: after some steps.
CLOSE = {"rtol": 1e-3, "atol": 1e-5}


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let torch.compile capture graphs and run them as they are; fills with an entry a run."""
    runs: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            runs.append("compiled")
            return graph(*arguments)

        return run

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    return runs


def test_neither_is_on_unless_asked_for_and_the_preset_asks(compose_config: Compose) -> None:
    fast = compose_config("model=zfnet").callbacks.fast_network
    assert not fast.channels_last and not fast.compile
    config = compose_config("model=zfnet", "trainer=gpu")
    assert config.callbacks.fast_network.channels_last and config.callbacks.fast_network.compile
    assert config.trainer.precision == "bf16-mixed" and config.trainer.benchmark
    assert config.trainer.max_epochs == 70 and config.optimizer.lr == 0.01
    config = compose_config("trainer=gpu", "callbacks.fast_network.compile=false")
    assert not config.callbacks.fast_network.compile


@pytest.mark.slow
def test_a_run_learns_the_same_with_filters_renormalised_and_watched(
    captured: list[str], compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    renormalised = [
        "callbacks=paper",
        "callbacks.filter_renormalisation.rms_limit=0.05",
        "model.fcs.fc6.dropout=0",
        "model.fcs.fc7.dropout=0",
    ]
    plain = train.run(compose_config(*tiny, *renormalised))
    (tmp_path / "run").rename(tmp_path / "plain")
    assert not captured
    fast = train.run(compose_config(*tiny, *renormalised, *FAST))
    assert captured
    folder = tmp_path / "run"
    expected, found = weights(tmp_path / "plain"), weights(folder)
    assert list(found) == list(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], **CLOSE)
    conv2 = found["network.conv2.weight"]
    assert conv2.is_contiguous(memory_format=torch.channels_last)
    assert float(conv2.square().mean((1, 2, 3)).sqrt().max()) <= 0.05 * 1.001
    for name in ("val/loss", "test/loss", "test/loss_tencrop", "train/loss"):
        assert fast[name] == pytest.approx(plain[name], rel=1e-3)
    atlases = [
        Atlas.load(where / "atlas" / "epoch=002.safetensors")
        for where in (tmp_path / "plain", folder)
    ]
    for layer, watched in atlases[1].layers.items():
        assert not watched.mismatches
        torch.testing.assert_close(
            watched.activations, atlases[0].layers[layer].activations, **CLOSE
        )
    # Such a checkpoint is one like any other.
    classifier = load_classifier(folder / "checkpoints" / "best.ckpt")
    assert classifier.network._compiled_call_impl is None
    again = test_task.run(compose_config(f"ckpt={folder}", "task=test", "data.workers=0", *FAST))
    assert again["test/loss"] == pytest.approx(fast["test/loss"], rel=1e-4)


@pytest.mark.slow
def test_it_goes_on_in_mid_epoch(
    captured: list[str],
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = ["data.batch_size=7", "callbacks.probe=null", "callbacks.last_checkpoint.steps=2"]
    options = [*tiny, *quick, *FAST]
    train.run(compose_config(*options))
    (tmp_path / "run").rename(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(10, patch)
        train.run(compose_config(*options))
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] % 7
    train.run(compose_config(*options))
    expected = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.slow
def test_steps_that_are_listened_to_run_uncompiled_and_are_heard(
    captured: list[str],
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[tuple[int, int]] = []
    step = ImageClassifier.training_step

    def recording(self: ImageClassifier, batch: Batch, batch_index: int) -> torch.Tensor:
        before = len(captured)
        loss = step(self, batch, batch_index)
        steps.append((self.current_epoch, len(captured) - before))
        return loss

    monkeypatch.setattr(ImageClassifier, "training_step", recording)
    # Drawn after the second epoch of three only, and after the last.
    drawn = ["probe.split=train", "probe.every_n_epochs=2", "trainer.max_epochs=3"]
    train.run(compose_config(*tiny, *drawn, *FAST))
    names = sorted(file.name for file in (tmp_path / "run" / "atlas").glob("*.safetensors"))
    assert names == ["epoch=002.safetensors", "epoch=003.safetensors"]
    atlas = Atlas.load(tmp_path / "run" / "atlas" / names[0])
    assert all(bool((found.indices >= 0).any()) for found in atlas.layers.values())
    assert {epoch: runs for epoch, runs in steps} == {0: 1, 1: 0, 2: 0}
    assert len(set(steps)) == 3


def test_what_cannot_be_compiled_says_what_helps(
    compose_config: Compose,
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler")

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=failing))
    with pytest.raises(Exception, match="no compiler"):
        train.run(compose_config(*tiny, *FAST, "callbacks.probe=null"))
    assert "callbacks.fast_network.compile=false" in caplog.text


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("devices", [1, 2])
def test_the_preset_trains_a_network_with_generated_code(
    devices: int, tiny: list[str], tmp_path: Path
) -> None:
    done = command(
        *("trainer=gpu", "trainer.accelerator=cpu", f"trainer.devices={devices}"),
        *(*tiny, "callbacks=paper", "trainer.max_epochs=2", "hydra.run.dir=run"),
        folder=tmp_path,
        timeout=1400,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["val/images"] == result["test/images"] == 6
    assert (tmp_path / "run" / "atlas" / "epoch=002.safetensors").exists()
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(
        value.dtype == torch.float32 for value in state.values() if value.is_floating_point()
    )
