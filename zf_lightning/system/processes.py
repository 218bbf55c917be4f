"""Processes that belong together end together, and only one run writes in a folder."""

import contextlib
import logging
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from zf_lightning.errors import UserError
from zf_lightning.system.files import LOCK, remove_unfinished

log = logging.getLogger(__name__)

PARENT_VARIABLE = "ZF_LIGHTNING_PARENT"
#: How often a process looks whether its parent is there, in seconds.
INTERVAL = 0.5
#: How long a process that has failed waits for the first to say so, and a worker that is told to
#: end for its reader, in seconds.
REPORTING = 10.0
#: How long to wait for a folder: what remains of a killed run, such as the workers that load data
#: (they look for their parent every 5 seconds), needs a moment to end.
PATIENCE = 30.0


#: Where launchers of distributed runs say the number of a process, as Lightning reads them.
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def is_first_process() -> bool:
    """True in the process that speaks and writes for all of a distributed run."""
    loaded = sys.modules.get("lightning.pytorch.utilities.rank_zero")
    if loaded is not None:
        # It also knows the machines of a run.
        return getattr(loaded.rank_zero_only, "rank", 0) == 0
    rank = next((os.environ[name] for name in RANK_VARIABLES if name in os.environ), "0")
    return int(rank) == 0


def follow_parent() -> None:
    """End this process when the process of ours that started it ends, even if by SIGKILL.

    A job of a sweep must not go on writing when the sweep was killed, nor the other processes of
    a distributed run when the first was. A process looks every half second whether it still has
    the parent that it had: that needs nothing of the system, where a pipe would have to reach
    through Lightning's launcher, and Linux has a signal of its own for it but others do not.
    """
    parent = int(os.environ.get(PARENT_VARIABLE, 0))
    # For the processes that this one starts.
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    if not parent or (os.getppid() != parent and _alive(parent)):
        # Not started by one of ours, or not directly: what is between decides.
        return
    threading.Thread(target=_follow, args=(parent,), daemon=True, name="follow-parent").start()


def follow_loader(_: int) -> None:
    """End a worker of a DataLoader with the process that reads from it: its `worker_init_fn`.

    torch's workers look for their parent only while they wait for work: one that has more to hand
    over than a pipe holds would wait for ever. And a SIGTERM to the whole group, as `timeout` sends
    it, is the reader's to answer: one that lost its workers first would end with their traces.
    """
    threading.Thread(target=_follow_reader, daemon=True, name="follow-parent").start()
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(*_: object) -> None:
    # If the reader does not end this worker before.
    timer = threading.Timer(REPORTING, os._exit, (128 + signal.SIGTERM,))
    timer.daemon = True
    timer.start()


def _follow_reader() -> None:
    reader = multiprocessing.parent_process()
    if reader is not None:
        reader.join()
        # Of the sockets by which batches are handed over.
        shutil.rmtree(multiprocessing.util.get_temp_dir(), ignore_errors=True)
        os._exit(1)


@contextlib.contextmanager
def first_process_reports() -> Iterator[None]:
    """After a failure, let the first process of a distributed run say the cause before this ends.

    Lightning looks every five seconds for a process that has ended with an error, and then ends
    all by SIGKILL, the first too, which would say nothing. So this process closes its connections,
    on which the first fails as well, and waits a while for the first, its parent, to end.
    """
    parent = os.getppid()
    try:
        yield
    except Exception:
        # Imported here: this module is loaded at every start of the command line.
        from torch import distributed

        # NCCL might wait for the others here, who do not come.
        if distributed.is_initialized() and distributed.get_backend() == "gloo":
            with contextlib.suppress(Exception):
                distributed.destroy_process_group()
        deadline = time.monotonic() + REPORTING
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(INTERVAL / 5)
        raise


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    print("error: the process that started this one has ended: so does it.", file=sys.stderr)
    sys.stderr.flush()
    # Not by an exception: the main thread may be waiting in another library.
    os._exit(1)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Be the only run in `folder` while the context lasts.

    The system gives the folder back when a process ends, however it ends.
    Raises UserError if another run keeps it for longer than `PATIENCE`.
    """
    lock = FileLock(folder / LOCK)
    try:
        _acquire(lock, folder)
    except (NotImplementedError, OSError) as problem:
        # Some network file systems have no locks.
        log.warning(f"{folder} cannot be locked ({problem}): do not start two runs in it.")
    else:
        remove_unfinished(folder)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, folder: Path) -> None:
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=0)
        return
    log.info(f"Waiting for another process that is at work in {folder} …")
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise UserError(
            f"Another run is at work in {folder}: wait for its end, or choose another folder."
        ) from None
