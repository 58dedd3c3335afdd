"""Put maps of foregrounds from elsewhere beside the channels of an observation."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmbml.handlers.raw_map import RawHeader, read_raw_columns, read_raw_header
from cmbml.methods.external import ExternalMap
from cmbml.sky.beams import gaussian_window, pixel_window, pixel_window_files
from cmbml.sky.case import Case, CaseSpec
from cmbml.sky.maps import MapError, MapSpec, SkyMap
from cmbml.sky.plausibility import require_beam

log = logging.getLogger(f"cmbml.{__name__}")

SETTING = "method.external"
MASKED = 0.01
"""Part of its pixels that are exactly zero from which on a template looks as if it had been masked."""


def spec_with_templates(spec: CaseSpec[Any], templates: Sequence[ExternalMap]) -> CaseSpec[Any]:
    """Say what a method is shown that is shown templates, too, by their headers.

    Raises:
        MapError: one of them cannot be used.
    """
    if not templates:
        return spec
    found = {str(entry.file): _spec(entry, _header(entry), spec.asked) for entry in templates}
    if len(found) < len(templates):
        message = f"{SETTING} names a map twice: {', '.join(str(entry.file) for entry in templates)}"
        raise MapError(message)
    windows = {str(entry.file): _window(entry, found[str(entry.file)], spec.asked) for entry in templates}
    return replace(spec, shown={**spec.shown, **found}, templates=windows)


def with_templates(case: Case[Any], templates: Sequence[ExternalMap]) -> Case[Any]:
    """Read templates, and show them beside the maps of a case.

    Raises:
        MapError: one of them cannot be used.
    """
    spec = spec_with_templates(case.spec, templates)
    maps = {str(entry.file): _read(entry, spec.shown[str(entry.file)]) for entry in templates}
    return replace(case, spec=spec, shown={**case.shown, **maps})


def template_windows(templates: Sequence[ExternalMap]) -> tuple[Path, ...]:
    """Return the tables of pixel windows that templates need."""
    chosen = [(entry.pixel_windows, _header(entry).nside) for entry in templates if entry.pixel_windows is not None]
    return tuple(path for folder, nside in dict.fromkeys(chosen) for path in pixel_window_files(folder, nside))


def _header(entry: ExternalMap) -> RawHeader:
    if not entry.file.is_file():
        message = f"{SETTING} names {entry.file}, and there is no such file"
        raise MapError(message)
    return read_raw_header(entry.file)


def _spec(entry: ExternalMap, header: RawHeader, asked: MapSpec) -> MapSpec:
    """Describe a template.

    Raises:
        MapError: it is coarser than the maps, in another frame, or nobody says what beam it has.
    """
    header.frame(asked.frame, "the frame of the observation")
    if header.nside < asked.nside:
        message = (
            f"the template {entry.file} has nside {header.nside}, coarser than the observation's {asked.nside}: give "
            f"one of nside {asked.nside} or finer, or clean at nside {header.nside}"
        )
        raise MapError(message)
    fwhm = header.fwhm_arcmin if entry.fwhm_arcmin is None else entry.fwhm_arcmin
    if fwhm is None:
        message = (
            f"the header of the template {entry.file} does not say what beam it has: give it as "
            f"{SETTING}=[{{file: {entry.file}, fwhm_arcmin: VALUE}}], 0 for none"
        )
        raise MapError(message)
    require_beam(fwhm, f"{SETTING}.fwhm_arcmin")
    return MapSpec(
        nside=header.nside,
        unit=header.units[header.names((entry.column,))[0]] if entry.unit is None else entry.unit,
        beam="gaussian" if fwhm else "none",
        fwhm_arcmin=fwhm,
        pixel_window=entry.pixel_windows is not None if header.pixel_window is None else header.pixel_window,
        frame=asked.frame,
    )


def _window(entry: ExternalMap, spec: MapSpec, asked: MapSpec) -> NDArray[np.float64]:
    """Return the window of a template beside that of a channel without a beam, `(lmax + 1,)`.

    The observation's signal has the window of its own pixels, or none.

    Raises:
        MapError: one of them is averaged over pixels, and their window is not at hand.
    """
    lmax = asked.lmax or 3 * asked.nside - 1
    beam = gaussian_window(spec.fwhm_arcmin, lmax)
    if (spec.pixel_window, spec.nside) == (asked.pixel_window, asked.nside) or not (
        spec.pixel_window or asked.pixel_window
    ):
        return beam
    if entry.pixel_windows is None:
        which = "template" if spec.pixel_window else "observation"
        message = (
            f"the {which} is averaged over its pixels, and the other one of template {entry.file} and observation is "
            f"not, or over others: give the folder of HEALPix's pixel_window_n????.fits as pixel_windows of {SETTING}"
        )
        raise MapError(message)
    ours, theirs = (
        pixel_window(entry.pixel_windows if found.pixel_window else None, found.nside, lmax, 1)[0]
        for found in (spec, asked)
    )
    window: NDArray[np.float64] = beam * ours / theirs
    return window


def _read(entry: ExternalMap, spec: MapSpec) -> SkyMap:
    """Read a template.

    Raises:
        MapError: pixels hold no number, or all the same.
    """
    values = read_raw_columns(entry.file, (entry.column,))[0]
    if values.std() == 0:
        message = f"the template {entry.file} has the same value in every pixel, and tells nothing"
        raise MapError(message)
    if (blank := float(np.mean(values == 0))) > MASKED:
        log.warning(
            "the template %s is exactly zero in %.0f %% of its pixels: if it was masked, its edge costs more than it "
            "tells; foretell the whole sky (hydrogen.source.sky_fraction=1 of its dataset)",
            entry.file,
            100 * blank,
        )
    return SkyMap(values, spec)
