"""Draw one simulation, for people to look at."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cmbml.core.executor import Executor
from cmbml.core.unit_io import UnitIO
from cmbml.figures.simulation import Simulation, nearest_channel, simulation_maps, simulation_spectra
from cmbml.settings import PositiveFloat, settings
from cmbml.sims.cmb import Lensing
from cmbml.sky.instrument import Channel
from stages.assets import (
    CMB_MAP,
    FOREGROUND_MAP,
    FREQ,
    MAPS_FIGURE,
    MASK,
    MASK_APODISED,
    NOISE_SPECTRUM,
    NOISE_STD_MAP,
    OBS_MAP,
    SIM,
    SPECTRA_FIGURE,
    SPLIT,
    THEORY_SPECTRA,
)


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
        FOREGROUND_MAP,
        NOISE_STD_MAP,
        NOISE_SPECTRUM,
        MASK,
        MASK_APODISED,
        THEORY_SPECTRA,
    )
    writes: ClassVar = (MAPS_FIGURE, SPECTRA_FIGURE)
    per: ClassVar = (SPLIT, SIM)

    def disk_bytes(self) -> int:
        """Two pictures."""
        return 2_500_000

    def process(self, io: UnitIO) -> None:
        """Read, draw, write."""
        found = {freq: self.channels[freq].freq_ghz for freq in io.along(OBS_MAP, FREQ)}
        freqs_ghz = dict(sorted(found.items(), key=lambda item: item[1]))
        observed = {freq: seen.values for freq, seen in io.read_each(OBS_MAP, FREQ)}
        reference = nearest_channel(freqs_ghz, self.reference_ghz)
        noise = dict(io.read_each(NOISE_SPECTRUM, FREQ))[reference]
        simulation = Simulation(
            name=f"{io.key[SPLIT]}/{io.key[SIM]}",
            freqs_ghz=freqs_ghz,
            truth=io.read(CMB_MAP).values,
            observed={freq: observed[freq] for freq in freqs_ghz},
            reference=reference,
            foregrounds=dict(io.read_each(FOREGROUND_MAP, FREQ))[reference].values,
            noise_std=dict(io.read_each(NOISE_STD_MAP, FREQ))[reference].values,
            noise_cl=np.stack([noise[name] for name in ("noise_T", "noise_E", "noise_B") if name in noise.colnames]),
            mask=io.read(MASK).values[0],
            mask_apodised=io.read(MASK_APODISED).values[0],
            theory=io.read(THEORY_SPECTRA),
            kind="unlensed" if self.lensing == "none" else "lensed",
        )
        io.write(MAPS_FIGURE, simulation_maps(simulation, self.limit_uk))
        io.write(SPECTRA_FIGURE, simulation_spectra(simulation, io.threads))
