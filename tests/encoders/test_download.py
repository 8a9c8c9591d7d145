"""Downloads: resumed, checked, whole or not at all, and sentences for what goes wrong."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flaky_server import FlakyServer
from impasto.encoders.download import PAUSES, DownloadError, download
from impasto.errors import WeightsError

Fetch = Callable[..., None]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.fixture
def part(target: Path) -> Path:
    return target.with_name("weights.pth.part")


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def fetch(server: FlakyServer, target: Path, pauses: list[float]) -> Fetch:
    def run(**changes: Any) -> None:
        settings: dict[str, Any] = {
            "url": server.url,
            "path": target,
            "sha256": hashlib.sha256(server.body).hexdigest()[:8],
            "pause": pauses.append,
        }
        download(**(settings | changes))

    return run


def test_a_file_arrives_whole_and_leaves_no_part(
    fetch: Fetch, server: FlakyServer, target: Path, part: Path, pauses: list[float]
) -> None:
    fetch()
    assert target.read_bytes() == server.body
    assert not part.exists()
    assert server.ranges == [None]
    assert pauses == []


def test_the_observer_hears_of_every_piece(fetch: Fetch, server: FlakyServer) -> None:
    heard: list[tuple[int, int]] = []
    fetch(observer=lambda done, total: heard.append((done, total)))
    done = [d for d, _ in heard]
    assert done[0] == 0
    assert done[-1] == len(server.body)
    assert done == sorted(set(done))
    assert {total for _, total in heard} == {len(server.body)}
    assert len(heard) > 3


def test_the_expected_size_stands_in_where_the_server_does_not_say(
    fetch: Fetch, server: FlakyServer, target: Path
) -> None:
    server.script = ["no-length"]
    heard: list[tuple[int, int]] = []
    fetch(size=1234, observer=lambda done, total: heard.append((done, total)))
    assert {total for _, total in heard} == {1234}
    assert target.read_bytes() == server.body


def test_a_part_is_resumed_where_it_ends(fetch: Fetch, server: FlakyServer, target: Path, part: Path) -> None:
    part.write_bytes(server.body[:300_000])
    heard: list[tuple[int, int]] = []
    fetch(observer=lambda done, total: heard.append((done, total)))
    assert server.ranges == ["bytes=300000-"]
    assert heard[0] == (300_000, len(server.body))
    assert target.read_bytes() == server.body


def test_a_server_that_ignores_ranges_starts_anew(fetch: Fetch, server: FlakyServer, target: Path, part: Path) -> None:
    part.write_bytes(server.body[:300_000])
    server.script = ["ignore-range"]
    fetch()
    assert target.read_bytes() == server.body


def test_a_complete_part_needs_nothing_more(fetch: Fetch, server: FlakyServer, target: Path, part: Path) -> None:
    part.write_bytes(server.body)  # the server answers 416
    fetch()
    assert len(server.ranges) == 1
    assert target.read_bytes() == server.body


def test_a_part_longer_than_the_file_is_thrown_away(
    fetch: Fetch, server: FlakyServer, target: Path, part: Path
) -> None:
    part.write_bytes(server.body + b"!")
    fetch()
    assert server.ranges == [f"bytes={len(server.body) + 1}-", None]
    assert target.read_bytes() == server.body


def test_a_server_that_sends_another_range_is_not_believed(
    fetch: Fetch, server: FlakyServer, target: Path, part: Path
) -> None:
    part.write_bytes(server.body[:300_000])
    server.script = ["wrong-range"]
    with pytest.raises(DownloadError, match="wrong range"):
        fetch()
    assert part.read_bytes() == server.body[:300_000]
    assert not target.exists()


def test_a_broken_connection_is_taken_up_again_after_a_pause(
    fetch: Fetch, server: FlakyServer, target: Path, pauses: list[float]
) -> None:
    server.script = ["drop:400000", "error:503", "drop:100000"]
    fetch()
    assert target.read_bytes() == server.body
    assert server.ranges == [None, "bytes=400000-", "bytes=400000-", "bytes=500000-"]
    assert pauses == [PAUSES[0]] * 3


def test_pauses_grow_and_end(fetch: Fetch, server: FlakyServer, part: Path, pauses: list[float]) -> None:
    part.write_bytes(server.body[:1000])
    server.script = ["error:503"] * 10
    with pytest.raises(DownloadError, match="the server answered 503"):
        fetch()
    assert pauses == list(PAUSES)
    assert part.stat().st_size == 1000


def test_a_missing_file_is_not_asked_for_twice(fetch: Fetch, server: FlakyServer, pauses: list[float]) -> None:
    server.script = ["error:404"]
    with pytest.raises(DownloadError, match=r"^the server answered 404 Not Found$"):
        fetch()
    assert pauses == []
    assert len(server.ranges) == 1


def test_wrong_bytes_are_deleted(fetch: Fetch, target: Path, part: Path) -> None:
    with pytest.raises(WeightsError, match=r"not the file expected \(its sha256 begins \w{8}, not 00000000\)"):
        fetch(sha256="00000000")
    assert not part.exists()
    assert not target.exists()


def test_an_interrupted_download_keeps_its_part_and_goes_on_later(
    fetch: Fetch, server: FlakyServer, target: Path, part: Path
) -> None:
    def ctrl_c(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(observer=ctrl_c)
    kept = part.stat().st_size
    assert kept > len(server.body) / 2
    fetch()
    assert server.ranges[1] == f"bytes={kept}-"
    assert target.read_bytes() == server.body


def test_no_network(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    def offline(*args: object, **settings: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with pytest.raises(DownloadError, match=r"^no network$"):
        fetch(url="https://download.example/weights.pth")
    assert pauses == list(PAUSES)


def test_nobody_listens(fetch: Fetch) -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))  # bound, not listening
        with pytest.raises(DownloadError, match="refused"):
            fetch(url=f"http://127.0.0.1:{idle.getsockname()[1]}/weights.pth")


def test_a_silent_server_times_out(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    monkeypatch.setattr("impasto.encoders.download.TIMEOUT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DownloadError, match="does not answer"):
        fetch(url=f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth")
    assert pauses == list(PAUSES)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_network_error(fetch: Fetch, part: Path, pauses: list[float]) -> None:
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        fetch()
    assert pauses == []


@pytest.fixture
def certificate(tmp_path: Path, server: FlakyServer) -> Path:
    """Makes the server speak https with a certificate that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command: list[str | Path] = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=impasto"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.http.handle_error = lambda *args: None  # type: ignore[method-assign]  # refused handshakes are the point
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    return certificate


def test_a_server_without_a_valid_certificate_is_refused_at_once(
    fetch: Fetch, server: FlakyServer, certificate: Path, target: Path, pauses: list[float]
) -> None:
    with pytest.raises(DownloadError, match="its certificate is not valid"):
        fetch()
    assert pauses == []
    assert server.ranges == []


def test_https_works_but_never_leads_to_http(
    fetch: Fetch, server: FlakyServer, certificate: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.script = [f"move:{server.url}"]
    fetch()
    assert target.read_bytes() == server.body
    server.script = ["move:http://127.0.0.1:9/weights.pth"]
    with pytest.raises(DownloadError, match="which is not https"):
        fetch()
