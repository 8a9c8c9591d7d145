"""A web server on this machine that can be told to misbehave."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FlakyServer:
    """Serves `body`; each request takes the next of `script`, and is served well when that is empty.

    `drop:N` breaks off after N bytes, `error:CODE` answers so, `ignore-range` sends everything, `no-length` everything
    without saying how much, `wrong-range` other bytes than those asked for, `move:URL` redirects.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.script: list[str] = []
        self.ranges: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/models/weights.pth"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        order, _, value = (self.script.pop(0) if self.script else "").partition(":")
        if order == "error":
            return request.send_error(int(value))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and order != "ignore-range" else 0
        if order == "move":
            return self._send(request, 302, b"", {"Location": value})
        if start >= len(self.body):
            return self._send(request, 416, b"", {"Content-Range": f"bytes */{len(self.body)}"})
        body = self.body[start:]
        headers = {} if order == "no-length" else {"Content-Length": str(len(body))}
        if start:
            begin = start - 1 if order == "wrong-range" else start
            headers["Content-Range"] = f"bytes {begin}-{len(self.body) - 1}/{len(self.body)}"
        return self._send(request, 206 if start else 200, body[: int(value)] if order == "drop" else body, headers)

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)
