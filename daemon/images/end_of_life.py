"""When distributions stop getting security updates from their makers for free: a table as of November 2026.

To be checked against wiki.debian.org/DebianReleases (with LTS), ubuntu.com/about/release-cycle,
alpinelinux.org/releases, rockylinux.org and almalinux.org. A release that is not here has no verdict.
"""

from __future__ import annotations

from datetime import date

from daemon.images.os_release import OsRelease

_ENDS = {
    ("debian", "8"): date(2020, 6, 30),
    ("debian", "9"): date(2022, 6, 30),
    ("debian", "10"): date(2024, 6, 30),
    ("debian", "11"): date(2026, 8, 31),
    ("debian", "12"): date(2028, 6, 30),
    ("debian", "13"): date(2030, 6, 30),
    ("ubuntu", "16.04"): date(2021, 4, 30),
    ("ubuntu", "18.04"): date(2023, 5, 31),
    ("ubuntu", "20.04"): date(2025, 5, 31),
    ("ubuntu", "22.04"): date(2027, 4, 30),
    ("ubuntu", "24.04"): date(2029, 4, 30),
    ("alpine", "3.16"): date(2024, 5, 23),
    ("alpine", "3.17"): date(2024, 11, 22),
    ("alpine", "3.18"): date(2025, 5, 9),
    ("alpine", "3.19"): date(2025, 11, 1),
    ("alpine", "3.20"): date(2026, 4, 1),
    ("alpine", "3.21"): date(2026, 11, 1),
    ("alpine", "3.22"): date(2027, 5, 1),
    ("centos", "6"): date(2020, 11, 30),
    ("centos", "7"): date(2024, 6, 30),
    ("centos", "8"): date(2021, 12, 31),
    ("rocky", "8"): date(2029, 5, 31),
    ("rocky", "9"): date(2032, 5, 31),
    ("almalinux", "8"): date(2029, 3, 1),
    ("almalinux", "9"): date(2032, 5, 31),
}
_PARTS = {"ubuntu": 2, "alpine": 2}


def end_of_life(os: OsRelease) -> date | None:
    release = ".".join(os.version_id.split(".")[: _PARTS.get(os.id, 1)])
    return _ENDS.get((os.id, release))
