"""Velocity channels: what they are, what is integrated over them, and the filter."""

import numpy as np
import pytest
from pydantic import ValidationError

from cmbml.sky.harmonics import filter_alm, random_alm, synthesise
from cmbml.sky.maps import MapError, MapSpec
from cmbml.sky.velocity import CubeSpec, VelocityAxis, VelocityCube, band_limited, butterworth

AXIS = VelocityAxis(low_km_s=-10, high_km_s=20, number=3)
SPEC = CubeSpec(maps=MapSpec(nside=1, unit="K"), axis=AXIS, noise_k=(0.0,) * 3)


def test_published_channels_are_1_27_km_s_wide() -> None:
    """81.5 km/s in 64; HI4PI's own channels of 1.288 km/s are 63.3 of them."""
    assert VelocityAxis().width_km_s == pytest.approx(81.5 / 64)
    np.testing.assert_allclose(AXIS.centres, (-5, 5, 15))


def test_moments_are_sums_over_velocity() -> None:
    values = np.arange(36.0).reshape(3, 12)
    cube = VelocityCube(values, SPEC)
    np.testing.assert_allclose(cube.integrated, 10 * values.sum(axis=0))
    first = 10 * (-5 * values[0] + 5 * values[1] + 15 * values[2]) / 50
    np.testing.assert_allclose(cube.moments(2), [cube.integrated, first])


def test_what_no_cube_is_is_refused() -> None:
    with pytest.raises(MapError, match=r"3 channels at nside 1 mean \(3, 12\), not \(2, 12\)"):
        VelocityCube(np.zeros((2, 12)), SPEC)
    with pytest.raises(MapError, match="1 of 36 pixel values of the cube are NaN"):
        VelocityCube(np.where(np.arange(36).reshape(3, 12) == 5, np.nan, 0), SPEC)
    with pytest.raises(MapError, match="noise of 2 channels, of 3"):
        CubeSpec(maps=SPEC.maps, axis=AXIS, noise_k=(0.0, 0.0))
    with pytest.raises(ValidationError, match="velocities from 5 to 5 km/s: they must rise"):
        VelocityAxis(low_km_s=5, high_km_s=5)
    other = CubeSpec(maps=MapSpec(nside=2, unit="K"), axis=VelocityAxis(number=3), noise_k=(0.0,) * 3)
    assert (
        SPEC.difference(other) == "nside is 1, not 2, channels are 3 from -10 to 20 km/s, not 3 from -64.5 to 17 km/s"
    )


def test_butterworth_passes_half_of_the_power_at_its_edge() -> None:
    window = butterworth(2000, 460, 8)
    assert window[460] == pytest.approx(np.sqrt(0.5))
    assert window[0] == 1
    # (2000 / 460)^-8, the high-frequency limit of its amplitude.
    assert window[2000] == pytest.approx((460 / 2000) ** 8, rel=1e-4)


def test_filter_is_that_of_the_coefficients() -> None:
    alm = random_alm(np.random.default_rng(1), 24)
    sky = synthesise(alm, 16)
    found = band_limited(sky, 10, 3)
    wanted = synthesise(filter_alm(alm, butterworth(24, 10, 3)), 16)
    # Ten steps of the analysis leave some 1e-4 of the map.
    assert np.std(found - wanted) < 1e-3 * sky.std()
    assert band_limited(sky, 460, 8) is sky, "at nside 16 there is nothing at l = 460"
