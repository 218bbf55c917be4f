"""The named experiments on training from scratch compose what they say, and run."""

from pathlib import Path

import pytest

from tests.conftest import Compose
from zf_lightning.config.instantiate import check_target, plain
from zf_lightning.tasks import transfer
from zf_lightning.training.build import build_model_options

FROM_SCRATCH = ["caltech_from_scratch", "caltech_from_scratch_best"]
#: The paper's: of its rows in Table 3 five, with what they leave of the network.
ROWS = {
    "none": (5, 2),
    "drop_fc7": (5, 1),
    "drop_fc6_fc7": (5, 0),
    "drop_conv34": (3, 2),
    "drop_conv34_fc67": (3, 0),
}


@pytest.mark.parametrize("name", FROM_SCRATCH)
@pytest.mark.parametrize("trainer", ["default", "gpu"])
def test_from_scratch_composes(name: str, trainer: str, compose_config: Compose) -> None:
    config = compose_config(f"experiment={name}", "data.root=somewhere", f"trainer={trainer}")
    check_target(plain(config))
    assert (config.task.name, config.data.name, config.model.name) == (
        *("transfer", "caltech101", "zfnet"),
    )
    assert config.transfer.from_scratch and list(config.transfer.per_class) == [15, 30]
    assert config.data.batch_size == 128 and config.transfer.folds == 5
    assert config.model.width == 1 and config.trainer.max_epochs == config.scheduler.epochs
    build_model_options(config)


def test_the_first_is_what_the_paper_states(compose_config: Compose) -> None:
    overrides = ["experiment=caltech_from_scratch", "data.root=somewhere"]
    config = compose_config(*overrides)
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 0)
    assert config.model.initialisation == "paper"
    assert dict(config.model.preprocessing) == {"mean": "pixel", "scale": "none"}
    assert config.callbacks.filter_renormalisation.rms_limit == 0.1
    assert max(config.scheduler.schedule.milestones) < config.scheduler.epochs
    without = compose_config(*overrides, "callbacks=default")
    assert "filter_renormalisation" not in without.callbacks
    assert without.scheduler == config.scheduler and without.callbacks.last_checkpoint is None
    for ablation, (convs, fcs) in ROWS.items():
        model = build_model_options(compose_config(*overrides, f"ablation={ablation}"))
        assert sum(layer is not None for layer in model["convs"].values()) == convs
        assert sum(layer is not None for layer in model["fcs"].values()) == fcs


@pytest.mark.parametrize(
    "name", [FROM_SCRATCH[0], pytest.param(FROM_SCRATCH[1], marks=pytest.mark.slow)]
)
def test_from_scratch_trains_and_tests_a_fold(
    name: str, compose_config: Compose, image_folder: Path, tmp_path: Path
) -> None:
    result = transfer.run(
        compose_config(
            *(f"experiment={name}", "data=folder", f"data.root={image_folder}"),
            *(f"paths.data={tmp_path / 'data'}", "data.batch_size=8", "data.workers=0"),
            *("model.width=0.05", "model.input_size=70", "logger=none", "scheduler.epochs=2"),
            *("transfer.per_class=[4]", "transfer.folds=1", "trainer.devices=1"),
        )
    )
    accuracies = [value for key, value in result.items() if key.startswith("transfer/")]
    assert len(accuracies) == 1 and 0 <= accuracies[0] <= 100
    fold = tmp_path / "run" / "from_scratch" / "4_fold_0"
    assert (fold / "checkpoints" / "best.ckpt").exists()
    assert not (fold / "checkpoints" / "last.ckpt").exists()
