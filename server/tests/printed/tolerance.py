"""All that may be changed in a printed example before it runs. An example that needs more does not run as printed.

1. printed output and prompts are cut;
2. tokens are replaced: host, port, tenant and literals of the document that stand for a value of one's own;
3. `docker exec <container> X` is run as X, `python manage.py` as the command that the installation has for it;
4. a missing import is made up for (by the names that a session begins with), and so is a coroutine around a bare await.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

_PROMPT = re.compile(r"^(?:\$|>>>|\.\.\.) ?")
_OUTPUT = re.compile(r"^#.*\b(?:output|response)$", re.IGNORECASE)
_CONTAINER = re.compile(r"\bdocker exec (?:-\w+ )*[\w.-]+ (?:\\\n\s*)?")
_MANAGE = re.compile(r"\bpython3? manage\.py\b")
_BOUND = re.compile(r"^(?:(?:async )?def |class )?(\w+)(?: = |\(.*:$|:$|: .* = )", re.MULTILINE)
_IMPORTED = re.compile(r"^(?:from [\w.]+ )?import (.+)$", re.MULTILINE)


def without_output(code: str) -> str:
    """A shell block without what it prints, which a comment like `# Response` announces and the next comment ends."""
    return "".join(line for line, printed in _lines(code) if not printed)


def printed_output(code: str) -> str:
    """What the block says that it prints."""
    return "".join(line for line, printed in _lines(code) if printed)


def _lines(code: str) -> list[tuple[str, bool]]:
    found, printed = [], False
    for line in code.splitlines(keepends=True):
        if _OUTPUT.match(line.rstrip()):
            printed = True
            continue
        if line.startswith("#"):
            printed = False
        found.append((line if printed else _PROMPT.sub("", line), printed))
    return found


def with_tokens(code: str, tokens: Mapping[str, str]) -> str:
    """The document's host, port, tenant and literals replaced by those of this run, in one pass, the longest first."""
    printed = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    return re.sub(printed, lambda found: tokens[found[0]], code) if tokens else code


def outside_containers(code: str) -> str:
    """`docker exec <container> X` as X."""
    return _CONTAINER.sub("", code)


def with_manage(code: str, command: str) -> str:
    """`python manage.py` as the installation's own command."""
    return _MANAGE.sub(command, code)


def in_coroutine(code: str, name: str = "example") -> str:
    """A coroutine function `name` around code that awaits at its top; what it binds stays visible to the next example."""
    body = re.sub(r"^asyncio\.run\(main\(\)\)$", "await main()", code, flags=re.MULTILINE).expandtabs(4)
    bound = set(_BOUND.findall(body))
    bound |= {
        entry.split(" as ")[-1].strip() for names in _IMPORTED.findall(body) for entry in names.split(",")
    }
    head = f"    global {', '.join(sorted(bound))}\n" if bound else ""
    return f"async def {name}():\n{head}" + textwrap.indent(body, "    ")
