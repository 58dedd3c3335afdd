from typing import Self

import pytest
from pydantic import ValidationError, model_validator

from cmbml.core.errors import setting_faults
from cmbml.settings import settings


@settings
class Span:
    low: int
    high: int

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low > self.high:
            message = f"low={self.low} is above high={self.high}"
            raise ValueError(message)
        return self


def faults(**given):
    with pytest.raises(ValidationError) as raised:
        Span(**given)
    return list(setting_faults(raised.value, lambda key: f"band.{key}", lambda _: ["low", "high"]))


def test_settings_that_do_not_fit_together_are_named_as_a_whole():
    assert faults(low=2, high=1) == ["band: low=2 is above high=1"]


def test_a_setting_that_is_wrong_by_itself_is_named():
    assert faults(low=1) == ["band.high: must be given"]
    assert faults(low="many", high=1)[0].startswith("band.low: ")
