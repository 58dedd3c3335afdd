"""Skies of several kinds."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sims.foregrounds import SkyError
from cmbml.sims.mixed_sky import MixedSky
from cmbml.sims.pysm_sky import PysmSky
from cmbml.sky.instrument import Channel

CHANNEL = Channel(freq_ghz=100.0, fwhm_arcmin=60.0, depth_uk_arcmin=1.0)
FIRST = EmbeddedSky()
OTHER = replace(FIRST, dust=None, thermal_sz=None)


def mixed(**kinds: object) -> MixedSky:
    return MixedSky(kinds=kinds or {"first": FIRST, "other": OTHER})  # type: ignore[arg-type]


def test_a_sky_is_of_one_kind_or_the_other_with_equal_chances() -> None:
    drawn = [mixed().varied(seed) for seed in range(400)]
    share = np.mean([sky.dust is None for sky in drawn])  # type: ignore[attr-defined]
    assert abs(share - 0.5) < 4 * 0.5 / 20
    for seed, sky in enumerate(drawn[:20]):
        kind = OTHER if sky.dust is None else FIRST  # type: ignore[attr-defined]
        assert sky == kind.varied(seed)
        assert EmbeddedSky(**to_jsonable_python(sky)) == sky


def test_what_is_shared_is_of_the_first_kind() -> None:
    ours, first = (next(sky.emissions([CHANNEL], 16, "I", 3)) for sky in (mixed(), FIRST))
    np.testing.assert_array_equal(ours, first)
    assert mixed().parts().keys() == FIRST.parts().keys()


def test_every_kind_is_checked_before_work() -> None:
    with pytest.raises(SkyError, match="no preset 'd99'"):
        mixed(a=FIRST, b=PysmSky(presets=("d99",))).check(16, "I")
    with pytest.raises(SkyError, match="vary=shared"):
        mixed(a=replace(FIRST, variety=None), b=replace(OTHER, variety=None)).varied(1)
    with pytest.raises(ValidationError, match="at least 2"):
        mixed(a=FIRST)
