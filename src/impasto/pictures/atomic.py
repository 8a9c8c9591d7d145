"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside `path` that takes its place when the block ends.

    The temporary has the suffix of `path` and reaches the disk before it is renamed. If the block fails or is
    interrupted, the temporary is removed and what was at `path` stays untouched. A symbolic link stays a link,
    an existing file keeps its permissions. Raises OSError; `write_failure` says it in the user's words.
    """
    target = path.resolve()
    temporary = _create_beside(target)
    try:
        yield temporary
        _flush_to_disk(temporary)
        with suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def try_folder(path: Path) -> None:
    """Raise the OSError or ValueError that `atomic_write` to `path` would meet at once, and leave nothing behind."""
    with suppress(FileNotFoundError):
        path.lstat()  # names that are too long or impossible
    _create_beside(path.resolve()).unlink()


def write_failure(path: Path, error: OSError, needed: int | None = None) -> str:
    """One sentence for the user about a failed write to `path`; `needed` is the size in bytes, where known."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full; free {_missing_space(path, needed)} or choose another folder"
    if error.errno == errno.EFBIG:
        return f"{path}: the file is larger than this system allows; choose another disk or a smaller size"
    if error.errno == errno.ENAMETOOLONG:
        return f"{path}: the file name is too long; choose a shorter one"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: the folder is not writable; choose another one or change its permissions"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if path.parent.is_dir():  # of /proc and the like, or made a moment ago
            return f"{path}: no file can be made in the folder {path.parent}; choose another one"
        return f"{path}: the folder {path.parent} does not exist; create it first"
    reason = error.strerror or type(error).__name__
    return f"{path}: writing failed ({reason}); check the disk or choose another folder"


def _missing_space(path: Path, needed: int | None) -> str:
    if needed is None:
        return "some space"
    try:
        free = shutil.disk_usage(path.resolve().parent).free
    except OSError:
        free = 0
    return f"{max(1, math.ceil((needed - free) / 1e6))} MB"


def _create_beside(target: Path) -> Path:
    while True:
        # The name does not contain the target's: together they could pass the longest name a disk allows.
        temporary = target.with_name(f".impasto-{secrets.token_hex(6)}{target.suffix}")
        with suppress(FileExistsError):
            # Unlike tempfile's 0600 this leaves the permissions to the user's umask.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return temporary


def _flush_to_disk(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _flush_folder(folder: Path) -> None:
    # Makes the new name survive a power cut; some systems cannot open a folder, and the file is whole anyway.
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
