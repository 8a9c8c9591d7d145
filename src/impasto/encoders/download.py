"""One large file over https: resumed where it broke off, checked, and there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import http
import http.client
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError

from impasto.errors import WeightsError

DownloadObserver = Callable[[int, int], None]
"""Told after every piece: bytes done (earlier attempts included) and bytes in all (0 where nobody knows)."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds before each new attempt; every byte that arrives starts the count again."""
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""
PIECE = 1 << 18


class DownloadError(WeightsError):
    """The network did not deliver; the message is the reason in a few words."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str,
    size: int = 0,
    observer: DownloadObserver | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch `url` to `path`, whose sha256 must begin with the hexadecimal digits `sha256`.

    Bytes gather in `path` + `.part`, which stays when the work is interrupted and is taken up again later.
    `size` is the expected number of bytes, for an observer where the server does not say. Two callers must
    not fetch the same path at once. Raises `DownloadError` when the network fails for good, `WeightsError`
    when the wrong bytes came (they are deleted), `OSError` when the disk cannot take them.
    """
    part = path.with_name(path.name + ".part")
    _receive_patiently(url, part, size, observer or _nobody, pause)
    found = sha256_of(part)
    if not found.startswith(sha256):
        part.unlink()
        raise WeightsError(
            f"{url}: what came is not the file expected (its sha256 begins {found[: len(sha256)]}, not {sha256}); "
            "it was deleted, try again"
        )
    part.replace(path)


def sha256_of(path: Path) -> str:
    """The file's sha256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _receive_patiently(
    url: str, part: Path, size: int, observer: DownloadObserver, pause: Callable[[float], None]
) -> None:
    failures = 0
    while True:
        before = _length(part)
        try:
            return _receive(url, part, size, observer)
        except _BrokenError as error:
            failures = 0 if _length(part) > before else failures + 1
            if error.is_final or failures > len(PAUSES):
                raise DownloadError(str(error)) from error
            pause(PAUSES[max(failures, 1) - 1])


def _receive(url: str, part: Path, size: int, observer: DownloadObserver) -> None:
    """One attempt: append to the part what it lacks, or start it anew where the server cannot resume."""
    done = _length(part)
    try:
        response = _open(url, done)
    except _NothingLeftError as error:
        if error.length == done:
            return
        part.unlink()  # longer than the file: something else
        raise _BrokenError("the server cannot resume") from error
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0
        total = done + response.length if response.length is not None else 0
        with part.open("ab" if done else "wb") as file:
            observer(done, total or size)
            for piece in _pieces(response):
                file.write(piece)
                done += len(piece)
                observer(done, total or size)
    if done < total:
        raise _BrokenError("the connection broke off")


def _open(url: str, start: int) -> Any:
    """The response from byte `start` on, or, where the server ignores that, from the beginning."""
    headers = {"User-Agent": "impasto", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the address comes from our own table
    with _network_errors():
        try:
            response = urllib.request.build_opener(_StaySecure).open(request, timeout=TIMEOUT)
        except HTTPError as error:
            if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _NothingLeftError(error.headers.get("Content-Range", "")) from error
            raise
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        given = response.headers.get("Content-Range", "")
        if not given.startswith(f"bytes {start}-"):
            response.close()
            raise _BrokenError(f"the server sent the wrong range ({given or 'unnamed'})", is_final=True)
    return response


def _pieces(response: IO[bytes]) -> Iterator[bytes]:
    while True:
        with _network_errors():
            piece = response.read(PIECE)
        if not piece:
            return
        yield piece


class _BrokenError(Exception):
    """The network failed; final if another attempt would fail the same way."""

    def __init__(self, reason: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class _NothingLeftError(Exception):
    """The server has no bytes after those we have; `length` is the whole file's where it says so."""

    def __init__(self, content_range: str) -> None:
        super().__init__(content_range)
        stated = re.fullmatch(r"bytes \*/(\d+)", content_range)
        self.length = int(stated[1]) if stated else None


class _StaySecure(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to anything less."""

    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        new = super().redirect_request(req, *args)
        if new is not None and req.type == "https" and new.type != "https":
            raise _BrokenError(f"the server redirects to {new.full_url}, which is not https", is_final=True)
        return new


@contextmanager
def _network_errors() -> Iterator[None]:
    """Everything urllib and sockets raise, as `_BrokenError` with a reason a user understands."""
    try:
        yield
    except HTTPError as error:
        error.close()
        passes = error.code >= 500 or error.code in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS)
        raise _BrokenError(f"the server answered {error.code} {error.reason}", is_final=not passes) from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise _BrokenError(_reason(cause), is_final=isinstance(cause, ssl.SSLCertVerificationError)) from error


def _reason(cause: object) -> str:
    if isinstance(cause, socket.gaierror):
        return "no network"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, TimeoutError):
        return "the server does not answer"
    if isinstance(cause, ConnectionRefusedError):
        return "the server refused the connection"
    if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return "no network"
    if isinstance(cause, (ConnectionError, http.client.HTTPException)):
        return "the connection broke off"
    return str(cause)


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _nobody(done: int, total: int) -> None:
    pass
