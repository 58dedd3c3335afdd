"""PySM 3's presets, and which template files each of them reads: known before anything is loaded or downloaded."""

import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cmbml.sims.components import Band

HENSLEY_DRAINE = ("sil_fe00_2.0.dat", "sil_fe05_2.0.dat", "car_1.0.dat")
COMMANDER_DUST = "pysm_2/COM_CompMap_dust-commander_0256_R2.00.fits"
# The frequencies of the WebSky maps, GHz (Stein et al. 2020, arXiv:2001.08787), as PySM names their files.
WEBSKY_GHZ = (
    *(17.0, 18.7, 21.6, 24.5, 27.3, 30.0, 35.9, 41.7, 44.0, 47.4, 63.9, 67.8, 70.0, 73.7, 79.6, 90.2, 100.0, 111.0),
    *(129.0, 143.0, 153.0, 164.0, 189.0, 210.0, 217.0, 232.0, 256.0, 275.0, 294.0, 306.0, 314.0, 340.0, 353.0, 375.0),
    *(409.0, 467.0, 525.0, 545.0, 584.0, 643.0, 729.0, 817.0, 857.0, 906.0, 994.0, 1080.0),
)
# What a foreground sky may not hold, and why.
REFUSED = {
    **dict.fromkeys(("c1", "c2", "c3", "c4"), "it is a CMB, and every simulation adds its own"),
    "rg3": "its maps carry a beam; take rg1 or rg2",
}


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Return every preset of the installed PySM 3, without importing it."""
    spec = find_spec("pysm3")
    folder = Path(str(spec.origin)).parent if spec is not None else Path()
    table: dict[str, dict[str, Any]] = tomllib.loads((folder / "data" / "presets.cfg").read_text())
    return table


def preset_files(name: str, nside: int, bands: Iterable[Band]) -> list[str]:
    """List the template files of a preset, relative to PySM's data folder, without repetition.

    Args:
        name: the preset, such as `d9`.
        nside: resolution: some presets have templates at several.
        bands: the bands in demand: some presets interpolate between maps in frequency.
    """
    entry = presets()[name]
    parts = [entry] if "class" in entry else list(entry.values())
    bands = list(bands)
    return list(dict.fromkeys(file for part in parts for file in _part_files(part, nside, bands)))


def _part_files(part: dict[str, Any], nside: int, bands: list[Band]) -> Iterator[str]:
    kind = part["class"]
    nearest = min(part.get("available_nside", [nside]), key=lambda known: abs(known - nside))
    for value in part.values():
        if isinstance(value, str) and "/" in value and Path(value).suffix in {".fits", ".gz", ".txt", ".dat", ".h5"}:
            layers = range(1, part["num_layers"] + 1) if "{layer}" in value else (0,)
            yield from (value.replace("{nside}", str(nearest)).replace("{layer}", str(layer)) for layer in layers)
    if kind == "HensleyDraine2017":
        yield from (f"pysm_2/{file}" for file in HENSLEY_DRAINE)
        if part.get("rnd_uval"):
            yield COMMANDER_DUST
    if kind == "COLines":
        yield from _co_files(part, nside)
    if kind in {"WebSkyCIB", "WebSkyRadioGalaxies"}:
        folder = "cib/cib" if kind == "WebSkyCIB" else "radio/radio"
        wanted = sorted({freq for band in bands for freq in _neighbours(band)})
        yield from (f"websky/{part['websky_version']}/{folder}_{freq:06.1f}.fits" for freq in wanted)


def _co_files(part: dict[str, Any], nside: int) -> Iterator[str]:
    template_nside = 512 if nside <= 512 else 2048
    yield f"co/HFI_CompMap_CO-Type1_{template_nside}_R2.00_ring.fits"
    if part["has_polarization"]:
        yield from (f"co/{kind}map_dust90_{template_nside}.fits" for kind in ("psi", "g"))
    if part.get("include_high_galactic_latitude_clouds"):
        yield f"co/mcmoleCO_HGL_{template_nside}.fits"


def _neighbours(band: Band) -> tuple[float, ...]:
    """Return the WebSky frequencies that PySM reads for a band: those in it and one on either side."""
    low, high = float(band.freq_ghz[0]), float(band.freq_ghz[-1])
    below = max((freq for freq in WEBSKY_GHZ if freq <= low), default=None)
    above = min((freq for freq in WEBSKY_GHZ if freq >= high), default=None)
    if below is None or above is None:
        return ()
    return tuple(freq for freq in WEBSKY_GHZ if below <= freq <= above)
