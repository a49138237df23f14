from __future__ import annotations

import pytest

from printed.fences import read_examples
from printed.sessions import run_shell
from printed.tolerance import (
    in_coroutine,
    outside_containers,
    printed_output,
    with_manage,
    with_tokens,
    without_output,
)

PAGE = """# Guide

## Shell
```bash
# Ask
$ echo '{"a": 1}'

# Response
{"a": 1}

# Go on
docker exec -it isp-radius \\
  echo done
```
### Deeper
```python
x = 1
```
## Python
```python
y = x
```
"""


def test_examples_come_in_order_under_their_headings():
    found = read_examples(PAGE)
    assert [(one.language, one.headings) for one in found] == [
        ("bash", ("Guide", "Shell")),
        ("python", ("Guide", "Shell", "Deeper")),
        ("python", ("Guide", "Python")),
    ]
    assert [one.code for one in read_examples(PAGE, "python")] == ["x = 1\n", "y = x\n"]
    assert found[0].line == 4


def test_a_block_without_an_end_is_refused():
    with pytest.raises(ValueError, match="line 1 has no end"):
        read_examples("```python\nx = 1\n")


def test_output_and_prompts_are_cut_and_commands_stay():
    code = read_examples(PAGE, "bash")[0].code
    assert printed_output(code) == '{"a": 1}\n\n'
    ran = outside_containers(without_output(code))
    assert ran == "# Ask\necho '{\"a\": 1}'\n\n# Go on\necho done\n"
    assert run_shell([ran, "echo next"]) == ['{"a": 1}\ndone\n', "next\n"]


def test_a_shell_that_fails_shows_what_it_said():
    with pytest.raises(AssertionError, match="no such thing"):
        run_shell(["echo no such thing >&2; false"])


def test_longer_tokens_go_first():
    tokens = {"one": "two", "http://one:1": "http://one:2"}
    assert with_tokens("http://one:1/x one", tokens) == "http://one:2/x two"
    assert with_tokens("as it is", {}) == "as it is"


def test_manage_is_the_installations_own():
    assert with_manage("python manage.py migrate", "netbox-manage") == "netbox-manage migrate"


async def test_names_bound_in_a_coroutine_stay_for_the_next_example():
    space: dict = {}
    code = "import json as j\nfrom math import pi, tau\nasync def one():\n    return 1\n\nx = await one()\n"
    exec(in_coroutine(code), space)
    await space["example"]()
    assert (space["x"], space["pi"], space["j"].dumps({})) == (1, pytest.approx(3.14159, abs=1e-4), "{}")
