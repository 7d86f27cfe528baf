"""The commands that a page shows, to be run."""

from __future__ import annotations

import re
import shlex


def commands_of(page: str, program: str) -> list[list[str]]:
    """The words of each command of a program in the bash blocks of a page's text."""
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]
