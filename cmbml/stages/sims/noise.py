"""Describe the noise of every channel, and draw it for whoever needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import ClassVar

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.settings import settings
from cmbml.sims.noise import NoiseModel, NoiseSource, draw_noise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.stages.assets import FREQ, NOISE_MAP, NOISE_MEAN_MAP, NOISE_SPECTRUM, NOISE_STD_MAP, SIM, SPLIT
from cmbml.stages.maps import Maps

NOISE_PARTS = (NOISE_STD_MAP, NOISE_MEAN_MAP, NOISE_SPECTRUM)


@settings
class ModelNoise(Executor):
    """Work out one channel's noise: its standard deviation per pixel and its angular spectrum.

    Attributes:
        source: what kind of noise, from what.
        channels: the instrument.
        maps: what the maps of the dataset are.
    """

    source: NoiseSource
    channels: Mapping[str, Channel]
    maps: Maps
    writes: ClassVar = NOISE_PARTS
    per: ClassVar = (FREQ,)
    along: ClassVar = {"channels": FREQ}

    def check(self, space: Space) -> None:
        """Look whether the source can describe every channel."""
        wanted = {key[FREQ]: self.channels[key[FREQ]] for key in space.keys((FREQ,))}
        self.source.check(wanted, self.maps.nside, self.maps.lmax, self.maps.fields)

    def files(self, key: Key) -> tuple[Path, ...]:
        """Return the channel's variance map and noise simulations."""
        return self.source.files(key[FREQ])

    def disk_bytes(self) -> int:
        """Two maps and a table."""
        return 2 * self.maps.n_bytes + 100 * self.maps.lmax * len(self.maps.fields)

    def process(self, io: UnitIO) -> None:
        """Model and write."""
        name = io.key[FREQ]
        maps = self.maps
        model = self.source.model(name, self.channels[name], maps.nside, maps.lmax, maps.fields, io.threads)
        spec = MapSpec(nside=maps.nside, fields=maps.fields)
        zero = np.zeros_like(model.std_map)
        io.write(NOISE_STD_MAP, SkyMap(model.std_map, spec))
        io.write(NOISE_MEAN_MAP, SkyMap(zero if model.mean_map is None else model.mean_map, spec))
        has_mean = model.mean_map is not None
        io.write(NOISE_SPECTRUM, Table(dict(model.spectra()), meta={"HASMEAN": has_mean}))


def draw_channels(io: UnitIO, freqs: Sequence[str]) -> NDArray[np.float32]:
    """Draw the noise of one simulation: the same numbers in every stage that asks.

    Args:
        io: of a unit at one split and simulation, which reads `NOISE_PARTS`.
        freqs: the channels.

    Returns:
        `(n_channel, n_field, n_pix)`, uK_CMB.
    """
    tables = dict(io.read_each(NOISE_SPECTRUM, FREQ))
    spectra = {freq: {name: np.asarray(table[name]) for name in table.colnames} for freq, table in tables.items()}
    stds = {freq: found.values for freq, found in io.read_each(NOISE_STD_MAP, FREQ)}
    means = {}
    if any(table.meta["HASMEAN"] for table in tables.values()):
        means = {freq: found.values for freq, found in io.read_each(NOISE_MEAN_MAP, FREQ)}
    models = [NoiseModel.from_parts(stds[freq], spectra[freq], means.get(freq)) for freq in freqs]
    rngs = [io.rng("noise", {FREQ: freq}, per=NOISE_MAP.per) for freq in freqs]
    return draw_noise(models, rngs, io.threads)


@settings
class RemakeNoise(Executor):
    """Write the noise that is in one simulation's observations, made again from the seed.

    Attributes:
        channels: the instrument; it says how much is written, and its noise comes with what is read.
        maps: what the maps of the dataset are.
    """

    channels: Mapping[str, Channel] = field(metadata={"matters": False})
    maps: Maps
    reads: ClassVar = NOISE_PARTS
    writes: ClassVar = (NOISE_MAP,)
    per: ClassVar = (SPLIT, SIM)

    def disk_bytes(self) -> int:
        """One map per channel."""
        return len(self.channels) * self.maps.n_bytes

    def process(self, io: UnitIO) -> None:
        """Draw and write."""
        freqs = io.along(NOISE_MAP, FREQ)
        for freq, values in zip(freqs, draw_channels(io, freqs), strict=True):
            io.write(NOISE_MAP, SkyMap(values, MapSpec(nside=self.maps.nside, fields=self.maps.fields)), {FREQ: freq})
