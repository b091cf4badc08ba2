"""The checks, in the order in which the report shows them."""

from __future__ import annotations

from daemon.sandbox.checks import (
    Check,
    capabilities,
    confinement,
    devices,
    engine,
    environment,
    image,
    limits,
    mounts,
    namespaces,
    networking,
    privileged,
    user,
)

CHECKS: tuple[Check, ...] = (
    privileged.check,
    namespaces.check,
    mounts.check,
    devices.check,
    capabilities.check,
    user.check,
    confinement.check_seccomp,
    confinement.check_apparmor,
    confinement.check_new_privileges,
    confinement.check_root_file_system,
    limits.check,
    environment.check,
    networking.check,
    image.check_registry,
    image.check_configuration,
    engine.check_runtime,
    engine.check_versions,
    engine.check_host,
)
