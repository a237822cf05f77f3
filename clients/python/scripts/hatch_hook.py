"""Makes what is generated before a wheel is built. A source distribution holds it already."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Generate(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        description = Path(self.root, "../../crates/protocol/openapi.json")
        if description.exists():
            runpy.run_path(str(Path(self.root, "scripts/generate.py")), run_name="__main__")
