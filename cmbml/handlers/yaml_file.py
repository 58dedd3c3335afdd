"""Small structured data as YAML."""

from pathlib import Path
from typing import Any, ClassVar

import yaml

from cmbml.core.handler import AssetHandler, Stamp


class YamlFile(AssetHandler[dict[str, Any]]):
    """A mapping of names to plain values."""

    suffix: ClassVar[str] = ".yaml"

    def read(self, path: Path) -> dict[str, Any]:
        """Read the mapping.

        Raises:
            ValueError: the file is no YAML mapping.
        """
        try:
            value = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            message = f"it is no YAML ({error})"
            raise ValueError(message) from error
        if not isinstance(value, dict):
            message = "it holds no mapping"
            raise ValueError(message)  # noqa: TRY004
        return value

    def write(self, path: Path, value: dict[str, Any], stamp: Stamp) -> None:
        """Write the mapping, in its own order."""
        head = f"# made by stage {stamp.stage}, fingerprint {stamp.fingerprint[:32]}\n"
        path.write_text(head + yaml.safe_dump(value, sort_keys=False))
