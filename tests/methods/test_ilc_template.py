"""Templates are fitted by least squares."""

import numpy as np

from cmbml.methods.ilc.template import fit


def test_template_fit_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    templates = rng.standard_normal((2, 500)) * np.array([[1e6], [1e-3]])
    maps = np.array([[2e-6, 3e3], [5e-6, 0.0]]) @ templates + 7.0
    np.testing.assert_allclose(fit(templates, maps), [[2e-6, 3e3], [5e-6, 0.0]], rtol=1e-6, atol=1e-6)
