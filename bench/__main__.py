"""`make bench`: every benchmark, or those named; each runs us, the other side and the limit in one run and prints ratios.

make bench                        all of them (about half an hour on two cores)
make bench ARGS="radius_auth api" these
make bench ARGS=--list            what there is

One that misses its aim, or fails, does not keep the others from running; the exit code tells at the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = {
    path.stem: path
    for path in sorted(HERE.glob("*.py"))
    if path.stem not in {"__main__", "__init__", "floor_app"}
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and end")
    wanted = parser.parse_args()
    unknown = set(wanted.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there is {', '.join(BENCHMARKS)}")
    if wanted.list:
        print("\n".join(BENCHMARKS))
        return
    missed = [name for name in wanted.names or BENCHMARKS if not run(name)]
    if missed:
        sys.exit(f"\naims missed, or failed: {', '.join(missed)}")


def run(name: str) -> bool:
    """One benchmark in a process of its own; whether it reached its aims."""
    print(f"\n## {name}\n", flush=True)
    return subprocess.run([sys.executable, BENCHMARKS[name]], check=False).returncode == 0


if __name__ == "__main__":
    main()
