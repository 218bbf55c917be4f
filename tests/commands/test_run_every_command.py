"""Every command that README, documentation and experiments show is run, small.

The commands are read from the files, and run with the default loggers, wandb offline, as processes
of their own. What a command leaves to the reader (FOLDER, FILE …) is filled in from `FILLED`; what
makes it small is in `SMALLER`. A command that needs what no test has is in `NOT_HERE`.
"""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.commands.collected import Command, collected
from tests.commands.forked import run_forked
from tests.commands.world import EMBEDDED, SHORT, SMALL, copy_run, link, make_weights, make_world
from tests.conftest import ROOT
from tests.runs import run_typed

pytestmark = pytest.mark.timeout(900)

COMMANDS = collected()
#: Run elsewhere in the ordinary suite.
AS_TYPED = {
    "": "test_as_typed.py",
    "model=zfnet trainer.devices=2": "test_as_typed.py",
    "-m ablation=drop_fc6_fc7,drop_conv34": "test_as_typed.py",
    "task=workspace": "below: it writes no result",
}
#: Commands that need what no test has: why, and what they end with.
NOT_HERE = {
    "task=verify verify.atlas=ATLAS ckpt=FOLDER": ("an atlas", "ATLAS is not the folder of a run"),
    "task=explore ckpt=FOLDER": ("it serves until it is ended", "package gradio|FOLDER"),
}
#: Tasks whose first command is run in the ordinary suite. The others end as these do, and each has
#: tests of its own in tests/tasks.
ORDINARY = {"task=atlas", "task=occlusion", "task=prepare", "task=test"}
#: What stands for something of the reader's; {world} is the folder of tests/commands/world.py.
FILLED = {
    "ckpt=FOLDER": "ckpt={world}/run",
    "ckpt=RUN": "ckpt={world}/run",
    "ckpt=[A,B,C]": "ckpt=[{world}/run,{world}/run,{world}/run]",
    "resume=FOLDER": "resume=outputs/train/2026-01-01_00-00-00",
    "filters.compare=FOLDER": "filters.compare={world}/run",
    "images=FOLDER": "images={world}/few",
    "images=[602,102]": "images=[6,2]",
    "landmarks=FILE.csv": "landmarks={world}/dogs/landmarks.csv",
    "predict.root=IMAGES": "predict.root={world}/few",
    "overlap.root=PRETRAINING_IMAGES": "overlap.root={world}/pictures",
    "prepare.out=SHARDS": "prepare.out=SHARDS",
    "model.name=NAME": "model.name=squeezenet1_0",
    # timm's own for tests.
    "model.name=convnext_tiny.in12k_ft_in1k": "model.name=test_convnext.r160_in1k",
    "model.network._target_=package.Class": "model.network._target_=tests.networks.Skipping",
    "logger.wandb.project=NAME": "logger.wandb.project=mine",
    # The page's own YAML: see `written`.
    "ablation=NAME": "ablation=NAME",
    # As many as this machine has.
    "trainer.devices=8": "trainer.devices=2",
    "trainer.max_epochs=100": "trainer.max_epochs=3",
    "trainer=gpu": "trainer=gpu",
    # Two seeds are as many as make a mean.
    "seed=0,1,2": "seed=0,1",
}
#: Where data.root points, by what reads it.
ROOTS = {
    "data=folder": "{world}/pictures",
    "data=images": "{world}/few",
    "data=imagenet": "{world}/imagenet",
    "data=shards": "{world}/shards",
    "data=caltech101": "{world}/data/caltech101/101_ObjectCategories",
    "data=caltech256": "{world}/data/caltech256/256_ObjectCategories",
    "data=voc2012": "{world}/data",
    "experiment=table3": "{world}/imagenet",
    "experiment=caltech_from_scratch": "{world}/data/caltech101/101_ObjectCategories",
    "experiment=caltech_from_scratch_best": "{world}/data/caltech101/101_ObjectCategories",
}
PLACEHOLDER = re.compile(r"=(\[?[A-Z]+\b|…|package\.)")
#: Options that shorten a task, by what the command says.
SMALLER = {
    "task=atlas": ["atlas.maps=1", "atlas.top=2"],
    "task=occlusion": ["occlusion.stride=30"],
    "task=correspondence": ["correspondence.draws=2"],
    "task=sanity": ["sanity.units=2", "sanity.images=8"],
    "task=faithfulness": ["faithfulness.maps=2", "faithfulness.images=8", "faithfulness.pairs=2"],
    "task=knockout": ["knockout.maps=2", "knockout.images=8"],
    "task=quiz": ["quiz.maps=2", "quiz.images=8", "quiz.references=2", "quiz.trials=2"],
    "task=filters": ["filters.images=8"],
    "task=transfer": ["transfer.folds=1"],
    "trainer=gpu": ["trainer.accelerator=cpu", "callbacks.fast_network.compile=false"],
    "experiment=caltech_from_scratch": ["transfer.folds=1"],
    "experiment=caltech_from_scratch_best": ["transfer.folds=1"],
    "model=torchvision": ["model.input_size=96"],
    "model=custom": ["model.input_size=70"],
}


def filled(command: Command, world: Path) -> list[str]:
    """The arguments as a reader would type them."""
    found = []
    for argument in command.arguments:
        if argument == "model.weights=FILE":
            name = next(a for a in command.arguments if a.startswith("model.name="))
            name = FILLED.get(name, name).removeprefix("model.name=")
            # The imitation of ImageNet has few classes.
            of = "_imagenet" if "data=imagenet" in command.arguments else ""
            argument = f"model.weights={{world}}/{name}{of}.safetensors"
        elif argument.startswith("data.root=") and PLACEHOLDER.search(argument):
            reader = next(a for a in command.arguments if a in ROOTS)
            argument = f"data.root={ROOTS[reader]}"
        else:
            argument = FILLED.get(argument, argument)
            assert not PLACEHOLDER.search(argument) or argument in FILLED, argument
        found.append(argument.replace("{world}", str(world)))
    return found


def shorter(command: Command, world: Path) -> list[str]:
    """Options that make it small."""
    if "resume" in command.text or "--help" in command.arguments:
        return []
    given = command.arguments
    found = [f"paths.data={world / 'data'}", *SHORT]
    trains = not any(a.startswith(("ckpt=", "task=")) for a in given)
    if trains and not any(a.startswith(("data=", "experiment=")) for a in given):
        found.append(EMBEDDED)
    if trains and not {"model=torchvision", "model=timm", "model=custom"} & set(given):
        found += SMALL
    if trains:
        found += ["probe.maps=1", "probe.top=2"]
    for argument in given:
        found += SMALLER.get(argument, [])
    return found


def is_slow(command: Command) -> bool:
    """Whether it is left to `pytest -m slow`: several runs, processes or fits, and all trainings.

    What trains without options, on two devices and in a sweep is in the ordinary suite as typed.
    """
    if "--help" in command.arguments or "logger=[csv,tensorboard]" in command.arguments:
        return False
    task = task_of(command)
    first = next(one for one in COMMANDS if task_of(one) == task)
    return command.sweeps or task not in ORDINARY or command.text != first.text


def task_of(command: Command) -> str | None:
    """The task that it asks for; none is a training."""
    return next((a for a in command.arguments if a.startswith("task=")), None)


def parameters() -> list:
    """Commands, with their marks."""
    return [
        pytest.param(
            command,
            id=command.text or "no options",
            marks=[pytest.mark.slow] if is_slow(command) else [],
        )
        for command in COMMANDS
        if command.text not in AS_TYPED and command.text not in NOT_HERE
    ]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all that the commands name."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(everything: Path, tmp_path: Path) -> Path:
    """The folder that a command is typed in."""
    link(everything, tmp_path)
    return tmp_path


def test_no_table_names_a_command_that_is_gone() -> None:
    texts = {command.text for command in COMMANDS}
    assert texts >= {*AS_TYPED, *NOT_HERE}
    arguments = {argument for command in COMMANDS for argument in command.arguments}
    assert arguments >= {*FILLED, *SMALLER} - {"trainer=gpu"}


@pytest.mark.parametrize("command", parameters())
def test_every_command_runs(command: Command, everything: Path, folder: Path) -> None:
    if "resume" in command.text:
        copy_run(everything, folder)
    if "model.weights" in command.text and not list(everything.glob("*.safetensors")):
        make_weights(everything)
    if "data=shards" in command.arguments and not (everything / "shards").exists():
        prepared = ["task=prepare", "data=imagenet", "data.root=imagenet", "prepare.out=shards"]
        run_forked(everything, [*prepared, "data.workers=0"])
    arguments = [*filled(command, everything), *shorter(command, everything)]
    if command.text == "ablation=NAME":
        arguments = [*written(folder), *arguments]
    environment = {"XDG_STATE_HOME": str(folder / "state")}
    if "hydra/launcher=joblib" in command.arguments:
        # Its own processes know nothing of forks.
        printed = run_typed(folder, arguments)
    else:
        printed = run_forked(folder, arguments, environment)
    if "--help" in command.arguments:
        assert "resume=last" in printed
    elif command.sweeps:
        check_sweep(folder, printed)
    else:
        check_run(folder, command)


@pytest.mark.parametrize("text", NOT_HERE)
def test_what_cannot_be_run_here_is_taken_as_far_as_it_goes(text: str, folder: Path) -> None:
    environment = {"HOME": str(folder), "NETRC": str(folder / "none")}
    with pytest.raises(AssertionError, match=NOT_HERE[text][1]) as end:
        run_forked(folder, text.split(), environment)
    assert "Traceback" not in str(end.value)


def written(folder: Path) -> list[str]:
    """The ablation that CONTRIBUTING.md shows, in a folder of configurations; its flags."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    found = re.search(r"```yaml\n(# @package ablation\.NAME\n.*?)```", page, re.DOTALL)
    assert found
    file = folder / "mine" / "ablation" / "NAME.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(found.group(1))
    return ["--config-dir", str(folder / "mine")]


def check_run(folder: Path, command: Command) -> None:
    """A run has left its result; a training, what its loggers write."""
    (result,) = folder.glob("outputs/*/*/result.json")
    assert json.loads(result.read_text())
    run = result.parent
    if result.parents[1].name == "train":
        assert (run / "metrics.csv").exists() and (run / "report" / "index.html").exists()
        if "logger=[csv,tensorboard]" in command.arguments:
            assert list((run / "tensorboard").glob("events.*"))
        else:
            assert list((run / "wandb").glob("offline-run-*/*.wandb")) or "resume" in command.text


def check_sweep(folder: Path, printed: str) -> None:
    """All jobs are done, and stand in the table."""
    (sweep,) = folder.glob("outputs/sweep/*")
    (table,) = sweep.glob("*.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    jobs = sorted(sweep.glob("*/job.json"))
    assert len(jobs) >= 2 and f"{len(jobs)} jobs done" in printed
    assert {row.get("state", "done") for row in rows} == {"done"}
    for job in jobs:
        assert (job.parent / "result.json").exists()
        assert list(job.parent.rglob("offline-run-*"))


def test_the_workspace_is_written_without_an_account(folder: Path) -> None:
    environment = {"HOME": str(folder), "NETRC": str(folder / "none")}
    assert "wandb login" in run_forked(folder, ["task=workspace"], environment)
    assert len(list(folder.rglob("workspace.json"))) == 1
