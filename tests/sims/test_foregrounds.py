"""The contract of foregrounds."""

import pytest

from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sims.foregrounds import SkyError
from cmbml.sims.pysm_sky import PysmSky


@pytest.mark.parametrize("sky", [EmbeddedSky(), PysmSky(presets=("d1",))])
def test_an_impossible_grid_is_refused(sky):
    with pytest.raises(SkyError, match="nside 100"):
        sky.check(100, "I")
    with pytest.raises(SkyError, match="fields"):
        sky.check(64, "QU")
