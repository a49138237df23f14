"""A whole platform in small, run as a child of the tests: PostgreSQL, one step, and commands that depend on them.

Usage: small_platform.py DATA_DIR
"""

import asyncio
import sys
from pathlib import Path

import asyncpg

from demarc.adapters.postgres.cluster import PrivateCluster
from demarc.cli.children import ProcessChild, console_output
from demarc.cli.supervise import Supervisor

# Says that it runs, has a child of its own as a server with workers has, and ends in its own time when asked to.
SERVER = """
import os, signal, subprocess, sys
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def end(*_):
    helper.kill()
    print("ending", sys.argv[1], flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("helper", helper.pid, flush=True)  # once it catches the signal: the tests wait for this line
while True:
    signal.pause()
"""


async def main(data_dir: Path) -> None:
    sink = console_output()
    cluster = PrivateCluster(data_dir)
    supervisor = Supervisor(data_dir / "run", sink)

    async def migrate() -> None:
        connection = await asyncpg.connect(cluster.owner_dsn)
        await connection.execute("create table if not exists kept (n int)")
        await connection.close()

    supervisor.add("postgres", cluster)
    supervisor.add_step("migrations", migrate, depends_on=["postgres"])
    for name in ("api", "worker"):
        child = ProcessChild(name, [sys.executable, "-c", SERVER, name], sink=sink)
        supervisor.add(name, child, depends_on=["migrations"])
    await supervisor.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
