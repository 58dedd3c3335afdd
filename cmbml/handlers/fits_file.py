"""What all FITS formats share."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from astropy.utils.exceptions import AstropyUserWarning


@contextmanager
def refusing_truncated() -> Iterator[None]:
    """Refuse a FITS file that is cut short, of which astropy only warns.

    Raises:
        ValueError: the file ends before its header says.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "File may have been truncated", AstropyUserWarning)
        try:
            yield
        except AstropyUserWarning as warning:
            raise ValueError(str(warning)) from warning
