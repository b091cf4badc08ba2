"""Builds the sandbox's static init into the wheel, which is therefore bound to its platform."""

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INIT = Path("daemon/sandbox/init")


class InitBuildHook(BuildHookInterface[Any]):
    """Loads the builder by its path: the package's dependencies are not there at build time."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        source = Path(self.root) / INIT / "__init__.py"
        spec = importlib.util.spec_from_file_location("container_kit_init", source)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"{source} is missing")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build()
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
