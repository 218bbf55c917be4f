"""task=explore: a page of this machine's own on which one network is looked at."""

import logging
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zf_lightning.inspection.explore_page import gradio, serve
from zf_lightning.inspection.explorer import Explorer
from zf_lightning.inspection.subject import load_subject

log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Serve the page until Ctrl-C or SIGTERM; what was dropped on it is removed then."""
    gradio()  # A mistake is reported at once.
    explorer = Explorer(load_subject(config), config)
    folder = Path(config.paths.run)
    folder.mkdir(parents=True, exist_ok=True)
    # Each request of Gradio's to its own page.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix=".explore.", dir=folder) as files:
        page = serve(explorer, Path(files))
        log.info(f"Open {page.local_url} in a browser; Ctrl-C ends it.")
        page.block_thread()
    return {"task": config.task.name}
