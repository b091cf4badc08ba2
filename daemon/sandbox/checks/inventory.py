"""The checks, in the order in which the report shows them."""

from __future__ import annotations

from daemon.sandbox.checks import (
    Check,
    apparmor,
    capabilities,
    devices,
    egress,
    engine,
    environment,
    image,
    limits,
    mounts,
    namespaces,
    networking,
    privileged,
    privileges,
    registry,
    rootfs,
    runtime,
    seccomp,
    user,
)

CHECKS: tuple[Check, ...] = (
    privileged.check,
    namespaces.check,
    mounts.check,
    devices.check,
    capabilities.check,
    user.check,
    seccomp.check,
    apparmor.check,
    privileges.check,
    rootfs.check,
    limits.check,
    environment.check,
    networking.check,
    egress.check,
    registry.check,
    image.check,
    runtime.check,
    engine.check_engine,
    engine.check_runc,
    engine.check_host,
)
