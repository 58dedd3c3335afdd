"""Emit the foregrounds: once per sky and channel, never once per simulation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from cmbml.core.errors import nearest
from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import Nside, settings
from cmbml.sims.foregrounds import SkyModel
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import Fields, MapSpec, SkyMap
from stages.assets import FREQ, SKY, SKY_MAP


@settings
class EmitSky(Executor):
    """Compute what all foregrounds together emit in one channel's band, before any beam.

    Attributes:
        models: the skies by name; a split says which one it sees.
        channels: the instrument.
        nside_sky: resolution of the emission.
        fields: `I`, or `IQU`.
    """

    models: Mapping[str, SkyModel]
    channels: Mapping[str, Channel]
    nside_sky: Nside
    fields: Fields
    writes: ClassVar = (SKY_MAP,)
    per: ClassVar = (SKY, FREQ)
    along: ClassVar = {"models": SKY, "channels": FREQ}

    def check(self, space: Space) -> None:
        """Look whether every sky that a split asks for is there and can be made."""
        for key in space.keys((SKY,)):
            if key[SKY] not in self.models:
                message = f"a split asks for sky '{key[SKY]}', which `skies` lacks; {nearest(key[SKY], self.models)}"
                raise ValueError(message)
            self.models[key[SKY]].check(self.nside_sky, self.fields)

    def settings_at(self, key: Key) -> dict[str, Any]:
        """Depend on the channel's band alone."""
        mine = super().settings_at(key)
        channel = mine["channels"]
        return mine | {"channels": {"freq_ghz": channel.freq_ghz, "bandpass": channel.bandpass}}

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the sky's template files and the channel's bandpass."""
        bandpass = self.channels[key[FREQ]].bandpass
        return (*self.models[key[SKY]].files(), *(() if bandpass is None else (bandpass,)))

    def fetch(self) -> None:
        """Fetch the templates of every sky."""
        for model in self.models.values():
            model.fetch(tuple(self.channels.values()), self.nside_sky)

    def disk_bytes(self) -> int:
        """One map."""
        return 48 * self.nside_sky**2 * len(self.fields)

    def process(self, io: UnitIO) -> None:
        """Emit and write."""
        model, channel = self.models[io.key[SKY]], self.channels[io.key[FREQ]]
        values = model.emission(channel, self.nside_sky, self.fields, io.seed(f"sky {io.key[SKY]}"), io.threads)
        io.write(SKY_MAP, SkyMap(values, MapSpec(nside=self.nside_sky, fields=self.fields)))
