"""Templates: turbulence has its spectrum, and an ordered field polarises across itself."""

import healpy as hp
import numpy as np
import pytest

from cmbml.sims.templates import Turbulence, child, ordered_polarisation


def test_turbulence_has_the_spectrum_it_names():
    spectrum = Turbulence(sigma=0.5, slope=3.0, knee=10)
    cl = spectrum.spectrum(8192)
    assert np.sum((2 * np.arange(8193) + 1) * cl) / (4 * np.pi) == pytest.approx(0.25)
    np.testing.assert_array_equal(spectrum.spectrum(100), cl[:101])
    field = spectrum.field(child(1, "test"), 128, 1)
    measured = hp.anafast(field.astype(float), lmax=200, iter=1)[50:200]
    assert np.mean(measured / cl[50:200]) == pytest.approx(1, abs=0.03)


def test_the_ordered_field_polarises_across_itself():
    # At b = 0, far from its direction, the field lies along the plane: emission stands upright, Q > 0.
    upright = ordered_polarisation(hp.ang2vec(160.0, 0.0, lonlat=True)[:, None])
    assert upright[0, 0] > 0.5
    along = ordered_polarisation(hp.ang2vec(70.0, 24.0, lonlat=True)[:, None])
    assert np.abs(along).max() < 1e-12
