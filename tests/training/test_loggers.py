"""`metrics.csv`, and wandb without a server."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import ROOT, Compose, tiny_run
from tests.runs import wait_for
from zf_lightning.errors import UserError
from zf_lightning.results.tables import Cell, Table
from zf_lightning.tasks import train
from zf_lightning.training import loggers
from zf_lightning.training.loggers import (
    MetricsFile,
    alert,
    has_failed,
    log_configuration,
    log_summary,
    log_table,
    wandb_logger,
)
from zf_lightning.training.wandb_options import run_options
from zf_lightning.training.wandb_runs import (
    close_wandb,
    log_figures,
    log_sweep_table,
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        return [{k: v for k, v in row.items() if v and k != "checksum"} for row in table]


def test_values_of_a_step_share_a_row(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"epoch": 0, "train/loss": 2.5}, step=9)
    logger.save()
    logger.log_metrics({"epoch": 0, "lr": 0.1}, step=9)
    logger.save()
    logger.log_metrics({"epoch": 0, "val/top1_error": 50.0, "val/loss": 1.0}, step=11)
    logger.finalize("success")
    logger.log_metrics({"test/loss": 0.5}, step=11)
    logger.finalize("success")
    assert rows(tmp_path / "metrics.csv") == [
        {"epoch": "1", "step": "9", "train/loss": "2.5", "lr": "0.1"},
        {
            "epoch": "1",
            "step": "11",
            "val/top1_error": "50.0",
            "val/loss": "1.0",
            "test/loss": "0.5",
        },
    ]


def test_a_run_that_goes_on_keeps_its_rows_but_those_it_takes_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path)
    for step in (10, 20, 30, 40):
        first.log_metrics({"epoch": 0, "train/loss": float(step)}, step=step)
    first.save()
    again = MetricsFile(path)
    again.log_metrics({"epoch": 0, "train/loss": 0.5}, step=30)
    again.log_metrics({"epoch": 1, "train/loss": 0.25}, step=50)
    again.finalize("success")
    assert [(r["step"], r["train/loss"]) for r in rows(path)] == [
        ("10", "10.0"),
        ("20", "20.0"),
        ("30", "0.5"),
        ("50", "0.25"),
    ]


def test_epochs_count_from_one_also_in_a_run_that_version_0_1_began(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss\n0,9,2.5\n1,19,2.0\n")
    logger = MetricsFile(path)
    logger.log_metrics({"epoch": 2, "train/loss": 1.5}, step=29)
    # Lightning's epoch is now the number of those that were trained.
    logger.log_metrics({"epoch": 3, "test/loss": 1.0}, step=30)
    logger.finalize("success")
    assert [row["epoch"] for row in rows(path)] == ["1", "2", "3", "3"]


def test_metrics_that_the_disk_does_not_take_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MetricsFile(tmp_path / "metrics.csv")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    with monkeypatch.context() as disk:
        disk.setattr(loggers, "write_whole", full)
        for step in (1, 2):
            logger.log_metrics({"train/loss": 2.0}, step=step)
            logger.save()
    assert caplog.text.count("could not be written") == 1
    logger.log_metrics({"train/loss": 1.0}, step=3)
    logger.finalize("success")
    assert [row["step"] for row in rows(tmp_path / "metrics.csv")] == ["1", "2", "3"]


class Fails(CSVLogger):
    """A logger whose service is gone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls = 0

    def log_metrics(self, metrics: dict, step: int | None = None) -> None:
        self.calls += 1
        raise ConnectionResetError("Connection reset by peer")


def test_a_logger_that_fails_is_a_warning_and_the_run_goes_on(
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: list[Fails] = []

    def failing(**_: object) -> Fails:
        made.append(Fails(tmp_path))
        return made[0]

    monkeypatch.setattr(loggers, "wandb_logger", failing)
    short = ["trainer.max_epochs=1", "callbacks.probe=null", "logger=wandb"]
    train.run(compose_config(*tiny, *short))
    assert made[0].calls == 1
    assert caplog.text.count("Fails has failed (Connection reset by peer)") == 1
    (row,) = (row for row in rows(tmp_path / "run" / "metrics.csv") if "val/loss" in row)
    assert float(row["val/loss"]) > 0


@pytest.mark.slow
def test_wandbs_own_process_may_be_killed(tmp_path: Path, image_folder: Path) -> None:
    command = [sys.executable, "main.py", *tiny_run(image_folder, tmp_path / "data")]
    command += ["logger=wandb", "callbacks.probe=null", "trainer.max_epochs=60"]
    command += [f"hydra.run.dir={tmp_path / 'run'}", "optimizer.lr=0.001"]
    environment = {**os.environ, "WANDB_MODE": "offline"}
    with (tmp_path / "said").open("w+") as said:
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
        table = tmp_path / "run" / "metrics.csv"
        wait_for(lambda: children(run.pid, named="wandb-core"), running=run)
        wait_for(table.exists, running=run)
        (service,) = children(run.pid, named="wandb-core")
        os.kill(service, signal.SIGKILL)
        assert run.wait(300) == 0
        said.seek(0)
        text = said.read()
    assert text.count("WandbLogger has failed") == 1
    assert "Traceback" not in text
    assert (tmp_path / "run" / "result.json").exists()
    assert max(int(row["epoch"]) for row in rows(table)) == 60


def children(process: int, *, named: str) -> list[int]:
    """Processes that one has started, of a name."""
    said = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True)
    lines = (line.split(None, 2) for line in said.stdout.splitlines())
    return [int(pid) for pid, of, name in lines if int(of) == process and named in name]


def records(folder: Path) -> dict[str, list]:
    """What the offline run in a run's folder has recorded, by kind."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list] = {}
    for line in lines.splitlines():
        one = json.loads(line)
        found.setdefault(one["type"], []).append(one[one["type"]])
    return found


def options(folder: Path, mode: str) -> dict:
    return {
        "folder": folder,
        "project": "zf-lightning",
        "entity": None,
        "group": "a-sweep",
        "name": None,
        "tags": [],
        "mode": mode,
    }


def test_wandb_without_a_server_keeps_everything_in_the_runs_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my_run"
    folder.mkdir()
    logger = wandb_logger(**options(folder, "auto"))
    logger.log_metrics({"val/top1_error": 12.5, "val/loss": 0.25}, step=3)
    # Of the best epoch.
    log_summary([logger], {"val/top1_error": 9.75, "best_epoch": 2, "paper": None})
    upload = close_wandb()
    offline = next((folder / "wandb").glob("offline-run-*"))
    assert upload == f"cd {folder} && wandb sync wandb/{offline.name}"
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json"]
    shown = subprocess.run([*command, str(offline)], capture_output=True, text=True, check=True)
    assert all(value in shown.stdout for value in ("9.75", "0.25", "best_epoch"))
    assert "12.5" not in shown.stdout
    again = wandb_logger(**options(folder, "auto"))
    assert again.version == logger.version
    assert close_wandb() is None


def test_each_run_of_a_process_stages_its_files_in_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR")
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "file").write_text("text")
    for name in ("first", "second"):
        wandb_logger(**options(tmp_path / name, "offline"))
        artifact = wandb.Artifact("a", type="t")
        artifact.add_file(str(tmp_path / "file"))
        staged = tmp_path / name / "wandb" / "artifacts" / "staging"
        assert len(list(staged.iterdir())) == 1
        assert {os.environ[variable] for variable in variables} == {str(staged.parents[1])}
    # A user's own choice stays.
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "mine"))
    wandb_logger(**options(tmp_path / "third", "offline"))
    assert os.environ["WANDB_CACHE_DIR"] == str(tmp_path / "mine")
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "third" / "wandb")


def test_the_table_of_a_sweep_is_a_run_of_its_group(tmp_path: Path) -> None:
    sweep, job = tmp_path / "my_sweep", tmp_path / "my_sweep" / "job"
    job.mkdir(parents=True)
    rows: tuple[tuple[Cell, ...], ...] = (("drop_fc7", 41.25), ("none", None))
    table = Table("ablation", "Errors", ("ablation", "val/top1_error"), rows)
    assert log_sweep_table(sweep, [job], table) is None
    (job / "config.yaml").write_text("logger: {wandb: {project: p, entity: null, mode: auto}}")
    upload = log_sweep_table(sweep, [job], table)
    # One command for the runs of the jobs and for the table.
    each = 'do (cd "$run" && wandb sync wandb/offline-run-*); done'
    assert upload == f"for run in {sweep} {sweep}/*/; {each}"
    assert list(sweep.glob("wandb/offline-run-*"))
    stored = next((sweep / "wandb").glob("offline-run-*/files/media/table/*.json"))
    assert "41.25" in stored.read_text()


@pytest.mark.parametrize("kind", [wandb.Error, ConnectionResetError])
def test_a_server_that_refuses_a_table_or_figures_is_a_warning(
    kind: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refusing(**options: object) -> None:
        raise kind("permission denied\nwhile asking for the project")

    (tmp_path / "job").mkdir()
    logged = "logger: {wandb: {project: p, entity: null, mode: auto}}"
    (tmp_path / "job" / "config.yaml").write_text(logged)
    monkeypatch.setattr(wandb, "init", refusing)
    table = Table("ablation", "Errors", ("ablation",), (("none",),))
    assert log_sweep_table(tmp_path, [tmp_path / "job"], table) is None
    config = OmegaConf.create({"task": {"name": "occlusion"}, "logger": {}})
    config.logger.wandb = options(tmp_path, "offline") | {"folder": str(tmp_path)}
    assert log_figures(config, {"occlusion": tmp_path / "occlusion.png"}) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"The {what} not logged to Weights & Biases: permission denied"
        for what in ("table was", "figures were")
    ]


def test_the_figures_of_a_task_are_a_run(tmp_path: Path) -> None:
    picture = tmp_path / "occlusion.png"
    Image.new("RGB", (8, 6)).save(picture)
    trained, run = tmp_path / "trained", tmp_path / "run"
    (trained / "wandb" / "offline-run-1").mkdir(parents=True)
    (trained / "wandb" / "run_id").write_text("abc")
    (trained / "checkpoints").mkdir()
    (trained / "checkpoints" / "best.ckpt").write_text("weights")
    (trained / "config.yaml").write_text("callbacks: {artifacts: {checkpoint: true}}")
    config = OmegaConf.create(
        {"task": {"name": "occlusion"}, "logger": {}, "paths": {"run": str(run)}, "seed": 3}
    )
    assert log_figures(config, {"occlusion": picture}) is None
    config.logger.wandb = options(run, "offline") | {
        "folder": str(run),
        "job_type": "occlusion",
        "notes": "of the eye",
    }
    config.ckpt = str(trained)
    upload = log_figures(config, {"occlusion": picture})
    assert upload is not None and upload.startswith(f"cd {run} && wandb sync wandb/offline-run")
    media = next((run / "wandb").glob("offline-run-*/files/media/images/*.png"))
    assert media.name.startswith("occlusion")
    record = records(run)
    assert record["run"][0]["job_type"] == "occlusion" and record["run"][0]["notes"] == "of the eye"
    # The network that it looks at is the one that its training has uploaded, or will.
    (used,) = record["artifact"]
    assert used["use_after_commit"] and used["name"] == "checkpoint-abc"
    assert used["type"] == "model" and "best" in used["aliases"]
    (file,) = used["manifest"]["contents"]
    assert file["path"] == "best.ckpt"
    assert file["local_path"] == "../trained/checkpoints/best.ckpt"
    assert record["run"][0]["config"]["update"].keys() == {"ablation", "seed", "task", "_wandb"}


def test_an_alert_that_fails_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = wandb_logger(**options(tmp_path, "disabled"))
    told: list[dict] = []
    monkeypatch.setattr(logger.experiment, "alert", lambda **of: told.append(of))
    both = [logger, MetricsFile(tmp_path / "metrics.csv")]
    alert(both, "stalled", "for long")
    assert told == [{"title": "stalled", "text": "for long"}]
    monkeypatch.setattr(logger.experiment, "alert", None)
    alert(both, "stalled", "for long")
    close_wandb()
    assert "WandbLogger has failed" in caplog.text


def test_a_table_is_a_text_of_tensorboard(tmp_path: Path) -> None:
    rows: tuple[tuple[Cell, ...], ...] = (("mean", 41.5),)
    table = Table("ensemble", "Errors", ("network", "top-1"), rows)
    logger = TensorBoardLogger(tmp_path, name="", version="")
    log_table([MetricsFile(tmp_path / "metrics.csv"), logger], table)
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (text,) = events.Tensors("ensemble/text_summary")
    assert "41.5" in text.tensor_proto.string_val[0].decode()


def test_runs_can_be_grouped_by_ablation_and_name_no_path() -> None:
    logged: list[dict] = []

    class Kept(MetricsFile):
        def log_hyperparams(self, params: dict, *args: object, **options: object) -> None:
            logged.append(params)

    values = {
        "ablation": {"a": {"convs": {}}, "b": {}},
        "paths": {"run": "/home/me/x"},
        "data": {"root": "/home/me/images", "source": {"_target_": "a.B", "year": 2007}},
        "callbacks": {"finite": {"_target_": "a.C", "every_n_steps": 10}},
        "images": ["/home/me/a.png", 7],
        "overrides": ["data.root=/home/me/images", "seed=1"],
        "landmarks": None,
        "task": {"name": "occlusion"},
    }
    log_configuration([Kept("metrics.csv")], values)
    log_configuration([Kept("metrics.csv")], {**values, "task": {"name": "train"}})
    log_configuration([Kept("metrics.csv")], {"ablation": {}})
    both = {"ablation": "a+b", "overrides": ["seed=1"], "data": {"source": {"year": 2007}}}
    assert logged == [
        {**both, "images": [7], "task": {"name": "occlusion"}},
        {**both, "callbacks": {"finite": {"every_n_steps": 10}}, "task": {"name": "train"}},
        {"ablation": "none"},
    ]


def test_a_server_that_refuses_is_one_sentence() -> None:
    class Refusing(MetricsFile):
        def log_hyperparams(self, *args: object, **options: object) -> None:
            raise wandb.Error("connection refused\nwhile retrying")

    with pytest.raises(UserError, match=r"connection refused\); .* logger.wandb.mode=offline"):
        log_configuration([Refusing("metrics.csv")], {})


def test_wandbs_own_process_that_ends_before_the_first_step_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MetricsFile):
        def log_hyperparams(self, *args: object, **options: object) -> None:
            raise ConnectionResetError("Connection lost")

    broken, other = Broken("metrics.csv"), MetricsFile(tmp_path / "metrics.csv")
    log_configuration([broken, other], {})
    assert has_failed(broken) and not has_failed(other)
    assert "Broken has failed (Connection lost): nothing more is logged to it" in caplog.text


def test_the_older_name_of_offline_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert run_options(**options(tmp_path, "online"))["mode"] == "offline"


def test_an_unknown_mode_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(UserError, match="remote"):
        wandb_logger(**options(tmp_path, "remote"))
