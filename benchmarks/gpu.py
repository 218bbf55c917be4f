"""What the project does on a GPU, one measurement a command.

    python benchmarks/gpu.py training|inference|input|probe|ten_crops|precision|two_processes

`python benchmarks/gpu.py training --help` says what it measures and its options; the defaults are
those to be reported. Networks run as `trainer=gpu` sets them. Both sides of a ratio take turns in
one run. `--device cpu --width 0.05 --input-size 70 --no-compile` tries a command without a GPU.
"""

import argparse

from on_gpu import input_path, precision, probe_cost, ten_crops, throughput, two_processes

COMMANDS = {
    "training": throughput.TRAINING,
    "inference": throughput.INFERENCE,
    "input": input_path.COMMAND,
    "probe": probe_cost.COMMAND,
    "ten_crops": ten_crops.COMMAND,
    "precision": precision.COMMAND,
    "two_processes": two_processes.COMMAND,
}


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    several = parser.add_subparsers(required=True, metavar="|".join(COMMANDS))
    for name, command in COMMANDS.items():
        command.add_to(several, name)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
