"""What the errors of methods' spectra do to cosmological parameters."""

import logging
from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from cmbml.core.errors import ConfigError, nearest
from cmbml.core.executor import Executor
from cmbml.core.space import Space
from cmbml.core.unit_io import UnitIO
from cmbml.metrics.coupling import linear_bins
from cmbml.metrics.parameters import AUTO, CROSS, bias_metrics, parameter_bias
from cmbml.metrics.scores import Score
from cmbml.metrics.spectral import knox_sigma
from cmbml.settings import settings
from cmbml.sims.cmb import Lensing, theory_prefix
from cmbml.sims.cosmology import FixedCosmology
from cmbml.sims.derivatives import STEPS, spectrum_derivatives
from cmbml.sims.spectrum import CambSettings
from cmbml.sky.spectra import bin_spectrum, d_ell
from cmbml.stages.analysis.judges import Judge
from cmbml.stages.assets import PARAMETER_DERIVATIVES, SPECTRA_SCORES

log = logging.getLogger(f"cmbml.{__name__}")


@settings
class DifferentiateSpectra(Executor):
    """Run CAMB around one cosmology: the derivatives of its spectra, once for a dataset.

    Attributes:
        parameters: by which.
        fiducial: where they are taken, the same for all simulations.
        lmax: highest multipole.
        lensing: how the CMB was lensed.
        camb: accuracy and margins.
    """

    parameters: tuple[str, ...]
    fiducial: FixedCosmology
    lmax: PositiveInt
    lensing: Lensing
    camb: CambSettings
    writes: ClassVar = (PARAMETER_DERIVATIVES,)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether there are such parameters."""
        require_parameters(self.parameters)

    def process(self, io: UnitIO) -> None:
        """Compute, write."""
        cosmology = self.fiducial.draw(0, io.rng("fiducial"), io.seed("fiducial"))
        prefix = theory_prefix(self.lensing)
        found = spectrum_derivatives(cosmology, self.parameters, prefix, self.lmax, self.camb)
        io.write(PARAMETER_DERIVATIVES, found)


def require_parameters(names: tuple[str, ...]) -> None:
    """Check that parameters are known, each named once.

    Raises:
        ConfigError: they are not.
    """
    for name in names:
        if name not in STEPS:
            message = f"parameters: there is no '{name}'; {nearest(name, STEPS)}"
            raise ConfigError(message)
    if not names or len(set(names)) < len(names):
        message = f"parameters=[{','.join(names)}]: name each once, and one at least"
        raise ConfigError(message)


@settings
class ParameterBiases(Judge):
    """Turn the bias of the bandpowers that are decoupled from the mask into one of parameters, in their sigma.

    All named parameters are free at once, everything else is fixed. Bandpowers scatter as Gaussian ones on the part of
    the sky that the mask leaves (Knox 1995), with cosmic variance and, if so wished, the power of the method's own
    residual in that simulation. Temperature and E modes are judged apart, without their correlation.

    Attributes:
        parameters: those that are free, of those that derivatives are taken by.
        noise: what is added to cosmic variance: `residual`, or `none`.
        lmax: highest multipole of the spectra.
        bin_width: of their bins.
    """

    parameters: tuple[str, ...]
    lmax: PositiveInt
    bin_width: PositiveInt
    noise: Literal["residual", "none"] = "residual"
    reads: ClassVar = ()
    may_read: ClassVar = (SPECTRA_SCORES, PARAMETER_DERIVATIVES)

    def check(self, space: Space) -> None:  # noqa: ARG002
        """Look whether there are such parameters; say so where the spectra have too few bins for them."""
        require_parameters(self.parameters)
        if not self._can_tell:
            log.info(
                "no biases of parameters: %d of them need as many bins of the spectra; name fewer (parameters=), or "
                "take a higher spectra.lmax or a smaller spectra.bin_width",
                len(self.parameters),
            )

    @property
    def _can_tell(self) -> bool:
        return len(linear_bins(2, self.lmax, self.bin_width)) - 1 >= len(self.parameters)

    def scores(self, io: UnitIO) -> Iterator[Score]:
        """Give the bias of each parameter, and that of all together, for either spectrum."""
        rows, theory = io.read_optional(SPECTRA_SCORES), io.read_optional(PARAMETER_DERIVATIVES)
        if rows is None or theory is None or not self._can_tell:
            return
        metrics = bias_metrics(self.parameters)
        for field in ("TT", "EE"):
            kept = (rows["kind"] == "master") & (rows["field"] == field)
            if not kept.any():
                continue
            table = {name: column[kept] for name, column in rows.items() if name not in ("kind", "field")}
            edges = np.append(table["l_low"], table["l_high"][-1] + 1).astype(int)
            expected = bin_spectrum(d_ell(theory[field]), edges)
            slopes = np.stack([bin_spectrum(d_ell(theory[f"{field}_{name}"]), edges) for name in self.parameters])
            noise = np.maximum(table["d_residual"], 0) * float(self.noise == "residual")
            sigma = np.asarray(knox_sigma(expected + noise, table["n_modes"]), np.float64)
            for where, name in ((AUTO, "d_prediction"), (CROSS, "d_cross")):
                found = parameter_bias(slopes, np.asarray(table[name] - table["d_truth"], np.float64), sigma)
                values = [*(found.shift / found.sigma).tolist(), found.total]
                for metric, value in zip(metrics, values, strict=True):
                    yield Score(metric, where, field, "mask", value, floor=0.0, count=len(edges) - 1)
