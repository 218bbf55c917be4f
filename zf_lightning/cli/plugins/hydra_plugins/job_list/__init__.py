"""A Hydra sweeper that checks all jobs before the first, and may be given a list of jobs.

Hydra takes sweepers from packages called hydra_plugins only, wherever they are on the path; the
folder of this one is put there by `zf_lightning.cli.main.add_plugins`.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict

from zf_lightning.config.compose import set_places, with_overrides
from zf_lightning.system.compat import BasicSweeper


class JobListSweeper(BasicSweeper):
    """Every combination of values that the command line sweeps, for each job of a list if given.

    An option of the command line that the jobs name too chooses among them: with `model=zfnet`
    only those of that model are run.

    Args:
        jobs: options and their values, for each job, where not every combination is wanted.
        max_batch_size, params: as Hydra's basic sweeper has them.
    """

    def __init__(
        self,
        jobs: Sequence[Mapping[str, object]],
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params)
        self.jobs = [{key: str(value) for key, value in job.items()} for job in jobs]

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Batches of jobs, each a list of overrides."""
        (combinations,) = BasicSweeper.split_arguments(overrides, None)
        found = [
            combined
            for job in self.jobs or [{}]
            for given in combinations
            if (combined := combine(job, given)) is not None
        ]
        if not found:
            raise HydraException("None of the jobs of this sweep has the options that were given.")
        return list(self.split_overrides_to_chunks(found, max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose and check each job of a batch: one that is not legal is known before the first.

        The launcher gets what was composed here. Raises UserError for a value out of its range.
        """
        assert self.hydra_context is not None and self.config is not None
        loader = self.hydra_context.config_loader
        compose = loader.load_sweep_config
        composed: dict[tuple[str, ...], DictConfig] = {}

        def load_once(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
            found = composed.pop(tuple(sweep_overrides), None)
            return compose(master_config, sweep_overrides) if found is None else found

        loader.load_sweep_config = load_once  # type: ignore[method-assign]
        for overrides in batch:
            config = compose(master_config=self.config, sweep_overrides=[*overrides])
            composed[tuple(overrides)] = copy.deepcopy(config)
            with open_dict(config):
                del config["hydra"]
            set_places(config, Path())
            with_overrides(config, [*overrides])


def combine(job: Mapping[str, str], given: Sequence[str]) -> list[str] | None:
    """The overrides of a job and of the command line; None if they contradict each other."""
    values = dict(override.partition("=")[::2] for override in given)
    if any(values.get(key, value) != value for key, value in job.items()):
        return None
    rest = [override for override in given if override.partition("=")[0] not in job]
    return [*rest, *(f"{key}={value}" for key, value in job.items())]
