"""Builds the sandbox's init beside its source."""

from daemon.sandbox import init

print(init.build())
