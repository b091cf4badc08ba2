"""Runs every case in plain Docker under a daemon that watches all containers, and scores what it finds.

    python -m tests.corpus.detect [--verbose] [--log FILE] [--without-bpf] [CASE...]

Prints one line of JSON for each case, and last one with the score: an attack is detected if a finding of its
container, or of the host while it ran, has the case's category and at least its severity. Latency is from
the system call, as the kernel timed it, to the finding judged and answered.

These are real breakouts: some set core_pattern or a release_agent of the host for a second, and put it back.
Only for a machine that may be lost.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.findings import Severity
from tests.corpus.case import Attack, Benign, cases
from tests.corpus.host import host
from tests.corpus.images import engine, images
from tests.corpus.plain import Stage, run, stage
from tests.running import Daemon, daemon

WATCH_ALL = 'watch = "all"\n'
SETTLE_S = 2.0
NOISE = Severity.MEDIUM


def main() -> int:
    arguments = _parse()
    chosen = [case for case in cases() if case.id in arguments.cases or not arguments.cases]
    with (
        tempfile.TemporaryDirectory(prefix="container-kit-corpus-") as folder,
        daemon(Path(folder), WATCH_ALL, without_bpf=arguments.without_bpf) as running,
    ):
        lines = list(_run_all(running, chosen, verbose=arguments.verbose))
        score = _score(lines, running)
        if arguments.log:
            shutil.copyfile(running.state / "audit/audit.jsonl", arguments.log)
    print(json.dumps(score))
    return 0 if _is_whole(score) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="scores the detection of cases in plain Docker")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--verbose", action="store_true", help="print each finding")
    parser.add_argument("--without-bpf", action="store_true", help="what the fallback sees")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep a copy of the audit log")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - {case.id for case in cases()}:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return arguments


def _run_all(running: Daemon, chosen: list[Attack | Benign], *, verbose: bool) -> Iterator[dict[str, Any]]:
    with engine() as client, images(client) as made, host() as ours, stage(client, made, ours) as on:
        for case in chosen:
            line = _judged(running, on, case)
            print(json.dumps({key: value for key, value in line.items() if key != "findings"}), flush=True)
            for found in line["findings"] if verbose else ():
                print(
                    "   ", found["severity"], found["rule_id"], found["count"], json.dumps(found["evidence"])
                )
            yield line


def _judged(running: Daemon, on: Stage, case: Attack | Benign) -> dict[str, Any]:
    done = run(on, case)
    if isinstance(case, Benign):
        time.sleep(SETTLE_S / 4)
        found = findings(running, done.container_id)
        noisy = [f["rule_id"] for f in found if Severity(f["severity"]).at_least(NOISE)]
        return {"case": case.id, "kind": "benign", "verdict": done.verdict, "noisy": noisy, "findings": found}
    found = _awaited(running, case, done.container_id)
    return {
        "case": case.id,
        "kind": "attack",
        "ambiguous": case.ambiguous is not None,
        "verdict": done.verdict,
        "detected": bool(found),
        "category": any(f["category"] == case.category for f in found),
        "severity": any(_meets(case, f) for f in found),
        "rules": sorted({f"{f['rule_id']}:{f['severity']}" for f in found}),
        "findings": found,
    }


def _awaited(running: Daemon, case: Attack, container_id: str) -> list[dict[str, Any]]:
    """A counter may be read half a second after the end; what is not there after SETTLE_S never comes."""
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        found = findings(running, container_id)
        if any(_meets(case, f) for f in found) or time.monotonic() > deadline_s:
            return found
        time.sleep(0.05)


def _meets(case: Attack, found: dict[str, Any]) -> bool:
    right = found["category"] == case.category
    return right and Severity(found["severity"]).at_least(case.min_severity)


def findings(running: Daemon, container_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = running.request(
        "GET", f"/v1/findings?container={container_id}&limit=1000"
    ).json()["items"]
    return items


def _score(lines: list[dict[str, Any]], running: Daemon) -> dict[str, Any]:
    attacks = [line for line in lines if line["kind"] == "attack" and not line["ambiguous"]]
    ambiguous = [line for line in lines if line["kind"] == "attack" and line["ambiguous"]]
    benign = [line for line in lines if line["kind"] == "benign"]
    latencies_ms = sorted(
        event["details"]["detection_latency_ms"]
        for event in running.events()
        if event["event_type"] == "SECURITY_VIOLATION" and event["details"].get("container_id")
    )
    health = running.request("GET", "/healthz").json()
    return {
        "attacks": len(attacks),
        "detected": sum(line["detected"] for line in attacks),
        "category_right": sum(line["category"] for line in attacks),
        "severity_right": sum(line["severity"] for line in attacks),
        "ambiguous": len(ambiguous),
        "ambiguous_detected": sum(line["severity"] for line in ambiguous),
        "benign": len(benign),
        "benign_ok": sum(line["verdict"] == "ok" for line in benign),
        "benign_noisy": sum(bool(line["noisy"]) for line in benign),
        "lost_events": sum(n for reason, n in health["events_lost"].items() if reason.startswith("ebpf.")),
        "sensor_tier": health["sensor_tier"],
        "sensor_problems": {s["name"]: s["problem"][-300:] for s in health["sensors"] if s["problem"]},
        "latency_p50_ms": _quantile(latencies_ms, 0.5),
        "latency_p99_ms": _quantile(latencies_ms, 0.99),
        "missed": [line["case"] for line in attacks + ambiguous if not line["severity"]],
        "noisy": {line["case"]: line["noisy"] for line in benign if line["noisy"]},
    }


def _quantile(values: list[float], share: float) -> float | None:
    if len(values) < 2:
        return None
    return round(statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1], 3)


def _is_whole(score: dict[str, Any]) -> bool:
    return not (score["missed"] or score["noisy"] or score["lost_events"])


if __name__ == "__main__":
    sys.exit(main())
