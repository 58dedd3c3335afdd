"""Maps from elsewhere that hold foregrounds and no CMB: dust that was foretold from hydrogen, other surveys."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from cmbml.settings import NonNegativeFloat, settings


@settings
class ExternalMap:
    """One full-sky HEALPix map of intensity, as it stands in a file.

    Attributes:
        file: a FITS file; such as the answer of a method of main_predict.py.
        column: which of its columns, by number or name.
        unit: of the map, for the record: weights give it whatever unit it takes. What the header says where None.
        fwhm_arcmin: full width at half maximum of its Gaussian beam; what the header says where None.
        pixel_windows: folder of HEALPix's pixel window files, to take the window of its own pixels out of it; None for
            a map that is sampled at their centres.
    """

    file: Path
    column: int | str = 0
    unit: str | None = None
    fwhm_arcmin: NonNegativeFloat | None = None
    pixel_windows: Path | None = None


def _from_path(value: Any) -> Any:  # noqa: ANN401
    return {"file": value} if isinstance(value, str | Path) else value


External = Annotated[ExternalMap, BeforeValidator(_from_path)]
"""A map, or but the path of its file."""
