"""The one rule by which files are named."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cmbml.core.asset import Asset
from cmbml.core.space import Key


@dataclass(frozen=True)
class Namer:
    """Turn an asset and a point into a path relative to the dataset's folder.

    `{stage}/{method}/{sky}/{cosmology}/{split}/{sim}/{asset}_{freq}{suffix}`: an axis that the asset lacks
    leaves no mark.
    """

    def path(self, stage: str, asset: Asset[Any], key: Key) -> PurePosixPath:
        """Return the path of one file.

        Args:
            stage: name of the stage that makes the asset.
            asset: what it is.
            key: the point, on at least the axes of the asset.
        """
        own = key.on(asset.per).items
        folders = [value for axis, value in own if axis.place == "folder"]
        name = "_".join([asset.name, *(value for axis, value in own if axis.place == "file")])
        return PurePosixPath(stage, *folders, name + asset.handler.suffix)

    def record(self, stage: str, key: Key) -> PurePosixPath:
        """Return the path of the record of one unit."""
        return PurePosixPath(".records", stage, key.name + ".json")
