"""Train and look inside convolutional networks: `python main.py --help`, README.md, conf/."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from zf_lightning.cli import main as command_line


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Run the task that the command line asks for."""
    command_line.run(config, script=Path(__file__).resolve())


if __name__ == "__main__":
    with command_line.clear_messages():
        command_line.prepare()
        main()
