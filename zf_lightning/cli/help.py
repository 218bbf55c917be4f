"""The text of `--help`.

Hydra's own lists every option of the default run, and takes seconds to find all groups first.
"""

from pathlib import Path

from zf_lightning.tasks import TASKS

TEXT = """\
{program} [OPTION=VALUE ...]

Trains the networks of "Visualizing and Understanding Convolutional Networks" (Zeiler & Fergus,
2014) and looks inside them. Without options it trains a small network on images that it draws
itself, in a few minutes, and needs no data, no GPU and no account.

Tasks (task=NAME; train is the default):
{tasks}

Choices (GROUP=NAME):
{groups}

Examples:
  {program}                                           train, test, and draw each epoch
  {program} model=zfnet data=imagenet data.root=FOLDER trainer=gpu
  {program} task=atlas ckpt=RUN_FOLDER                the images that excite each feature map
  {program} task=occlusion ckpt=RUN_FOLDER images=FILE
  {program} -m ablation=none,drop_fc7 seed=0,1        a sweep, with a table at its end
  {program} resume=last                               resume the newest run

Values of every option: {program} --cfg job task=NAME, or the files in {conf}
Hydra's own flags: {program} --hydra-help
"""
GROUPS = (
    *("model", "data", "ablation", "optimizer", "scheduler", "trainer", "callbacks", "logger"),
    "experiment",
)


def help_text(conf: Path, *, program: str) -> str:
    """What `--help` prints; tasks and choices are those of the folder `conf`."""
    tasks = [f"  {name:<15} {task.description}" for name, task in TASKS.items()]
    groups = [
        f"  {group:<15} {', '.join(sorted(file.stem for file in (conf / group).glob('*.yaml')))}"
        for group in GROUPS
    ]
    return TEXT.format(
        program=program, tasks="\n".join(tasks), groups="\n".join(groups), conf=conf.resolve()
    )
