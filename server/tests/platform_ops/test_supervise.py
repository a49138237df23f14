"""The supervisor with real processes: order, death, restart, shutdown, and what is left after its own death."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.cli.children import Child, ProcessChild, http_ready
from demarc.cli.run_state import (
    ProcessRecord,
    boot_id,
    read_processes,
    start_ticks,
    stop_leftovers,
    write_processes,
)
from demarc.cli.supervise import State, Supervisor, restart_delay
from demarc.kernel.errors import Conflict, Misconfigured

SLEEPER = "import time; time.sleep(600)"
SMALL_PLATFORM = Path(__file__).parent / "small_platform.py"


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def alive(pid: int) -> bool:
    return start_ticks(pid) is not None


class Lines(list[tuple[str, str]]):
    """A sink that keeps what it is given."""

    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))

    def text(self) -> str:
        return "\n".join(line for _, line in self)


def python(name: str, code: str, lines: Lines, **options: object) -> ProcessChild:
    return ProcessChild(name, [sys.executable, "-c", code, name], sink=lines, **options)


class Running:
    """A supervisor that runs as a task of the test."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.task = asyncio.create_task(supervisor.run())

    async def __aenter__(self) -> Supervisor:
        return self.supervisor

    async def __aexit__(self, *_: object) -> None:
        self.supervisor.request_stop()
        await asyncio.wait_for(self.task, 60)


@pytest.fixture
def lines() -> Lines:
    return Lines()


async def test_the_children_we_have_are_children():
    assert isinstance(PrivateCluster(Path("/nowhere")), Child)
    assert isinstance(ProcessChild("a", ["true"], sink=print), Child)


async def test_a_killed_child_is_started_again_and_shown_in_the_process_file(tmp_path: Path, lines: Lines):
    supervisor = Supervisor(tmp_path, lines)
    supervisor.add("api", python("api", SLEEPER, lines))
    async with Running(supervisor):
        await supervisor.all_ready()
        first = read_processes(tmp_path)
        assert first["supervisor"].pid == os.getpid()
        assert first["api"].state == State.READY
        assert first["api"].restarts == 0
        os.kill(first["api"].pid, signal.SIGKILL)
        await until(lambda: read_processes(tmp_path)["api"].restarts == 1)
        await until(lambda: read_processes(tmp_path)["api"].state == State.READY)
        second = read_processes(tmp_path)["api"]
        assert second.pid != first["api"].pid
        assert second.reason == "was killed by SIGKILL"
    assert not alive(second.pid)
    assert read_processes(tmp_path)["api"].state == State.STOPPED


class LosesACancellation(ProcessChild):
    """Its second probe ends as if nothing had been cancelled, as `asyncio.wait_for` of Python 3.11 may."""

    probes = 0

    async def probe(self) -> bool:
        self.probes += 1
        if self.probes == 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(600)
        return True


async def test_a_cancellation_that_a_probe_loses_holds_up_neither_restart_nor_shutdown(
    tmp_path: Path, lines: Lines
):
    child = LosesACancellation("api", [sys.executable, "-c", SLEEPER], sink=lines)
    supervisor = Supervisor(tmp_path, lines)
    supervisor.add("api", child)
    async with Running(supervisor):
        await until(lambda: child.probes == 2)
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: read_processes(tmp_path)["api"].restarts == 1)
        await until(lambda: read_processes(tmp_path)["api"].state == State.READY)
        child.probes = 0
        await until(lambda: child.probes == 2)
    assert child.pid is None


async def test_children_start_after_what_they_depend_on_and_stop_before_it(tmp_path: Path, lines: Lines):
    polite = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('end', sys.argv[1], flush=True), sys.exit(0)))\n"
        "print('begin', sys.argv[1], flush=True)\n"
        "while True: signal.pause()\n"
    )
    supervisor = Supervisor(tmp_path, lines)

    def said(word: str, child: str) -> Callable[[], object]:
        async def ready() -> bool:
            return (child, f"{word} {child}") in lines

        return ready

    async def step() -> None:
        lines("step", "step")

    supervisor.add("database", python("database", polite, lines, ready=said("begin", "database")))
    supervisor.add_step("migrations", step, depends_on=["database"])
    supervisor.add("api", python("api", polite, lines, ready=said("begin", "api")), depends_on=["migrations"])
    async with Running(supervisor):
        await supervisor.all_ready()
    told = [line for name, line in lines if name != "demarc"]
    assert told == ["begin database", "step", "begin api", "end api", "end database"]


async def test_a_child_that_keeps_ending_is_retried_with_its_last_words(tmp_path: Path, lines: Lines):
    supervisor = Supervisor(tmp_path, lines)
    supervisor.add(
        "api", python("api", "import sys; print('port 8000 is taken', file=sys.stderr); sys.exit(3)", lines)
    )
    async with Running(supervisor):
        await until(lambda: "5 times in a row" in lines.text())
        record = read_processes(tmp_path)["api"]
        assert record.restarts >= 5
        assert record.reason == "ended with 3: port 8000 is taken"


async def test_secrets_in_last_words_are_cut_out(tmp_path: Path, lines: Lines):
    supervisor = Supervisor(tmp_path, lines)
    supervisor.add("api", python("api", "import sys; sys.exit('postgresql://demarc:hunter2@/demarc')", lines))
    async with Running(supervisor):
        await until(lambda: read_processes(tmp_path).get("api", ProcessRecord(None, "", None, 0)).reason)
        assert "hunter2" not in (tmp_path / "processes.json").read_text()


async def test_a_child_that_does_not_listen_is_killed_in_the_end(tmp_path: Path, lines: Lines):
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    supervisor = Supervisor(tmp_path, lines)
    child = python("api", deaf, lines, patience_seconds=600)
    supervisor.add("api", child)
    async with Running(supervisor):
        await until(lambda: ("api", "deaf") in lines)
        pid = child.pid
        supervisor.request_stop()  # the block's end asks a second time: hurry
    assert not alive(pid)


async def test_what_a_child_leaves_behind_goes_with_it(tmp_path: Path, lines: Lines):
    """The workers of a killed server would hold its port."""
    parent = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print(p.pid, flush=True); p.wait()"
    supervisor = Supervisor(tmp_path, lines)
    child = python("api", parent, lines)
    supervisor.add("api", child)
    async with Running(supervisor):
        await until(lambda: any(name == "api" for name, _ in lines))
        helper = next(int(line) for name, line in lines if name == "api")
        assert alive(helper)
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: not alive(helper))


async def test_the_error_of_an_essential_first_start_ends_the_platform(tmp_path: Path, lines: Lines):
    supervisor = Supervisor(tmp_path, lines)
    api = python("api", SLEEPER, lines)
    supervisor.add("api", api)
    supervisor.add("worker", ProcessChild("worker", ["/no/such/program"], sink=lines), depends_on=["api"])
    with pytest.raises(Misconfigured, match="/no/such/program"):
        await asyncio.wait_for(supervisor.run(), 60)
    assert api.pid is None


async def test_what_is_not_essential_may_be_missing(tmp_path: Path, lines: Lines):
    supervisor = Supervisor(tmp_path, lines)
    supervisor.add("radius", ProcessChild("radius", ["/no/such/program"], sink=lines), essential=False)
    supervisor.add("api", python("api", SLEEPER, lines))
    async with Running(supervisor):
        await supervisor.all_ready()
        await until(lambda: read_processes(tmp_path)["radius"].restarts > 1)
        assert "/no/such/program" in read_processes(tmp_path)["radius"].reason
        assert read_processes(tmp_path)["api"].state == State.READY


async def test_the_error_of_a_step_ends_the_platform(tmp_path: Path, lines: Lines):
    async def fail() -> None:
        raise Misconfigured("the master key is not the one of this database")

    supervisor = Supervisor(tmp_path, lines)
    supervisor.add_step("migrations", fail)
    supervisor.add("api", python("api", "print('must not run')", lines), depends_on=["migrations"])
    with pytest.raises(Misconfigured, match="master key"):
        await asyncio.wait_for(supervisor.run(), 60)
    assert "must not run" not in lines.text()


async def test_a_probe_that_fails_is_shown_and_restarts_nothing(tmp_path: Path, lines: Lines):
    answers = True

    async def ready() -> bool:
        return answers

    supervisor = Supervisor(tmp_path, lines)
    child = python("radius", SLEEPER, lines, ready=ready)
    supervisor.add("radius", child)
    async with Running(supervisor):
        await supervisor.all_ready()
        pid, answers = child.pid, False
        await until(lambda: read_processes(tmp_path)["radius"].state == State.UNREADY)
        answers = True
        await until(lambda: read_processes(tmp_path)["radius"].state == State.READY)
        assert child.pid == pid


async def test_a_second_platform_is_refused_with_the_pid_of_the_first(tmp_path: Path, lines: Lines):
    first = Supervisor(tmp_path, lines)
    first.add("api", python("api", SLEEPER, lines))
    async with Running(first):
        await first.all_ready()
        with pytest.raises(Conflict, match=rf"pid {os.getpid()}.*DEMARC_DATA_DIR"):
            await Supervisor(tmp_path, lines).run()
        assert read_processes(tmp_path)["api"].state == State.READY


async def test_leftovers_are_ended_but_a_stranger_with_the_old_number_is_not(tmp_path: Path):
    left, stranger = (subprocess.Popen([sys.executable, "-c", SLEEPER]) for _ in range(2))
    write_processes(
        tmp_path,
        {
            "api": ProcessRecord(left.pid, "ready", None, 0, None, start_ticks(left.pid), boot_id()),
            "worker": ProcessRecord(stranger.pid, "ready", None, 0, None, 1, boot_id()),
        },
    )
    assert await stop_leftovers(tmp_path) == ["api"]
    assert left.wait(60) == -signal.SIGTERM
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


async def test_workers_left_by_a_dead_leader_are_ended_but_not_those_of_before_the_last_boot(tmp_path: Path):
    leader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]]).pid, flush=True); sys.stdin.read()",
            SLEEPER,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    begun = start_ticks(leader.pid)
    worker = int(leader.stdout.readline())
    leader.stdin.close()  # only now does it end: of a dead one no start can be read
    leader.stdout.close()
    leader.wait()
    assert alive(worker)
    write_processes(
        tmp_path, {"api": ProcessRecord(leader.pid, "ready", None, 0, None, begun, "another boot")}
    )
    assert await stop_leftovers(tmp_path) == []
    assert alive(worker)
    write_processes(tmp_path, {"api": ProcessRecord(leader.pid, "ready", None, 0, None, begun, boot_id())})
    assert await stop_leftovers(tmp_path) == ["api"]
    assert not alive(worker)


async def test_a_damaged_process_file_is_no_obstacle(tmp_path: Path):
    (tmp_path / "processes.json").write_text('{"api": [')
    assert read_processes(tmp_path) == {}
    assert await stop_leftovers(tmp_path) == []


async def test_long_lines_and_odd_bytes_reach_the_sink(lines: Lines):
    code = "import sys; sys.stdout.buffer.write(b'a' * 200_000 + b'\\n\\xff\\nlast'); sys.stdout.flush()"
    child = python("api", code, lines)
    await child.start()
    assert await child.wait() == 0
    told = [line for _, line in lines]
    assert sum(line.count("a") for line in told) == 200_000 + 1
    assert told[-2:] == ["\N{REPLACEMENT CHARACTER}", "last"]


async def test_nobody_answering_is_not_ready(free_port: int):
    assert await http_ready(f"http://127.0.0.1:{free_port}/readyz")() is False


def test_restarts_wait_longer_each_time_up_to_ten_seconds():
    waits = [restart_delay(failures, 0.5) for failures in range(1, 12)]
    assert waits[:3] == pytest.approx([0.2, 0.4, 0.8])
    assert waits == sorted(waits)
    assert waits[-1] == 10
    assert restart_delay(10_000, 1.0) == pytest.approx(12)
    assert restart_delay(1, 0.0) == pytest.approx(0.16)


class SmallPlatform:
    """small_platform.py as a child, its output in a file."""

    def __init__(self, data_dir: Path) -> None:
        self.run_dir = data_dir / "run"
        self.output = data_dir / "output"
        with self.output.open("ab") as out:
            self._said_before = out.tell()
            self.process = subprocess.Popen(
                [sys.executable, SMALL_PLATFORM, data_dir], stdout=out, stderr=out, start_new_session=True
            )

    def pid(self, name: str) -> int:
        return read_processes(self.run_dir)[name].pid

    async def ready(self) -> None:
        def all_ready() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            found = read_processes(self.run_dir)
            own = found.get("supervisor")
            return (
                own is not None
                and own.pid == self.process.pid
                and all(found[name].state == "ready" for name in ("postgres", "api", "worker"))
                # Ready is a process that was started; only after this line does it catch a signal.
                and len(self._helpers()) >= 2  # one of the api, one of the worker
            )

        await until(all_ready)

    def everything(self) -> list[int]:
        """Every process it started, the children of children too."""
        return [self.pid(name) for name in ("postgres", "api", "worker")] + self._helpers()

    def _helpers(self) -> list[int]:
        """What its servers have said since it was started."""
        said = self.output.read_bytes()[self._said_before :].decode()
        return [int(pid) for pid in re.findall(r"helper (\d+)\n", said)]


@pytest.fixture
async def platform(data_dir: Path):
    started: list[SmallPlatform] = []

    def start() -> SmallPlatform:
        started.append(SmallPlatform(data_dir))
        return started[-1]

    yield start
    for platform in started:
        platform.process.kill()
        platform.process.wait()
    if started:
        await stop_leftovers(data_dir / "run")


async def count_kept(data_dir: Path, insert: bool = False) -> int:
    connection = await asyncpg.connect(PrivateCluster(data_dir).owner_dsn)
    try:
        if insert:
            await connection.execute("insert into kept select generate_series(1, 100)")
        return await connection.fetchval("select count(*) from kept")
    finally:
        await connection.close()


@pytest.mark.platform
async def test_kill_9_of_postgres_under_the_supervisor(platform: Callable[[], SmallPlatform], data_dir: Path):
    running = platform()
    await running.ready()
    await count_kept(data_dir, insert=True)
    postgres, api = running.pid("postgres"), running.pid("api")
    os.kill(postgres, signal.SIGKILL)
    await until(lambda: read_processes(running.run_dir)["postgres"].restarts == 1)
    await running.ready()
    assert running.pid("postgres") != postgres
    assert running.pid("api") == api
    assert await count_kept(data_dir) == 100


@pytest.mark.platform
async def test_kill_9_of_the_supervisor_leaves_no_orphans_and_the_next_one_starts(
    platform: Callable[[], SmallPlatform], data_dir: Path
):
    running = platform()
    await running.ready()
    await count_kept(data_dir, insert=True)
    pids = running.everything()
    assert all(alive(pid) for pid in pids)
    running.process.kill()
    running.process.wait()
    await until(lambda: not any(alive(pid) for pid in pids))
    again = platform()
    await again.ready()
    assert await count_kept(data_dir) == 100


@pytest.mark.platform
async def test_it_starts_at_once_after_its_own_kill_9(platform: Callable[[], SmallPlatform], data_dir: Path):
    """While the children of the killed one are still ending."""
    running = platform()
    await running.ready()
    running.process.kill()
    running.process.wait()
    await platform().ready()


@pytest.mark.platform
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything_in_order(
    platform: Callable[[], SmallPlatform], data_dir: Path, number: signal.Signals
):
    running = platform()
    await running.ready()
    pids = running.everything()
    running.process.send_signal(number)
    assert await asyncio.to_thread(running.process.wait, 60) == 0
    assert not any(alive(pid) for pid in pids)
    assert "ending api" in running.output.read_text()
    assert "database system is shut down" in PrivateCluster(data_dir).log_file.read_text()
