"""A Hydra sweeper over a list of jobs, where not every combination of values is wanted.

Hydra takes sweepers from packages called hydra_plugins only, wherever they are on the path; the
folder of this one is put there by `zf_lightning.cli.main.add_plugins`.
"""

from collections.abc import Mapping, Sequence

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from zf_lightning.system.compat import BasicSweeper


class JobListSweeper(BasicSweeper):
    """Each job of a list, for every combination of what the command line sweeps besides.

    An option of the command line that the jobs name too chooses among them: with `model=zfnet`
    only those of that model are run.

    Args:
        jobs: options and their values, for each job.
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
            for job in self.jobs
            for given in combinations
            if (combined := combine(job, given)) is not None
        ]
        if not found:
            raise HydraException("None of the jobs of this sweep has the options that were given.")
        return list(self.split_overrides_to_chunks(found, max_batch_size))


def combine(job: Mapping[str, str], given: Sequence[str]) -> list[str] | None:
    """The overrides of a job and of the command line; None if they contradict each other."""
    values = dict(override.partition("=")[::2] for override in given)
    if any(values.get(key, value) != value for key, value in job.items()):
        return None
    rest = [override for override in given if override.partition("=")[0] not in job]
    return [*rest, *(f"{key}={value}" for key, value in job.items())]
