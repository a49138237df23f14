"""The NetBox plugin's sync: the shipped providers' batches against the guide's provider row by row, in one run.

.venv/bin/python bench/netbox_sync.py [--circuits 10000] [--rows 1000]

Needs `make netbox-env`. Both sides talk HTTP to a simulated carrier in a process of its own and write costs with change
log, events and search into one real NetBox. The guide's side is its MyCarrier example as printed, in the loop that it
describes, within NetBox's event tracking; it is timed over fewer circuits, since its time grows with them.
"""

# ruff: noqa: PLC0415  # NetBox is importable only beside its servers
from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Seconds until a carrier that is not on this machine answers
DELAY = 0.02
PLUGIN = ROOT / "libs" / "netbox_circuit_manager"
PREPARE = (
    'createdb -T nb_template netbox && netbox migrate --no-input --skip-checks >/dev/null && exec python "$@"'
)


def outside(arguments: list[str]) -> int:
    """Starts NetBox's servers and runs this file beside them, with NetBox's interpreter."""
    if not (PLUGIN / ".netbox" / "venv" / "bin" / "netbox").exists():
        print("NetBox is not set up here yet: run make netbox-env first")
        return 1
    command = [
        PLUGIN / "dev" / "with-netbox.sh",
        "bash",
        "-c",
        PREPARE,
        "bash",
        __file__,
        "--inside",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    return subprocess.run(command, cwd=PLUGIN, env=environment, check=False).returncode


@contextmanager
def simulator(shape: str, circuits: int, prefix: str, *, delay: float = 0):
    """A carrier in a process of its own, as many seconds away; gives its address."""
    command = [sys.executable, "-m", "netbox_circuit_manager.testing", "--shape", shape, "--port", "0"]
    command += ["--circuits", str(circuits), "--prefix", prefix]
    if delay:
        command += ["--fault", "slow", "--seconds", str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().split(" at ")[1].strip()
    finally:
        process.terminate()
        process.wait()


def prepare(name: str, provider_type: str, url: str, count: int, parameters: dict):
    """A provider with its circuits and a configuration."""
    from netbox_circuit_manager.testing import World
    from netbox_circuit_manager.tests.carriers import make_circuits, make_config, make_provider

    provider = make_provider(name)
    make_circuits(provider, World.of(count, name))
    return make_config(provider, provider_type, url, parameters=parameters)


def guide_loop(config) -> int:
    """What the guide describes: authenticate, list, and for each circuit match, details, costs."""
    from circuits.models import Circuit
    from netbox.context_managers import event_tracking
    from netbox_circuit_manager.sync.engine import build_provider, system_user
    from netbox_circuit_manager.sync.writer import ChangeContext

    done = 0
    with event_tracking(ChangeContext(system_user()).request):
        provider = build_provider(config)
        assert provider.authenticate()
        for row in provider.get_circuits():
            circuit = Circuit.objects.get(provider=config.provider, cid=row["circuit_id"])
            done += provider.sync_circuit_costs(circuit, provider.get_circuit_details(row["id"]))
    return done


def batches(config) -> int:
    """A run of the sync, through the engine."""
    from netbox_circuit_manager.sync.engine import run_sync

    result = run_sync(config, mode="full")
    assert result.status == "success", result.errors[:3]
    return result.as_result()["success"]


def processor_seconds() -> float:
    """What this process and its connection's PostgreSQL process used so far: other load does not change it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    # Fields 14 and 15 of the line, after the name in brackets: user and system time in ticks.
    fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(work, config, count: int) -> tuple[float, float]:
    """Seconds and processor seconds per thousand circuits."""
    began, used = time.perf_counter(), processor_seconds()
    assert work(config) == count
    return (time.perf_counter() - began) / count * 1000, (processor_seconds() - used) / count * 1000


def inside(circuits: int, rows: int) -> None:
    import django

    django.setup()
    from netbox_circuit_manager.tests import guide
    from netbox_circuit_manager.tests.carriers import REST

    # Costs alone, as the guide's provider writes: no contracts, tickets or bills.
    fields = {
        name: path for name, path in REST["circuits"]["fields"].items() if not path.startswith("contract")
    }
    paging = {**REST["circuits"]["paging"], "limit": 500}
    listed = {"circuits": {**REST["circuits"], "fields": fields, "paging": paging}}
    detailed = {"circuits": {**listed["circuits"], "details": "/circuits/{id}", "details_rows": "circuit"}}
    in_turn = {**detailed, "requests_at_once": 1}
    with ExitStack() as stack:
        stack.enter_context(
            guide.dropped_in("mycarrier", guide.block("python", "class MyCarrierProviderSync("))
        )
        enter = stack.enter_context
        bare = prepare("BARE", "mycarrier", enter(simulator("guide", rows, "BARE")), rows, {})
        kept = prepare("KEPT", "mycarrier", enter(simulator("guide", rows, "KEPT")), rows, {})
        many = prepare("MANY", "custom", enter(simulator("rest", circuits, "MANY")), circuits, listed)
        each = prepare("EACH", "custom", enter(simulator("rest", rows, "EACH")), rows, detailed)
        away = [
            prepare(name, "custom", enter(simulator("rest", rows, name, delay=DELAY)), rows, parameters)
            for name, parameters in (("TURN", in_turn), ("AWAY", detailed))
        ]
        table = [
            ("guide's provider, its own loop", rows, timed(guide_loop, bare, rows)),
            ("the same again, nothing changed", rows, timed(guide_loop, bare, rows)),
            ("guide's provider, run by the engine", rows, timed(batches, kept, rows)),
            ("shipped, a details request per circuit too", rows, timed(batches, each, rows)),
            ("the same, 20 ms away, one request at a time", rows, timed(batches, away[0], rows)),
            ("the same, 20 ms away, four at a time", rows, timed(batches, away[1], rows)),
        ]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        table.append(("shipped, prices in the list", circuits, timed(batches, many, circuits)))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        table.append(("the same again, nothing changed", circuits, timed(batches, many, circuits)))
    print("| sync of costs | circuits | s per 1,000 | ratio | processor s per 1,000 | ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    base = table[0][2]
    for name, count, (seconds, used) in table:
        ratios = base[0] / seconds, base[1] / used
        print(f"| {name} | {count:,} | {seconds:.2f} | {ratios[0]:.1f} | {used:.2f} | {ratios[1]:.1f} |")
    print(
        f"\nThe run over {circuits:,} circuits took the process {grown:.0f} MB above its highest mark so far."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circuits", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.inside:
        inside(wanted.circuits, wanted.rows)
    else:
        sys.exit(outside(["--circuits", str(wanted.circuits), "--rows", str(wanted.rows)]))


if __name__ == "__main__":
    main()
