"""Files from a bucket, by every scheme that LitData knows."""

import functools
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zf_lightning.errors import UserError, reason_of

SCHEMES = ("s3://", "gs://", "azure://", "r2://", "hf://")
#: Times that a request to S3 is tried, over half a minute; LitData's own 1,000 take hours.
_ATTEMPTS = 8

log = logging.getLogger(__name__)


def is_remote(root: str) -> bool:
    """Whether `root` is a URL. Raises UserError for a scheme that is not known."""
    if "://" not in root:
        return False
    if not root.startswith(SCHEMES):
        raise UserError(
            f"data.root={root} has a scheme that is not known; choose one of {', '.join(SCHEMES)}."
        )
    return True


def download(url: str, path: Path, options: Mapping[str, Any]) -> None:
    """Write the file at `url` to `path`. Raises UserError, naming the URL, if it cannot be had.

    `options` go to LitData's storage client: `endpoint_url` and the like for S3. Credentials come
    from where the service's own tools look for them.
    """
    # Imported here: it takes a second, and only those who use a bucket need it.
    from litdata.streaming.downloader import Downloader

    try:
        downloader = _downloader(url.rpartition("/")[0], json.dumps(dict(options)), os.getpid())
        if type(downloader).download_fileobj is not Downloader.download_fileobj:
            # The service's own client. LitData's other way starts threads that do not survive the
            # fork of the next data loader's workers.
            with path.open("wb") as opened:
                downloader.download_fileobj(url, opened)
        else:
            # It skips files that exist.
            path.unlink(missing_ok=True)
            downloader.download_file(url, str(path))
    except Exception as problem:
        # Each service's client has exceptions of its own, without a common class.
        log.debug("download of %s failed", url, exc_info=True)
        raise UserError(f"{url} cannot be fetched ({reason_of(problem)}).") from problem


@functools.lru_cache(maxsize=8)
def _downloader(folder: str, options: str, process: int) -> Any:
    """LitData's client for a folder of a bucket; making one takes longer than a small file.

    `options` are JSON. `process` is part of the key because connections are not shared with a
    process that is forked.
    """
    from litdata.streaming.downloader import get_downloader

    given = json.loads(options)
    if folder.startswith(("s3://", "r2://")):
        from botocore.config import Config

        retries: Any = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
        given = {"config": Config(retries=retries, connect_timeout=10), **given}
    return get_downloader(folder, "", [], given)
