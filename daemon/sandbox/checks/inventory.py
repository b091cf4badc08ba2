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
    gate,
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

IMAGE_CHECKS: tuple[Check, ...] = (registry.check, image.check, gate.check)
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
    *IMAGE_CHECKS,
    runtime.check,
    engine.check_engine,
    engine.check_runc,
    engine.check_host,
)
