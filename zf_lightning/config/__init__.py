"""What the options are, and how they become objects."""

from pathlib import Path

#: The configuration files of the package.
CONF = Path(__file__).parents[1] / "conf"
