"""`make test-vm`: installs the program in the test machine and tests it there. The last line is JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from tests.vm.bundle import make_bundle
from tests.vm.image import KERNELS, image
from tests.vm.machine import DeadlineExceeded, Job, MachineError, run
from tests.vm.run import show

DEADLINE_S = 1800.0
INSTALL = "dpkg --install container-kit.deb && systemctl enable --quiet --now container-kitd"
PYTEST = "PYTHONPATH=pytest:. /opt/container-kit/bin/python3 -m pytest"
TEST = f"{PYTEST} -p no:cacheprovider -v --tb=short --durations=10"


@click.command(context_settings={"show_default": True})
@click.option("--kernel", "kernels", multiple=True, type=click.Choice(list(KERNELS)), default=["6.1"])
@click.option("--select", default="", help="Only tests whose names match, as pytest's -k.")
def main(kernels: tuple[str, ...], select: str) -> None:
    """Test the program as it is installed: systemd, AppArmor, cgroup v2."""
    image()
    with tempfile.TemporaryDirectory(prefix="container-kit-vm-") as name:
        files = Path(name) / "files"
        files.mkdir()
        make_bundle(files)
        runs = [_run(kernel, select, Path(name)) for kernel in kernels]
    ok = all(run["status"] == 0 for run in runs)
    print(json.dumps({"target": "test-vm", "ok": ok, "runs": runs}))
    sys.exit(0 if ok else 1)


def _run(kernel: str, select: str, folder: Path) -> dict[str, Any]:
    started_s = time.monotonic()
    tests = f"{TEST} -k '{select}' tests/vm/guest" if select else f"{TEST} tests/vm/guest"
    job = Job(folder / "files", f"{INSTALL} && {tests}", DEADLINE_S, kernel, folder / kernel)
    try:
        status: int | str = run(job, show)
    except (DeadlineExceeded, MachineError) as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        status = type(error).__name__
    results = folder / kernel / "results.json"
    found = json.loads(results.read_text()) if results.is_file() else {}
    return {"kernel": kernel, "status": status, "seconds": round(time.monotonic() - started_s), **found}


if __name__ == "__main__":
    main()
