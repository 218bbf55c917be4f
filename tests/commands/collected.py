"""The commands of the README, the documentation and the experiments, read from their files."""

import re
import shlex
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import ROOT

PROGRAMS = ("python main.py", "zf-lightning", "python -m zf_lightning")
#: A command of a block of code, of a table's cell or of a sentence, or of a comment's lines.
COMMAND = re.compile(
    rf"(?:^|[`\s])(?:uv run )?({'|'.join(map(re.escape, PROGRAMS))})(?=[ `\n]|$)([^`#\n]*)"
)
#: Of a comment of an experiment, the rest of a command that is longer than its line.
CONTINUED = re.compile(r"\n#\s+(?=[\w.+~]+=\S+)(?!.*main\.py)")


@dataclass(frozen=True)
class Command:
    """The arguments of a command, and the files that show it."""

    arguments: tuple[str, ...]
    pages: tuple[str, ...]

    @property
    def text(self) -> str:
        """The arguments as they are typed."""
        return " ".join(self.arguments)

    @property
    def sweeps(self) -> bool:
        """Whether it starts several runs."""
        return "-m" in self.arguments

    @property
    def overrides(self) -> list[str]:
        """What it says of the configuration."""
        return [argument for argument in self.arguments if not argument.startswith("-")]


def collected() -> list[Command]:
    """Every command, once, in the order of the files."""
    files = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "conf" / "experiment").glob("*.yaml")),
    ]
    found: dict[tuple[str, ...], list[str]] = {}
    for file in files:
        text = file.read_text()
        if file.suffix == ".yaml":
            text = re.sub(r"^# ?", "", CONTINUED.sub(" ", text), flags=re.MULTILINE)
        for match in COMMAND.finditer(text):
            line = match.group(2).strip()
            # A sentence that names the program and goes on, such as "`main.py` is two lines".
            arguments = tuple(shlex.split(line))
            if all(a.startswith("-") or "=" in a for a in arguments):
                pages = found.setdefault(arguments, [])
                if file.name not in pages:
                    pages.append(file.name)
    return [Command(arguments, tuple(pages)) for arguments, pages in found.items()]


def jobs(overrides: list[str]) -> list[list[str]]:
    """Jobs of a sweep over commas in which each value is seen once: the first, and one change."""
    values = [
        [f"{o.key_or_group}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [str(o.input_line)]
        for o in OverridesParser.create().parse_overrides(overrides)
    ]
    first = [of_option[0] for of_option in values]
    changed = [
        [*first[:place], value, *first[place + 1 :]]
        for place, of_option in enumerate(values)
        for value in of_option[1:]
    ]
    return [first, *changed]
