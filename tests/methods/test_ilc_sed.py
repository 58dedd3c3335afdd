"""Emission laws: moments are derivatives, and the thermal SZ effect has its null."""

import numpy as np
import pytest

from cmbml.methods.ilc.sed import Emission, ModifiedBlackBody, PowerLaw, ThermalSz

FREQUENCIES = np.array([28.4, 44.1, 70.4, 100.9, 142.9, 221.2, 357.5, 555.2, 866.8])
NULLED = (
    ThermalSz(),
    ModifiedBlackBody(beta=1.6, temperature_k=20.0),
    ModifiedBlackBody(beta=1.6, temperature_k=20.0, moment="beta"),
    ModifiedBlackBody(beta=1.6, temperature_k=20.0, moment="temperature"),
    PowerLaw(beta=-3.1),
    PowerLaw(beta=-3.1, moment="beta"),
)


@pytest.mark.parametrize("component", NULLED[2:4] + NULLED[5:], ids=["beta", "temperature", "synchrotron beta"])
def test_moments_are_derivatives(component: Emission) -> None:
    """Against a difference quotient."""
    step = 1e-5

    def at(offset: float) -> np.ndarray:
        if isinstance(component, PowerLaw):
            return PowerLaw(beta=component.beta + offset).spectrum(FREQUENCIES)
        beta = component.beta + offset * (component.moment == "beta")
        temperature = component.temperature_k * (1 + offset * (component.moment == "temperature"))
        return ModifiedBlackBody(beta=beta, temperature_k=temperature).spectrum(FREQUENCIES)

    derivative = (at(step) - at(-step)) / (2 * step)
    np.testing.assert_allclose(component.spectrum(FREQUENCIES), derivative, rtol=1e-6, atol=1e-9)


def test_sz_effect_vanishes_at_217_ghz() -> None:
    low, high = ThermalSz().spectrum(np.array([217.0, 218.0]))
    assert low < 0 < high
    assert ThermalSz().spectrum(np.array([1e-3]))[0] == pytest.approx(-2)
