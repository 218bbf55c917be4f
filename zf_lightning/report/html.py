"""Pages from the templates of this folder."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from zf_lightning.system.files import write_whole


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Write a template, filled in with `values`, atomically; returns `path`."""
    environment = Environment(
        loader=PackageLoader("zf_lightning.report"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return write_whole(path, environment.get_template(template).render(**values))
