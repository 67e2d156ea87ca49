"""One run at a time in a folder: two that write the same files would leave a mixture of both."""

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightlab.errors import InputError

logger = logging.getLogger(__name__)

LOCK = ".lock"


def check_writable(folder: str | Path) -> None:
    """Makes a run's folder where there is none. Raises InputError where it cannot be made, or nothing written to it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission to write, or a file system that is read only")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written to ({error.strerror}); name another OUTPUT_DIR, or mend its permissions"
        ) from None


@contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Inside, no other process trains in this folder. For the first process of a run.

    The lock is its process's and goes with it, however that ends. Helpers of a process that was killed do not keep it,
    as they would with `flock`, so that the run can be gone on with at once. The file stays.

    Raises:
        InputError: another process trains there, or the folder cannot be written to.
    """
    check_writable(folder)
    with Path(folder, LOCK).open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise InputError(
                    f"{folder}: another run is training in this folder; wait until it has ended, or name another "
                    "OUTPUT_DIR"
                ) from None
            reason = error.strerror
            logger.warning("%s: cannot be locked (%s); see to it that no other run trains there", folder, reason)
        yield
