"""The number of processors that this process may use."""

import os

#: Set for the jobs of a sweep that share a machine.
CORES_VARIABLE = "ZF_LIGHTNING_CORES"


def available_cores() -> int:
    """Processors granted to this process: in a container or a batch job fewer than there are.

    A job of a sweep that shares the machine with others has its part of them.
    """
    limited = hasattr(os, "sched_getaffinity")
    granted = len(os.sched_getaffinity(0)) if limited else os.cpu_count() or 1
    part = os.environ.get(CORES_VARIABLE)
    return granted if part is None else min(granted, int(part))


def default_workers(asked: int | None, *, processes: int = 1, at_most: int | None = 16) -> int:
    """Worker processes that read data: as many as `asked` for, or by default one a core.

    `processes` share this machine; more workers than `at_most` rarely make a loader faster.
    """
    if asked is not None:
        return asked
    share = max(1, available_cores() // processes)
    return share if at_most is None else min(at_most, share)
