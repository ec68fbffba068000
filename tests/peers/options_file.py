"""SOURCE_OPTIONS_FILE as tests write it."""

import json
from pathlib import Path
from typing import Any


class OptionsFile:
    """The file, and the secrets beside it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "source-options.yaml"

    def say(self, **sources: Any) -> dict[str, Any]:
        """Write the options of settings; return the environment that names the file. JSON is YAML, too."""
        self._path.write_text(json.dumps({"version": 1, "sources": sources}))
        return {"SOURCE_OPTIONS_FILE": str(self._path)}

    def keep(self, name: str, secret: str) -> str:
        """Write a secret to a file beside it; return how options name that."""
        (self._directory / name).write_text(f"{secret}\n")
        return name
