"""Draw what real maps were cleaned to: the map, the weights, and its spectrum over a theory."""

import logging
from pathlib import Path
from typing import Annotated, ClassVar

import healpy as hp
import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.core.executor import Executor
from cmbml.core.space import Key, Space
from cmbml.core.unit_io import UnitIO
from cmbml.figures.observed import cleaned_figure, observed_spectrum_figure, weights_figure
from cmbml.handlers.raw_map import read_raw_columns, read_raw_header
from cmbml.metrics.coupling import linear_bins, mode_coupling
from cmbml.metrics.footing import map_window
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.metrics.spectral import bin_columns, binned_spectra, decouplings, knox_sigma, masked_alm
from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sky.case import require_map
from cmbml.sky.harmonics import power
from cmbml.sky.maps import Frame, MapError, SkyMap
from cmbml.sky.masks import apodise, degrade_mask
from cmbml.stages.assets import (
    CHANNEL_WEIGHTS,
    CLEANED_MAP,
    METHOD,
    OBSERVED_FIGURE,
    OBSERVED_SPECTRUM,
    OBSERVED_SPECTRUM_FIGURE,
    SIM,
    SPLIT,
    WEIGHTS_FIGURE,
)
from cmbml.stages.modelling.observed import HALVES

log = logging.getLogger(__name__)
NARROWEST = 0.05
"""Value of the map's beam beyond which a spectrum divided by its square is noise."""


@settings
class DrawObserved(Executor):
    """Draw a cleaned map and the weights of its channels; measure its spectrum of I outside the Galactic plane.

    The spectrum is decoupled from the mask (MASTER) and divided by the beam; noise is not taken away from it. Bars are
    the scatter from sky to sky of a Gaussian field of such a spectrum. Where halves of the data were cleaned, too,
    their cross-spectrum stands beside it, in which noise averages to nothing, their own spectra, and that of half their
    difference: the noise in the cleaned map, of which a half has about twice as much power.

    Attributes:
        mask: HEALPix file, in the frame of the maps, of what is kept (above one half); None: by latitude.
        cut_deg: |b| below which the plane is left out where no mask is given.
        apodisation_arcmin: width of the mask's soft edge.
        theory: text file whose first columns are l and D_l of TT, uK_CMB^2, such as Planck's or CAMB's; None: none.
        bin_width: of the bins, in multipoles.
        limit_uk: end of the map's colour scale.
    """

    mask: Path | None = None
    cut_deg: Annotated[float, Field(ge=0, lt=80)] = 20.0
    apodisation_arcmin: NonNegativeFloat = 120.0
    theory: Path | None = None
    bin_width: PositiveInt = 30
    limit_uk: PositiveFloat = 300.0
    reads: ClassVar = (CLEANED_MAP,)
    may_read: ClassVar = (CHANNEL_WEIGHTS, *HALVES)
    writes: ClassVar = (OBSERVED_FIGURE,)
    may_write: ClassVar = (OBSERVED_SPECTRUM, OBSERVED_SPECTRUM_FIGURE, WEIGHTS_FIGURE)
    per: ClassVar = (METHOD, SPLIT, SIM)
    version: ClassVar[int] = 2

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether mask and theory are there and can be read.

        Raises:
            MapError: they are not.
        """
        if self.mask is not None:
            if not self.mask.is_file():
                message = f"observed.pictures.mask={self.mask}: there is no such file; null leaves out the plane"
                raise MapError(message)
            read_raw_header(self.mask)
        if self.theory is not None:
            read_theory(self.theory)

    def files(self, key: Key) -> tuple[Path, ...]:  # noqa: ARG002
        """Return mask and theory."""
        return tuple(path for path in (self.mask, self.theory) if path is not None)

    def disk_bytes(self) -> int:
        """Three figures and a table."""
        return 600_000

    def process(self, io: UnitIO) -> None:
        """Draw and measure."""
        sky = require_map(io.read(CLEANED_MAP))
        keep = self._kept(sky.spec.nside, sky.spec.frame)
        soft = apodise(keep, self.apodisation_arcmin, "C2")
        dipole = MonopoleDipole.outside(soft > 0)
        values = dipole.remove(sky.values[0].astype(np.float64))
        beam = "no beam" if sky.spec.beam == "none" else f"{sky.spec.fwhm_arcmin:g} arcmin"
        title = f"{io.key[METHOD]}: cleaned map, {beam}"
        io.write(OBSERVED_FIGURE, cleaned_figure(values, keep.astype(np.float64), self.limit_uk, title=title))
        if sky.spec.beam == "window":
            log.info("%s gets no spectrum: its map has a channel's own beam, which is a table", io.key[METHOD])
        else:
            self._measure(io, sky, keep, soft, dipole)
        weights = io.read_optional(CHANNEL_WEIGHTS)
        if weights is not None:
            io.write(WEIGHTS_FIGURE, _draw_weights(weights))

    def _measure(
        self, io: UnitIO, sky: SkyMap, keep: NDArray[np.bool_], soft: NDArray[np.float64], dipole: MonopoleDipole
    ) -> None:
        """Measure the spectrum of I under a soft mask, write it, draw it."""
        window = map_window(sky.spec, sky.spec.lmax or 2 * sky.spec.nside, 1)
        lmax = int(np.flatnonzero(window[0] > NARROWEST)[-1])
        coupling = mode_coupling(soft, lmax, False, io.threads, removal=True)
        decoupled = decouplings(coupling, linear_bins(2, lmax, self.bin_width), window)
        alm = masked_alm(sky.values[:1].astype(np.float64), soft, lmax, dipole, threads=io.threads)
        bins = bin_columns(decoupled[0].edges, coupling, 1)
        spectra = {"d_ell": power(alm)}
        halves = [half for half in map(io.read_optional, HALVES) if half is not None]
        if halves:
            first, second, noise = (
                masked_alm(half.values[:1].astype(np.float64), soft, lmax, dipole, threads=io.threads)
                for half in halves
            )
            cross = {"d_cross": power(first, second), "d_first": power(first), "d_second": power(second)}
            spectra |= cross | {"d_noise": power(noise)}
        binned = binned_spectra(spectra, coupling, decoupled, window)["master"]
        theory = None if self.theory is None else read_theory(self.theory)
        expected = np.full_like(binned["d_ell"], np.nan)
        if theory is not None and len(theory) > lmax:
            expected = decoupled[0].expected(theory[None, : lmax + 1])
        columns = {
            name: column[0] for name, column in (bins | binned | {"d_theory": expected}).items() if name != "field"
        }
        columns["sigma"] = knox_sigma(np.abs(columns["d_ell"]), columns["n_modes"])
        if "d_cross" in columns:
            both = columns["d_cross"] ** 2 + columns["d_first"] * columns["d_second"]
            columns["sigma_cross"] = np.sqrt(np.maximum(both, 0) / columns["n_modes"])
        io.write(OBSERVED_SPECTRUM, Table(columns))
        title = f"{io.key[METHOD]}: TT outside the mask, {100 * float(keep.mean()):.0f} % of the sky"
        shown = None if theory is None else theory[: lmax + 1]
        io.write(OBSERVED_SPECTRUM_FIGURE, observed_spectrum_figure(columns, title=title, theory=shown))

    def _kept(self, nside: int, frame: Frame) -> NDArray[np.bool_]:
        """Return what is kept, `(n_pix,)`: by the file, or by the Galactic latitude of each pixel of the frame."""
        if self.mask is not None:
            return degrade_mask(read_raw_columns(self.mask, (0,))[0][0], nside, 0.5)
        colatitude, _ = hp.Rotator(coord=[frame, "G"])(*hp.pix2ang(nside, np.arange(12 * nside**2)))
        latitude = 90 - np.degrees(colatitude)
        kept: NDArray[np.bool_] = np.abs(latitude) >= self.cut_deg
        return kept


def read_theory(path: Path) -> NDArray[np.float64]:
    """Read D_l of TT from the first two columns of a text file, `(lmax + 1,)`, uK_CMB^2; zero below its first l.

    Raises:
        MapError: it is not there, or no such table.
    """
    where = f"observed.pictures.theory={path}"
    try:
        ell, values = np.loadtxt(path, usecols=(0, 1), unpack=True, ndmin=2)
    except OSError as error:
        message = f"{where}: {error.strerror or error}"
        raise MapError(message) from error
    except ValueError as error:
        message = f"{where}: its first two columns are to be l and D_l in uK^2, and {error}"
        raise MapError(message) from error
    if not (np.all(np.diff(ell) == 1) and np.all(ell == ell.round()) and 0 <= ell[0] <= 2):
        message = f"{where}: its first column is to count multipoles one by one, from 0, 1 or 2 on"
        raise MapError(message)
    whole = np.zeros(int(ell[-1]) + 1)
    whole[ell.astype(int)] = values
    return whole


def _draw_weights(table: Table) -> Figure:
    rows = list(dict.fromkeys(map(str, table["channel"])))
    parts = {
        name: np.asarray(table[name], dtype=np.float64).reshape(len(rows), -1) for name in ("at", "mean", "low", "high")
    }
    return weights_figure(rows, str(table["along"][0]), parts["at"][0], parts["mean"], parts["low"], parts["high"])
