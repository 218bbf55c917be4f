#!/usr/bin/env bash
# The same class name means one thing in a Hydra configuration file and another on the command line.
#
# Versions: hydra-core 1.3.8, omegaconf 2.3.1.
# Guessed:  `classes: [010]` in a file and `classes=[010]` on the command line are the same.
# So:       the file is YAML 1.1, the command line has a grammar of its own. In a file 010 is the number
#           8 (octal), 0x1f is 31, no and on are booleans, 16:9 is 969 (base 60); on the command line all
#           are strings. nan is a string in a file and a number on the command line.
#           1_000 and 1e3 are numbers in both. No warning, either way.
# Matters:  class folders are called 010, no, on; codes of classes look like 1e3; a list of classes to
#           leave out that moves from the command line into an experiment file names others.
#           Quote them in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check hydra-core==1.3.8 omegaconf==2.3.1
environment/bin/python - <<'PYTHON'
import importlib.metadata
from pathlib import Path

from hydra import compose, initialize_config_dir

print("hydra-core", importlib.metadata.version("hydra-core"))
NAMES = ["010", "0x1f", "no", "on", "16:9", "nan", "1_000", "1e3", "08", "n01440764"]
Path("conf").mkdir()
Path("conf/config.yaml").write_text("classes: []\n")
Path("conf/file.yaml").write_text(f"classes: [{', '.join(NAMES)}]\n")
with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
    file = list(compose("file").classes)
    line = list(compose("config", [f"classes=[{','.join(NAMES)}]"]).classes)
differ = []
for name, in_file, on_line in zip(NAMES, file, line, strict=True):
    same = repr(in_file) == repr(on_line)
    differ += [] if same else [name]
    print(f"{name:10} file {in_file!r:12} line {on_line!r:12} {'' if same else 'differ'}")
assert differ == ["010", "0x1f", "no", "on", "16:9", "nan"], differ
assert file[:5] == [8, 31, False, True, 969] and line[:5] == NAMES[:5]
PYTHON
