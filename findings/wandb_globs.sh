#!/usr/bin/env bash
# wandb: of two patterns of `define_metric` that match a metric, either is followed, by chance.
#
# Versions: wandb 0.31.0.
# Guessed:  the longer pattern counts, `val/*` before `*`; or the later one.
# So:       each metric follows one of the two at random, another one in the next run.
# Matters:  Lightning's WandbLogger defines `*` against trainer/global_step. `define_metric("val/*",
#           step_metric="epoch")`, as tutorials have it, then draws some curves against the epoch and
#           others against the step, and differently in each run of a sweep. Name each metric.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check wandb==0.31.0
WANDB_SILENT=true environment/bin/python - <<'PYTHON'
import json
import subprocess
import sys

import wandb

print("wandb", wandb.__version__)
METRICS = 40
run = wandb.init(project="finding", mode="offline", dir=".")
# As Lightning's WandbLogger does, and then as the user does.
run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
run.define_metric("val/*", step_metric="epoch")
run.define_metric("val/named", step_metric="epoch")
run.log({"trainer/global_step": 100, "epoch": 1})
for number in range(METRICS):
    run.log({f"val/metric_{number}": 0.5})
run.log({"val/named": 0.5})
folder = run.settings.sync_dir
run.finish()

# wandb adds to each row the step that its metrics follow.
command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", folder]
lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
rows = [record["history"]["item"] for record in map(json.loads, lines) if record["type"] == "history"]
by_step = sum("epoch" not in row for row in rows[1:-1])
by_epoch = METRICS - by_step
print(f"{METRICS} metrics of val/*: {by_epoch} follow the epoch, {by_step} only the step")
assert 0 < by_step < METRICS
assert "epoch" in rows[-1], "named, it follows what it was told"
PYTHON
