"""Draw one simulation, for people to look at."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.components import beams_figure, brightest_place, component_spectra_figure, components_figure
from cmbml.figures.simulation import Simulation, nearest_channel, simulation_maps, simulation_spectra
from cmbml.settings import Nside, PositiveFloat, settings
from cmbml.sims.cmb import Lensing
from cmbml.sky.harmonics import analyse, power
from cmbml.sky.instrument import Channel
from cmbml.stages.assets import (
    BEAMS_FIGURE,
    CMB_MAP,
    COMPONENT_SPECTRA_FIGURE,
    COMPONENTS_FIGURE,
    FOREGROUND_MAP,
    FREQ,
    MAPS_FIGURE,
    MASK,
    MASK_APODISED,
    NOISE_SPECTRUM,
    NOISE_STD_MAP,
    OBS_MAP,
    SIM,
    SKY,
    SKY_RECIPE,
    SPECTRA_FIGURE,
    SPLIT,
    THEORY_SPECTRA,
)
from cmbml.stages.sims.sky import foregrounds_of, model_from

PATCH_CENTRE = (20.0, 16.0)  # of the CMB-ML paper's figure 3a: longitude and latitude, degrees; the plane is in it


@settings
class DrawSimulation(Executor):
    """Draw the maps of a simulation and their spectra.

    Attributes:
        channels: the instrument.
        lensing: of the CMB, which says what theory it follows.
        limit_uk: end of the colour scale of the CMB.
        reference_ghz: the channel nearest to this is the one whose foregrounds and noise are shown by themselves.
    """

    channels: Mapping[str, Channel]
    lensing: Lensing
    limit_uk: PositiveFloat
    reference_ghz: PositiveFloat
    reads: ClassVar = (
        CMB_MAP,
        OBS_MAP,
        SKY_RECIPE,
        NOISE_STD_MAP,
        NOISE_SPECTRUM,
        MASK,
        MASK_APODISED,
        THEORY_SPECTRA,
    )
    may_read: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = (MAPS_FIGURE, SPECTRA_FIGURE)
    per: ClassVar = (SPLIT, SIM)

    def disk_bytes(self) -> int:
        """Two pictures."""
        return 2_500_000

    def process(self, io: UnitIO) -> None:
        """Read, draw, write."""
        found = {freq: self.channels[freq].freq_ghz for freq in io.along(OBS_MAP, FREQ)}
        freqs_ghz = dict(sorted(found.items(), key=lambda item: item[1]))
        maps = dict(io.read_each(OBS_MAP, FREQ))
        reference = nearest_channel(freqs_ghz, self.reference_ghz)
        foregrounds = dict(foregrounds_of(io, {reference: self.channels[reference]}))
        noise = dict(io.read_each(NOISE_SPECTRUM, FREQ))[reference]
        simulation = Simulation(
            name=f"{io.key[SPLIT]}/{io.key[SIM]}",
            freqs_ghz=freqs_ghz,
            truth=io.read(CMB_MAP).values,
            observed={freq: maps[freq].values for freq in freqs_ghz},
            reference=reference,
            foregrounds=foregrounds[reference].values,
            noise_std=dict(io.read_each(NOISE_STD_MAP, FREQ))[reference].values,
            noise_cl=np.stack([noise[name] for name in ("noise_T", "noise_E", "noise_B") if name in noise.colnames]),
            mask=io.read(MASK).values[0],
            mask_apodised=io.read(MASK_APODISED).values[0],
            theory=io.read(THEORY_SPECTRA),
            kind="unlensed" if self.lensing == "none" else "lensed",
        )
        io.write(MAPS_FIGURE, simulation_maps(simulation, self.limit_uk))
        io.write(SPECTRA_FIGURE, simulation_spectra(simulation, io.threads))


@settings
class DrawSky(Executor):
    """Draw what a sky is made of, and what the instrument's beams make of its brightest source.

    Attributes:
        channels: the instrument.
        nside: of the maps that are drawn.
        spectra_lmax: highest multipole of the spectra.
        reference_ghz: the channel nearest to this shows the components.
    """

    channels: Mapping[str, Channel]
    nside: Nside
    spectra_lmax: PositiveInt
    reference_ghz: PositiveFloat
    reads: ClassVar = (SKY_RECIPE,)
    may_read: ClassVar = (FOREGROUND_MAP,)
    writes: ClassVar = (COMPONENTS_FIGURE, COMPONENT_SPECTRA_FIGURE, BEAMS_FIGURE)
    per: ClassVar = (SKY,)
    version: ClassVar[int] = 2

    def disk_bytes(self) -> int:
        """Three pictures."""
        return 1_500_000

    def process(self, io: UnitIO) -> None:
        """Emit each component by itself, draw, write."""
        seen = {freq: found.values[0] for freq, found in foregrounds_of(io, self.channels)}
        channels = {freq: self.channels[freq] for freq in seen}
        freqs = {freq: channel.freq_ghz for freq, channel in channels.items()}
        name = nearest_channel(freqs, self.reference_ghz)
        recipe = io.read(SKY_RECIPE)
        parts = {
            part: model.emission(channels[name], self.nside, "I", recipe["seed"], io.threads)[0]
            for part, model in model_from(recipe).parts().items()
        }
        title = f"{freqs[name]:g} GHz"
        io.write(COMPONENTS_FIGURE, components_figure(parts, PATCH_CENTRE, title=title))
        spectra = {
            part: power(analyse(values[None], self.spectra_lmax, io.threads, 1e-3, 5))[0]
            for part, values in parts.items()
        }
        io.write(COMPONENT_SPECTRA_FIGURE, component_spectra_figure(spectra, title=title))
        place = brightest_place(seen[name])
        fwhm = {freq: channel.fwhm_arcmin for freq, channel in channels.items()}
        io.write(BEAMS_FIGURE, beams_figure(seen, freqs, fwhm, place))
