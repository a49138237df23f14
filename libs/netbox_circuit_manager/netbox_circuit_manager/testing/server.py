"""A simulated carrier on a port of this machine."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from .faults import Faults
from .shapes import SHAPES, Call, Reply, Shape, encode
from .world import World

HTML = b"<!DOCTYPE html><html><body><h1>Scheduled maintenance</h1></body></html>"
CHUNK = b" " * (1024 * 1024)


class CarrierSimulator:
    """One carrier; use it as a context manager. `url` is the endpoint, `requests` counts what was asked."""

    def __init__(self, shape: str, world: World | None = None, port: int = 0) -> None:
        self.world = world or World.of(10)
        self.faults = Faults()
        self.shape: Shape = SHAPES[shape](self.world, self.faults)
        self.requests: list[str] = []
        self._server = _Server(("127.0.0.1", port), _Handler, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        """The API endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        """Answers from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Serves until the process is interrupted."""
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], carrier: CarrierSimulator
    ) -> None:
        self.carrier = carrier
        super().__init__(address, handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together; otherwise each answer waits for a delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests read `requests`."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        carrier = self.server.carrier
        carrier.requests.append(f"{self.command} {parts.path}")
        if parts.path == "/_simulator/faults":
            self._switch(carrier, dict(parse_qsl(parts.query)))
            return
        call = Call(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        if parts.path in (carrier.shape.token_path, "/auth") or not self._fail(carrier):
            self._send(carrier.shape.answer(call), cut=carrier.faults.take("cut_body"))

    def _fail(self, carrier: CarrierSimulator) -> bool:
        """Answers with a fault that needs no knowledge of the API; False when none is on."""
        faults = carrier.faults
        if faults.take("slow"):
            time.sleep(faults.seconds)
        if faults.take("error_500"):
            self._send(Reply({"reason": "internal error"}, 500))
        elif faults.take("rate_limit"):
            self._send(Reply({"reason": "too many requests"}, 429, {"Retry-After": "0"}))
        elif faults.take("redirect"):
            self._send(Reply({}, 302, {"Location": "http://elsewhere.example/"}))
        elif faults.take("html"):
            self._write(200, "text/html", HTML)
        elif faults.take("huge"):
            self._write_huge(faults.megabytes)
        else:
            return False
        return True

    def _switch(self, carrier: CarrierSimulator, query: dict[str, str]) -> None:
        if self.command == "POST" and query.get("clear"):
            carrier.faults.clear()
        elif self.command == "POST":
            carrier.faults.set(query["name"], int(query["times"]) if "times" in query else None)
        self._send(Reply({"ok": True}))

    def _send(self, reply: Reply, *, cut: bool = False) -> None:
        self._write(
            reply.status, "application/json;charset=utf-8", encode(reply.body), reply.headers, cut=cut
        )

    def _write(
        self, status: int, kind: str, content: bytes, headers: Any = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.wfile.flush()
        if cut:
            self.close_connection = True

    def _write_huge(self, megabytes: int) -> None:
        """Chunked, so that no header gives the size away."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            for _ in range(megabytes):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            # The other side refused to read on: that is what this fault is for.
            return
