"""Programs that stand in for a scanner: they say one thing, whatever image they are asked about."""

from __future__ import annotations

import subprocess
from pathlib import Path


def saying(folder: Path, text: str, *, version: str | None = None, code: int = 0, sleep_s: int = 0) -> Path:
    """A compiled one: what is run is an open file, which no interpreter could open again.

    `version` is what it answers to "version", if not `text`; `code` and `sleep_s` are of all other answers.
    """
    source, program = folder / "saying.c", folder / "saying"
    source.write_text(
        "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\n"
        "int main(int count, char **words) {\n"
        f'  if ({int(version is not None)} && count > 1 && !strcmp(words[1], "version"))\n'
        f"    return puts({_literal(version or '')}) < 0;\n"
        f"  sleep({sleep_s}); fputs({_literal(text)}, stdout); return {code};\n}}\n"
    )
    subprocess.run(["gcc", "-static", "-o", program, source], check=True)
    return program


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
