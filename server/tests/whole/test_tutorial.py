"""The tutorial, typed as printed: every block of docs/tutorials/first-customer.md, in order, in one shell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from printed.fences import read_examples

PAGE = Path(__file__).parents[3] / "docs" / "tutorials" / "first-customer.md"

pytestmark = [pytest.mark.platform, pytest.mark.radius]


def test_every_line_works_in_its_order(platform):
    blocks = [one.code for one in read_examples(PAGE, "bash")]
    assert len(blocks) > 10
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input="\n".join(blocks),
        env=platform.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{platform.tail()}"
    answers = re.findall(r"Received (Access-\w+)", done.stdout)
    assert answers == ["Access-Accept", "Access-Reject", "Access-Accept"]
    assert "WISPr-Bandwidth-Max-Down = 200000000" in done.stdout
    assert "Payment reminder" in done.stdout
    assert done.stdout.endswith("0\n0\n"), "nothing is owed, and the books sum to zero"
