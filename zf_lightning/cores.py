"""How many processors this process may use."""

import os


def available_cores() -> int:
    """Those granted to this process: in a container or a batch job fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
