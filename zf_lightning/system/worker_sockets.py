"""Workers hand over tensors by sockets in the temporary folder, whose path has to be short."""

import os
import tempfile

from torch import multiprocessing

from zf_lightning.errors import UserError

#: Bytes of the temporary folder's path, at most: a Unix socket has 107, of which Python takes 32.
LONGEST_TEMPORARY_FOLDER = 75


def check_temporary_folder() -> None:
    """Raise UserError where the path of the temporary folder is too long for workers' sockets.

    PyTorch's loader would wait for ever for a worker that cannot hand over a tensor.
    """
    folder = tempfile.gettempdir()
    length = len(os.fsencode(folder))
    shares_by_socket = multiprocessing.get_sharing_strategy() == "file_descriptor"
    if shares_by_socket and length > LONGEST_TEMPORARY_FOLDER:
        raise UserError(
            f"The path of the temporary folder, {folder}, takes {length} bytes: workers that "
            f"read images can use {LONGEST_TEMPORARY_FOLDER}. Set TMPDIR to a shorter one, or read "
            "without workers by data.workers=0."
        )
