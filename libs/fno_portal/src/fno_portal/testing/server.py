"""Runs a simulated operator on loopback, in a thread."""

from __future__ import annotations

import socket
import threading
from typing import Self

import uvicorn

from fno_portal.testing.operator import SimulatedOperator
from fno_portal.testing.styles import make_app


class RunningSimulator:
    """`with RunningSimulator("document", SimulatedOperator("vumatel")) as sim: sim.url`."""

    def __init__(self, style: str, operator: SimulatedOperator, *, port: int = 0) -> None:
        """Prepare; port 0 takes a free one."""
        self.operator = operator
        self._socket = socket.create_server(("127.0.0.1", port))
        config = uvicorn.Config(
            make_app(style, operator),
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"sim-{operator.name}", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        self._ready.set()
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Listen; the kernel queues calls until the server takes them."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """End, letting go of calls that hang."""
        faults = self.operator.faults
        faults.hang = faults.take_then_hang = False
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()
