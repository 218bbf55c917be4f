"""Memory that is free for this process, and sizes in words."""

from pathlib import Path

#: Limits of a container and what it uses: control groups of version 2 and 1.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def available_memory() -> int | None:
    """Bytes that can still be taken without swapping; None where the system does not say."""
    free = []
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    for limit, used in _GROUPS:
        # `max` is no limit.
        if (most := _read(limit)).isdigit() and (now := _read(used)).isdigit():
            free.append(max(0, int(most) - int(now)))
    return min(free, default=None)


def size_in_words(count: float) -> str:
    """Bytes as `12 MB` or `3.4 GB`."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
