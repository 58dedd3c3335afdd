"""Skies of several kinds in one dataset: each simulation's own is of one of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cmbml.settings import settings
from cmbml.sims.foregrounds import SkyModel
from cmbml.sims.templates import child
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields


@settings
class MixedSky(SkyModel):
    """A sky of one kind or another, with equal chances; what all simulations share is of the first.

    What learns from one generator of skies may learn the generator: its morphology, and how its spectra go together.

    Attributes:
        kinds: the models by name, each of which varies.
    """

    kinds: Annotated[Mapping[str, SkyModel], Field(min_length=2)]

    def varied(self, seed: int) -> SkyModel:
        """Draw of which kind a sky is, and that sky; the recipe is that of the kind."""
        names = tuple(self.kinds)
        return self.kinds[names[child(seed, "kind").integers(len(names))]].varied(seed)

    @property
    def first(self) -> SkyModel:
        """The first kind."""
        return next(iter(self.kinds.values()))

    def check(self, nside: int, fields: Fields) -> None:
        """Check every kind."""
        for kind in self.kinds.values():
            kind.check(nside, fields)

    def files(self) -> tuple[Path, ...]:
        """Return the files of all kinds."""
        return tuple(dict.fromkeys(path for kind in self.kinds.values() for path in kind.files()))

    def fetch(self, channels: Sequence[Channel], nside: int) -> tuple[Path, ...]:
        """Fetch what any kind needs."""
        return tuple(path for kind in self.kinds.values() for path in kind.fetch(channels, nside))

    def emissions(
        self, channels: Sequence[Channel], nside: int, fields: Fields, seed: int, threads: int = 1
    ) -> Iterator[NDArray[np.float32]]:
        """Emit the sky of the first kind."""
        return self.first.emissions(channels, nside, fields, seed, threads)

    def parts(self) -> dict[str, SkyModel]:
        """Return the components of the first kind."""
        return self.first.parts()
