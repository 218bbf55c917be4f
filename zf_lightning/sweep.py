"""Each job of a sweep as its own single run in a fresh process.

Lightning starts the other processes of a distributed run by running the script again; inside a
Hydra multirun these would run the whole sweep again, deadlock, or train on part of the data.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from zf_lightning.errors import UserError

#: What a parent process of a distributed run leaves in the environment.
DISTRIBUTED_VARIABLES = re.compile(
    r"(RANK|LOCAL_RANK|GROUP_RANK|NODE_RANK|ROLE_.*|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR"
    r"|MASTER_PORT|TORCHELASTIC_.*|PL_.*)"
)
#: Hydra's own options that belong to the sweep and not to a job of it.
SWEEP_OPTIONS = re.compile(r"hydra[./](sweep|sweeper|launcher|mode|run)\b")
OUTCOMES = "jobs.jsonl"
SWEPT_VARIABLE = "ZF_LIGHTNING_SWEPT"


@dataclass(frozen=True)
class Outcome:
    """How a job of a sweep ended."""

    folder: str
    exit_code: int


def run_job(script: Path) -> int:
    """Run the current job of a Hydra sweep as `script` with the job's overrides; its exit code.

    Called in the process that Hydra's launcher gave the job. A failure is recorded and does not
    raise, so that the next job goes on; the sweep's summary reports it.
    Raises UserError, which ends the sweep, if an earlier job of it had the same folder.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    overrides = [o for o in hydra.overrides.hydra if not SWEEP_OPTIONS.match(o.lstrip("+~"))]
    command = [
        sys.executable,
        str(script),
        *_configuration_flags(),
        *hydra.overrides.task,
        *overrides,
        f"hydra.run.dir={_quoted(str(folder))}",
        f"sweep={_quoted(Path(hydra.sweep.dir).resolve().name)}",
    ]
    environment = {k: v for k, v in os.environ.items() if not DISTRIBUTED_VARIABLES.fullmatch(k)}
    print(f"\n--- {folder.name} ---", flush=True)
    if any(earlier.folder == str(folder) for earlier in read_outcomes(Path(hydra.sweep.dir))):
        raise UserError(f"Two jobs of this sweep have the same folder {folder}; name them apart.")
    done = subprocess.run(command, env=environment, cwd=hydra.runtime.cwd, check=False)
    outcome = Outcome(folder=str(folder), exit_code=done.returncode)
    with (Path(hydra.sweep.dir) / OUTCOMES).open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")
    return done.returncode


def start_outcomes(folder: Path) -> None:
    """Forget the outcomes of an earlier sweep in the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OUTCOMES).write_text("")


def read_outcomes(folder: Path) -> list[Outcome]:
    """The outcomes of the jobs that have ended, in that order."""
    lines = (folder / OUTCOMES).read_text().splitlines()
    return [Outcome(**json.loads(line)) for line in lines]


def job_folder(overrides: Sequence[str]) -> str:
    """A job's folder, named by the overrides that are swept, or by all if none is known to be.

    Without slashes, and no longer than a file system takes.
    """
    swept = os.environ.get(SWEPT_VARIABLE, "").split(",")
    chosen = [text for text in overrides if override_key(text) in swept] or list(overrides)
    whole = ",".join(chosen)
    name = re.sub(r"[^\w.,=+@~\-]", "_", whole)
    if len(name) > 150:
        name = f"{name[:140]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return name or "unchanged"


def override_key(override: str) -> str:
    """What an override changes: `model.width` of `model.width=0.5`."""
    return override.lstrip("+~").split("=")[0].split("@")[0]


def remember_swept(overrides: Sequence[str]) -> None:
    """Keep which overrides of a sweep take several values, for the names of its jobs."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = [one.key_or_group for one in parsed if one.is_sweep_override()]
    # In the environment, so that a launcher's worker processes know it too.
    os.environ[SWEPT_VARIABLE] = ",".join(swept)


def register_resolvers() -> None:
    """Make `${job_folder:…}` known to OmegaConf."""
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def _configuration_flags() -> list[str]:
    hydra = HydraConfig.get()
    flags = []
    if hydra.job.config_name not in (None, "config"):
        flags += ["--config-name", hydra.job.config_name]
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
    return flags


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
