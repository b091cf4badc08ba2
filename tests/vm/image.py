"""The test machine's disk and kernels: Debian 12 with systemd, AppArmor, Docker and Python.

Made once by the host's own mmdebstrap and mke2fs, without a loop mount, and kept until the recipe changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

RECIPE = Path(__file__).with_name("recipe")
PACKAGES = (
    *("systemd-sysv", "dbus", "udev", "kmod", "apparmor", "docker.io", "iptables", "iproute2", "procps"),
    *("python3", "python3-venv", "ca-certificates", "busybox-static", "libbpf1", "libseccomp2", "bpftool"),
)
KERNELS = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}
DRIVERS = ("virtio_pci", "virtio_blk", "ext4")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
MIRROR = "http://deb.debian.org"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCES = (
    f"deb [signed-by={KEYRING}] {MIRROR}/debian bookworm main",
    f"deb [signed-by={KEYRING}] {MIRROR}/debian-security bookworm-security main",
)
DISK_BYTES = 6 << 30  # sparse


@dataclass(frozen=True)
class Image:
    """A folder of files that no run changes."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "root.img"

    def vmlinuz(self, kernel: str) -> Path:
        return self.folder / kernel / "vmlinuz"

    def initrd(self, kernel: str) -> Path:
        return self.folder / kernel / "initrd"


def image() -> Image:
    """The cached one, or a new one, which takes about a minute. Raises CalledProcessError."""
    folder = cache_folder() / _key()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        print(f"building the test machine's disk in {folder}", flush=True)
        _build(folder)
    return Image(folder)


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "container-kit/vm"


def _key() -> str:
    """Of all that decides what the disk holds, but for the day of the packages."""
    files = (Path(__file__), *sorted(RECIPE.iterdir()))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="build-") as name:
        work = Path(name)
        root, made = work / "root", work / "made"
        _install(root)
        for kernel, package in KERNELS.items():
            (made / kernel).mkdir(parents=True)
            shutil.move(root / "boot" / package / "vmlinuz", made / kernel)
            _pack_initrd(root, (root / "boot" / package / "release").read_text().strip(), made / kernel)
        make_disk(made / "root.img", root, DISK_BYTES)
        made.rename(folder)


def _install(root: Path) -> None:
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    hook = f'--customize-hook={RECIPE}/root.sh "$1" {RECIPE} {" ".join(KERNELS.values())}'
    packages = f"--include={','.join(PACKAGES)}"
    options = ("--quiet", "--mode=root", "--variant=minbase", "--aptopt=Acquire::Retries 3")
    # The lists are needed by the hook; they and the packages go before the disk is made.
    subprocess.run(
        ["mmdebstrap", *options, packages, *excluded, hook, "bookworm", root, *SOURCES], check=True
    )


def _pack_initrd(root: Path, release: str, folder: Path) -> None:
    """The three drivers that the kernel needs to find its disk, and a shell script that loads them."""
    initrd = folder / "contents"
    for name in ("bin", "proc", "sys", "dev", "root", "modules"):
        (initrd / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", initrd / "bin")
    shutil.copy(RECIPE / "init", initrd)
    for number, module in enumerate(_modules(root, release)):
        shutil.copy(module, initrd / "modules" / f"{number:02}-{module.name}")
    names = "\n".join(str(path.relative_to(initrd)) for path in sorted(initrd.rglob("*")))
    archive = subprocess.run(
        [root / "bin/busybox", "cpio", "-o", "-H", "newc"],
        cwd=initrd,
        input=names.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    ).stdout
    (folder / "initrd").write_bytes(archive)
    shutil.rmtree(initrd)


def _modules(root: Path, release: str) -> list[Path]:
    """In the order in which they can be loaded."""
    found: dict[Path, None] = {}
    for driver in DRIVERS:
        command = ["chroot", str(root), "modprobe", "-S", release, "--show-depends", driver]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            action, path = line.split()[:2]
            if action == "insmod":
                found[root / path.removeprefix("/")] = None
    return list(found)


def make_disk(disk: Path, contents: Path, size_bytes: int) -> None:
    """An ext4 of that size which holds a copy of the folder."""
    with disk.open("wb") as file:
        file.truncate(size_bytes)
    options = ("-q", "-F", "-t", "ext4", "-O", "^has_journal")
    subprocess.run(["mke2fs", *options, "-d", contents, disk], check=True)


if __name__ == "__main__":
    print(image().folder)
