"""A child process that cannot outlive its parent and leaves no children of its own behind (ADR 0010)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from demarc.adapters.processes.service_user import ServiceUser
from demarc.kernel.errors import Misconfigured

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """For `Popen(preexec_fn=…)`: the kernel sends `death_signal` to the child once this process is gone.

    Runs after the change of user, which would clear the setting (prctl(2)). The signal belongs to the *thread* that
    starts the child: start children from the event loop's thread, never from a worker thread.
    """
    parent = os.getpid()

    def arm() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # the parent died before prctl was reached
                os._exit(127)

    return arm


class OwnedProcess:
    """A started child; made by `spawn` inside a running event loop, in a process group of its own."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watch()

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        user: ServiceUser | None = None,
        cwd: Path | None = None,
        output: int | IO[bytes] = subprocess.PIPE,
        death_signal: signal.Signals = signal.SIGTERM,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start `argv` with nothing on standard input.

        Args:
            argv: the program and its arguments; no secrets, everybody can read them.
            env: the whole environment.
            user: as whom it runs; None: as we do.
            cwd: where it runs; None: where we do.
            output: takes standard output and error.
            death_signal: what the child gets when we are gone.
            pass_fds: stay open in the child under their numbers (a listening socket).

        Raises:
            Misconfigured: the program is missing or may not be run by `user`.
        """
        try:
            popen = subprocess.Popen(
                [str(part) for part in argv],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                start_new_session=True,  # Ctrl-C goes to the parent alone, which then stops its children in order
                preexec_fn=die_with_parent(death_signal),  # noqa: PLW1509  # one prctl call, libc is loaded already
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
        except OSError as error:
            raise Misconfigured(
                f"Cannot start {argv[0]}: {error.strerror}. Run `demarc doctor` for what is missing."
            ) from error
        return cls(popen)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the number of the signal that ended it."""
        return self._exited.result() if self._exited.done() else None

    @property
    def output(self) -> IO[bytes] | None:
        """The read end of its output, when spawned with `PIPE`."""
        return self._popen.stdout

    async def wait(self) -> int:
        """Wait for the end; any number of waiters, each may be cancelled."""
        return await asyncio.shield(self._exited)

    def send(self, number: signal.Signals) -> None:
        """Signal the process; one that has ended already is left alone."""
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, *steps: tuple[signal.Signals, float]) -> int:
        """Send each signal in turn, waiting its seconds for the end; SIGKILL when none of them helped."""
        for number, patience_seconds in steps:
            self.send(number)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self.wait(), patience_seconds)
        self.send(signal.SIGKILL)
        return await self.wait()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        if not hasattr(os, "pidfd_open"):
            waiting = loop.run_in_executor(None, self._popen.wait)
            waiting.add_done_callback(lambda done: self._finish(done.result()))
            return
        descriptor = os.pidfd_open(self.pid)
        loop.add_reader(descriptor, self._reap, descriptor)

    def _reap(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        # Not reaped yet, so the number still names our group: what the child left behind goes with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._finish(self._popen.wait())

    def _finish(self, returncode: int) -> None:
        if not self._exited.done():
            self._exited.set_result(returncode)
