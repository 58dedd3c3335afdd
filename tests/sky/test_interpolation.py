"""Values between pixels are those of HEALPix."""

import healpy as hp
import numpy as np

from cmbml.sky.harmonics import synthesise
from cmbml.sky.interpolation import bilinear

NSIDE, LMAX = 64, 128


def random_alm(n_comp: int, tilt: float = 0.0, seed: int = 1) -> np.ndarray:
    rng, (ell, m) = np.random.default_rng(seed), hp.Alm.getlm(LMAX)
    alm = rng.standard_normal((n_comp, len(ell))) + 1j * rng.standard_normal((n_comp, len(ell)))
    alm[:, m == 0] = alm[:, m == 0].real * np.sqrt(2)
    alm[1:, ell < 2] = 0
    return alm / (1.0 + ell) ** tilt


def test_interpolation_is_healpys() -> None:
    sky, rng = synthesise(random_alm(2, 1.0)[:1], NSIDE), np.random.default_rng(3)
    vectors = rng.standard_normal((3, 20_000))
    vectors /= np.linalg.norm(vectors, axis=0)
    theirs = hp.get_interp_val(sky[0], *hp.vec2ang(vectors.T))
    away = np.abs(vectors[2]) < 0.98
    ours = bilinear(sky, vectors)[0]
    # Rings are counted here, and their colatitudes there: between 2/3 and the pole these are not proportional.
    assert np.std((ours - theirs)[away]) < 2e-3 * np.std(sky)
    assert np.isfinite(bilinear(sky, np.array([[0.0, 0, 1e-9], [0, 0, 0], [1, -1, 1]]))).all()
