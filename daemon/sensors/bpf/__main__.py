"""Builds the objects beside their sources."""

from daemon.sensors import bpf

for built in bpf.build():
    print(built)
