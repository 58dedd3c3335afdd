"""The pictures of the page on HEALPix, by the project's own code."""

from importlib.resources import files
from pathlib import Path

import healpy as hp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.figures.maps import mollweide
from cmbml.figures.style import bright_scale, planck_colours
from cmbml.methods.planes import FACE_ROWS, face_index, to_plane
from cmbml.sims.embedded_sky import EmbeddedSky
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_alm, random_alm, synthesise
from cmbml.sky.instrument import Channel

Values = NDArray[np.float64]

NSIDE = 128
LMAX = 3 * NSIDE - 1
SEED = 1
WIDTH = 900  # points along the equator
LIMIT_UK = 300.0


def draw_all(folder: Path) -> None:
    """Draw every picture that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (pixels, orders, plane, multipoles, beams, channels):
        path = folder / f"{draw.__name__}.png"
        if not path.is_file():
            draw().savefig(path, dpi=110, facecolor="white", bbox_inches="tight")


def pixels() -> Figure:
    """The pixels of four resolutions."""
    figure, axes = _grid(2, 2)
    for ax, nside in zip(axes, (1, 2, 4, 8), strict=True):
        shades = np.random.default_rng(SEED).permutation(12 * nside**2).astype(float)
        _map(ax, shades, planck_colours(), (0, 12 * nside**2))
        size = np.rad2deg(hp.nside2resol(nside))
        ax.set_title(f"nside {nside}: {12 * nside**2} pixels, {size:.0f}° wide", fontsize=10)
    return figure


def orders() -> Figure:
    """RING and NESTED numbers, and the base faces, at nside 4."""
    nside = 4
    number = np.arange(12 * nside**2)
    nested = hp.ring2nest(nside, number)
    figure, axes = _grid(1, 3)
    titles = ("RING: 0 in the north, ring by ring", "NESTED: face by face", "the face of each pixel")
    last = 12 * nside**2 - 1
    for ax, values, title in zip(axes, (number, nested, nested // nside**2), titles, strict=True):
        faces = title.startswith("the")
        _map(ax, values.astype(float), _twelve() if faces else planck_colours(), (-0.5, 11.5) if faces else (0, last))
        ax.set_title(title, fontsize=10)
    for face in range(12):
        centre = hp.pix2ang(1, face, nest=True)
        x, y = _place(*centre)
        axes[2].text(x, y, str(face), ha="center", va="center", fontsize=9)
        if abs(x) > 1.9:
            axes[2].text(-x, y, str(face), ha="center", va="center", fontsize=9)
    return figure


def plane() -> Figure:
    """A sky, and the plane that networks are shown of it."""
    sky = _cmb(0.0)
    figure = Figure(figsize=(9, 4.2))
    ax = figure.add_axes((0.0, 0.05, 0.62, 0.85))
    _map(ax, sky, planck_colours(), (-LIMIT_UK, LIMIT_UK))
    faces = np.empty(12 * NSIDE**2)
    faces[face_index(NSIDE)] = np.arange(12.0)[:, None, None]
    ax.contour(mollweide(faces, WIDTH), np.arange(11) + 0.5, colors="k", linewidths=0.5, extent=(-2, 2, 1, -1))
    ax.set_title("on the sky, with the borders of the faces", fontsize=10)
    ax = figure.add_axes((0.67, 0.05, 0.3, 0.85))
    ax.imshow(to_plane(sky), cmap=planck_colours(), vmin=-LIMIT_UK, vmax=LIMIT_UK, interpolation="nearest")
    for row, line in enumerate(FACE_ROWS):
        for column, face in enumerate(line):
            ax.text(
                column * NSIDE + 8, row * NSIDE + 22, str(face), fontsize=9, bbox={"facecolor": "white", "pad": 1.5}
            )
    ax.set_xticks(np.arange(4) * NSIDE - 0.5, ["0", "nside", "2 nside", "3 nside"], fontsize=8)
    ax.set_yticks(np.arange(5) * NSIDE - 0.5, ["0", "nside", "2 nside", "3 nside", "4 nside"], fontsize=8)
    ax.grid(color="k", linewidth=0.5)
    ax.set_title("as a plane", fontsize=10)
    return figure


def multipoles() -> Figure:
    """One sky, range of multipoles by range, and its spectrum."""
    figure, axes = _grid(2, 2)
    alm = _alm()
    for ax, (low, high) in zip(axes[:3], ((2, 10), (11, 50), (51, LMAX)), strict=True):
        window = np.zeros(LMAX + 1)
        window[low : high + 1] = 1
        _map(ax, synthesise(filter_alm(alm, window), NSIDE)[0], planck_colours(), (-LIMIT_UK, LIMIT_UK))
        ax.set_title(f"l = {low} to {high}", fontsize=10)
    place = axes[3].get_position()
    axes[3].remove()
    ax = figure.add_axes((place.x0 + 0.08, place.y0 + 0.06, place.width - 0.1, place.height - 0.08))
    ell = np.arange(2, 1200)
    ax.plot(ell, _d_ell()[2:1200], color="k")
    ax.axvline(LMAX, color="0.6", linestyle=":")
    ax.set_xscale("log")
    ax.set_xlabel("multipole l, about 180° over the scale", fontsize=9)
    ax.set_ylabel(r"$D_l$ / $\mu\mathrm{K}^2$", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.annotate(
        "3 nside - 1", (LMAX, 800), xytext=(-4, 0), textcoords="offset points", fontsize=8, rotation=90, ha="right"
    )
    return figure


def beams() -> Figure:
    """The same sky through three beams."""
    figure, axes = _grid(1, 3)
    for ax, fwhm in zip(axes, (0.0, 60.0, 300.0), strict=True):
        _map(ax, _cmb(fwhm), planck_colours(), (-LIMIT_UK, LIMIT_UK))
        ax.set_title("no beam" if not fwhm else f"FWHM {fwhm / 60:g}°: falls to half at l = {_half(fwhm)}", fontsize=10)
    return figure


def channels() -> Figure:
    """What five frequencies see of the same sky, in uK_CMB."""
    freqs = (30.0, 143.0, 353.0, 857.0)
    nside = NSIDE // 2
    figure, axes = _grid(2, 2)
    seen = [Channel(freq_ghz=freq, fwhm_arcmin=0.0, depth_uk_arcmin=0.0) for freq in freqs]
    cmb = hp.ud_grade(_cmb(60.0), nside)
    for ax, channel, emission in zip(axes, seen, EmbeddedSky().emissions(seen, nside, "I", SEED), strict=True):
        values = emission[0].astype(float) + cmb
        scale = bright_scale(values)
        ax.imshow(
            mollweide(values, WIDTH),
            cmap=scale.colours,
            norm=scale.norm,
            extent=(-2, 2, -1, 1),
            interpolation="nearest",
        )
        ax.set_title(f"{channel.freq_ghz:.0f} GHz: rms {values.std():,.0f} µK_CMB", fontsize=10)
    return figure


def _grid(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, one for each map."""
    figure = Figure(figsize=(9, 9 / columns * 0.58 * rows))
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for ax in axes:
        ax.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 0.93, 0.04, 0.14)
    return figure, axes


def _map(ax: Axes, values: Values, colours: ListedColormap, limits: tuple[float, float]) -> None:
    norm = Normalize(*limits)
    ax.imshow(mollweide(values, WIDTH), cmap=colours, norm=norm, extent=(-2, 2, -1, 1), interpolation="nearest")
    ax.set_axis_off()


def _place(colatitude: float, longitude: float) -> tuple[float, float]:
    """Return where a direction stands in the Mollweide projection of `mollweide`."""
    latitude, t = np.pi / 2 - colatitude, 0.0
    for _ in range(50):
        t -= (2 * t + np.sin(2 * t) - np.pi * np.sin(latitude)) / (2 + 2 * np.cos(2 * t) + 1e-12)
    longitude = (longitude + np.pi) % (2 * np.pi) - np.pi
    return float(-2 * longitude / np.pi * np.cos(t)), float(np.sin(t))


def _twelve() -> ListedColormap:
    """Return twelve colours of which neighbours differ."""
    base = [planck_colours()(x) for x in (0.25, 0.45, 0.6, 0.75)]
    return ListedColormap(
        [base[i % 4] if i < 4 else base[(i + 2) % 4] if i < 8 else base[(i + 1) % 4] for i in range(12)]
    )


def _d_ell() -> Values:
    """Return D_l of the lensed CMB, uK^2, by CAMB, from l = 0 on."""
    return np.concatenate([[0.0, 0.0], np.loadtxt(str(files("cmbml.methods.cosmovae") / "theory_dl.txt"))])


def _alm() -> NDArray[np.complex128]:
    """Draw the CMB that all pictures show."""
    ell = np.arange(LMAX + 1)
    c_ell = np.zeros(LMAX + 1)
    c_ell[2:] = _d_ell()[2 : LMAX + 1] * 2 * np.pi / (ell[2:] * (ell[2:] + 1))
    return filter_alm(random_alm(np.random.default_rng(SEED), LMAX), np.sqrt(c_ell))


def _cmb(fwhm_arcmin: float) -> Values:
    return synthesise(filter_alm(_alm(), gaussian_window(fwhm_arcmin, LMAX)), NSIDE)[0]


def _half(fwhm_arcmin: float) -> int:
    return int(np.argmax(gaussian_window(fwhm_arcmin, LMAX) < 0.5))
