"""Builds the sandbox's static init and the sensor's BPF objects into the wheel, which is of one platform."""

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILDERS = (Path("daemon/sandbox/init"), Path("daemon/sensors/bpf"))


class BuiltFilesHook(BuildHookInterface[Any]):
    """Loads the builders by their paths: the package's dependencies are not there at build time."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        for folder in BUILDERS:
            _build(Path(self.root) / folder / "__init__.py")
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"


def _build(builder: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"container_kit_{builder.parent.name}", builder)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{builder} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.build()
