"""The versions of the packages that a benchmark compares with: today's, or no comparison."""

import platform
from importlib.metadata import version

from packaging.version import Version


def require(**least: str) -> str:
    """What is installed, for the output; ends the program where it is older than `least`."""
    found = {name: version(name) for name in least}
    for name, asked in least.items():
        if Version(found[name]) < Version(asked):
            python = f", which needs Python 3.11.11 or newer (this is {platform.python_version()})"
            raise SystemExit(
                f"{name} {found[name]} is too old to be compared with: install {name} >= {asked}"
                f"{python if name == 'zennit' else ''}."
            )
    return ", ".join(f"{name} {number}" for name, number in found.items())
