"""Compares what cases do in plain Docker with what case.json says of them.

    python -m tests.corpus.verify [--trace] [CASE...]

Without --trace, the verdict; with it, the system calls that the case has to make. Prints one line of JSON
for each case, and last one with all that was wrong.

These are real breakouts: some set core_pattern or a release_agent of the host for a second, and put it back.
Only for a machine that may be lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.corpus import trace
from tests.corpus.case import Attack, Benign, Verdict, cases
from tests.corpus.host import host
from tests.corpus.images import engine, images
from tests.corpus.plain import Stage, run, stage

Judge = Callable[[Stage, Attack | Benign], dict[str, Any]]


def main() -> int:
    arguments = _parse()
    chosen = [case for case in cases() if case.id in arguments.cases or not arguments.cases]
    lines = list(_run_all(chosen, _run_traced if arguments.trace else _run_compared))
    wrong = {line["case"]: line["wrong"] for line in lines if line["wrong"]}
    print(json.dumps({"cases": len(lines), "wrong": wrong}))
    return 1 if wrong else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="runs cases in plain Docker")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--trace", action="store_true", help="look for the system calls, by strace")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - {case.id for case in cases()}:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return arguments


def _run_all(chosen: list[Attack | Benign], judge: Judge) -> Iterator[dict[str, Any]]:
    with engine() as client, images(client) as made, host() as ours, stage(client, made, ours) as on:
        for case in chosen:
            line = {"case": case.id, **judge(on, case)}
            print(json.dumps(line), flush=True)
            yield line


def _run_compared(on: Stage, case: Attack | Benign) -> dict[str, Any]:
    done = run(on, case)
    expected = case.measured if isinstance(case, Attack) else Verdict.OK
    return {
        "verdict": done.verdict,
        "duration_s": round(done.duration_s, 2),
        "changed": [str(path) for path in done.changed],
        "far_side_saw": done.far_side_saw,
        "wrong": [] if done.verdict is expected else [f"measured before: {expected}"],
    }


def _run_traced(on: Stage, case: Attack | Benign) -> dict[str, Any]:
    """No verdict: what is traced already cannot be traced by the case itself."""
    if isinstance(case, Benign) or not case.trace:
        return {"wrong": []}
    with tempfile.NamedTemporaryFile(suffix=".strace") as log:
        path = Path(log.name)
        run(on, case, watch=lambda pid: trace.traced(pid, path))
        return {"calls": len(case.trace), "wrong": trace.missing(case, path)}


if __name__ == "__main__":
    sys.exit(main())
