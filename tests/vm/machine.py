"""Boots the test machine for one command: files in, output as it comes, exit status and results out.

QEMU emulates the processor, so that no /dev/kvm is needed. Nothing of a run stays on the machine's disk.
"""

from __future__ import annotations

import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.vm.image import KERNELS, image, make_disk

MEMORY = "2G"
ROOM_BYTES = 512 << 20  # on the job's disk, beside its files
CONSOLE_LINES = 60  # a panic has forty
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=-1 systemd.unit=vm-command.target"
# Without a name of the host's: no configuration of its user changes the machine, and no network leads out.
FIXED = (
    *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY),
    *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"),
    *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
    *("-device", "virtserialport,chardev=output,name=output"),
    *("-chardev", "file,id=output,append=on,path=/dev/stdout"),
)


class MachineError(Exception):
    """The machine, not the command, failed; the message has the end of the kernel's console."""


class DeadlineExceeded(Exception):
    """The command was still running: the machine was switched off."""


@dataclass(frozen=True)
class Job:
    """`files` is a file or a folder, which becomes the folder that the command runs in, as root, by bash.

    What the command leaves in $OUT goes to `results`.
    """

    files: Path
    command: str
    deadline_s: float
    kernel: str = next(iter(KERNELS))
    results: Path | None = None


def run(job: Job, output: Callable[[bytes], object]) -> int:
    """The command's exit status. Raises DeadlineExceeded, MachineError."""
    deadline_s = time.monotonic() + job.deadline_s
    with tempfile.TemporaryDirectory(prefix="container-kit-vm-") as name:
        folder = Path(name)
        disk = _job_disk(job, folder)
        ended = _boot(job, disk, folder, output, deadline_s)
        if job.results is not None:
            _dump(disk, "/out", job.results)
        if not ended:
            raise DeadlineExceeded(f"not done within {job.deadline_s:.0f} s{_console(folder)}")
        return _status(disk, folder)


def _job_disk(job: Job, folder: Path) -> Path:
    contents = folder / "job"
    (contents / "out").mkdir(parents=True)
    if job.files.is_dir():
        shutil.copytree(job.files, contents / "files", symlinks=True)
    else:
        (contents / "files").mkdir()
        shutil.copy2(job.files, contents / "files")
    (contents / "command").write_text(job.command + "\n")
    size_bytes = sum(path.lstat().st_size for path in contents.rglob("*"))
    make_disk(folder / "job.img", contents, 2 * size_bytes + ROOM_BYTES)
    shutil.rmtree(contents)
    return folder / "job.img"


def _boot(job: Job, disk: Path, folder: Path, output: Callable[[bytes], object], deadline_s: float) -> bool:
    """False if it had to be switched off at the deadline."""
    # Dies with this process: a machine that nobody waits for would go on for ever.
    command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *_arguments(job, disk, folder)]
    with (
        (folder / "qemu.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as machine,
    ):
        try:
            return _pass_on(machine, output, deadline_s)
        finally:
            machine.kill()


def _arguments(job: Job, disk: Path, folder: Path) -> list[str]:
    made = image()
    return [
        *FIXED,
        *("-kernel", str(made.vmlinuz(job.kernel)), "-initrd", str(made.initrd(job.kernel))),
        *("-append", KERNEL_ARGUMENTS, "-serial", f"file:{folder}/console"),
        *("-drive", f"if=virtio,format=raw,snapshot=on,file={made.disk}"),
        *("-drive", f"if=virtio,format=raw,cache=unsafe,file={disk}"),
    ]


def _pass_on(machine: subprocess.Popen[bytes], output: Callable[[bytes], object], deadline_s: float) -> bool:
    assert machine.stdout is not None
    while (left_s := deadline_s - time.monotonic()) > 0:
        if not select.select([machine.stdout], [], [], left_s)[0]:
            break
        if not (chunk := machine.stdout.read1()):  # type: ignore[attr-defined]  # it is buffered
            machine.wait()
            return True
        output(chunk)
    return False


def _status(disk: Path, folder: Path) -> int:
    read = subprocess.run(["debugfs", "-R", "cat /status", disk], capture_output=True, text=True, check=False)
    if not read.stdout.strip().isdecimal():
        raise MachineError(f"it ended before the command did{_console(folder)}")
    return int(read.stdout)


def _dump(disk: Path, path: str, destination: Path) -> None:
    """Copies what is in a folder of the disk; nothing if it was never written back."""
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination) as name:
        subprocess.run(["debugfs", "-R", f"rdump {path} {name}", disk], capture_output=True, check=True)
        found = Path(name) / Path(path).name
        if found.is_dir():
            shutil.copytree(found, destination, dirs_exist_ok=True)


def _console(folder: Path) -> str:
    """What the emulator and the kernel said last, for the end of a message."""
    files = (folder / "qemu.log", folder / "console")
    text = "".join(file.read_text(errors="replace") for file in files if file.exists())
    return "".join(f"\n    {line}" for line in text.splitlines()[-CONSOLE_LINES:])
