"""`python -m tests.vm.run FILES COMMAND`: one command in the test machine.

FILES, a file or a folder, is where COMMAND runs, as root, by bash. Exits as it did; 124 if it was not done
in time, 125 if the machine failed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tests.vm.image import KERNELS
from tests.vm.machine import DeadlineExceeded, Job, MachineError, run

EXIT_DEADLINE = 124  # of timeout(1), as is the next
EXIT_MACHINE = 125


@click.command(context_settings={"show_default": True})
@click.option("--kernel", type=click.Choice(list(KERNELS)), default=next(iter(KERNELS)))
@click.option("--deadline", "deadline_s", type=float, default=600.0, help="Seconds, the boot included.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder for what COMMAND leaves in $OUT.")
@click.argument("files", type=click.Path(exists=True, path_type=Path))
@click.argument("command")
def main(files: Path, command: str, kernel: str, deadline_s: float, results: Path | None) -> None:
    """Run COMMAND in the test machine, in the folder FILES or beside the file FILES."""
    try:
        sys.exit(run(Job(files, command, deadline_s, kernel, results), show))
    except DeadlineExceeded as error:
        click.echo(f"deadline exceeded: {error}", err=True)
        sys.exit(EXIT_DEADLINE)
    except MachineError as error:
        click.echo(f"the machine failed: {error}", err=True)
        sys.exit(EXIT_MACHINE)


def show(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
