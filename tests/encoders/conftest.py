from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from flaky_server import FlakyServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    flaky = FlakyServer(bytes(i * i % 251 for i in range(1_000_000)))
    thread = Thread(target=flaky.http.serve_forever, args=(0.01,))
    thread.start()
    yield flaky
    flaky.http.shutdown()
    thread.join()
    flaky.http.server_close()
