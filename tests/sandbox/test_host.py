"""Facts of the host, read from text as the kernel writes it."""

from __future__ import annotations

from daemon.sandbox.host import enforced_profiles

PROFILES = """\
container-kit-sandbox (enforce)
/usr/bin/man (complain)
docker-default (enforce)
firefox (unconfined)
snap.a//b c (enforce)
killer (kill)
"""


def test_only_a_profile_that_is_enforced_is_a_lock() -> None:
    assert enforced_profiles(PROFILES) == {"container-kit-sandbox", "docker-default", "snap.a//b c"}


def test_a_kernel_without_profiles_has_none() -> None:
    assert enforced_profiles("") == frozenset()
