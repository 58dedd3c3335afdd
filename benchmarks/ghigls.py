"""A real cube of the 21 cm line beside the generator's: mean line profiles, and spatial spectra by velocity.

python benchmarks/ghigls.py $CMBML_ASSETS/hi/GHIGLS_DFN_Tb.fits --figure ghigls.png

The real one is the GBT's deep field north (GHIGLS, Martin et al. 2015, ApJ 809, 153): 2 degrees at b = 55, pixels of
3.5', a beam of 9.4', channels of 1 km/s. Fields of the same size and pixels are cut from a sky of the generator at the
same latitudes, in channels to which the real ones are averaged. Spectra are those of tapered fields, by the same
estimator, over the square of each field's mean, the real ones without the noise (that of channels without a line) and
the beam.
"""

import argparse
from pathlib import Path

import healpy as hp
import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

from cmbml.sims.hydrogen import Hydrogen, draw_hydrogen
from cmbml.sky.beams import gaussian_window
from cmbml.sky.cutouts import Cutouts
from cmbml.sky.maps import MapSpec
from cmbml.sky.velocity import COLUMN_PER_K_KM_S, VelocityAxis

N, PIXEL_ARCMIN, BEAM_ARCMIN = 35, 3.5, 9.4
AXIS = VelocityAxis(low_km_s=-120, high_km_s=60, number=36)
RANGES = {"-80 to -30 km/s": (-80, -30), "-30 to 20 km/s": (-30, 20)}
QUIET_KM_S = (150.0, 220.0)
LATITUDES = (45.0, 65.0)


def main() -> None:
    """Read, draw, compare, print, and draw a figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("cube", type=Path)
    parser.add_argument("--nside", type=int, default=256)
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    real, noise = read(options.cube)
    drawn = fields_of(options)
    ell = np.arange(1, 6) * 360 / (N * PIXEL_ARCMIN / 60)
    lines = {"GHIGLS": real[None], "generator": drawn}
    print("| | N(HI), 1e20 cm^-2 | mean v, km/s | width, km/s | part below -30 km/s | highest T, K |")
    print("|---|---|---|---|---|---|")
    for name, cubes in lines.items():
        print(f"| {name} | {' | '.join(spread(values) for values in of_lines(cubes).T)} |")
    heads = " | ".join(f"{value:.0f}" for value in ell)
    print(f"\n| l^2 C_l / 2 pi over the squared mean, 1e-3, at l = | {heads} | slope of C_l |")
    print("|" + "---|" * (len(ell) + 2))
    curves = {}
    for title, (low, high) in {"all": (AXIS.low_km_s, AXIS.high_km_s), **RANGES}.items():
        inside = (AXIS.centres > low) & (AXIS.centres < high)
        for name, cubes in lines.items():
            maps = cubes[:, inside].sum(axis=1) * AXIS.width_km_s
            power = np.stack([spectrum(one, len(ell)) for one in maps])
            held = np.ones(len(ell), dtype=bool)
            if name == "GHIGLS":
                # Channels are independent: so many times the noise power of one.
                level = np.mean([spectrum(one * AXIS.width_km_s, len(ell)) for one in noise], axis=0) * inside.sum()
                power = (power - level) / gaussian_window(BEAM_ARCMIN, 1200)[ell.astype(int)] ** 2
                held = power[0] > level
            else:
                held = ell < 2 * options.nside
            scale = 1e3 * ell**2 / (2 * np.pi) / maps.mean(axis=(1, 2))[:, None] ** 2
            curves[title, name] = np.where(held, power * scale, np.nan)
            slopes = np.array([np.polyfit(np.log(ell[held]), np.log(one[held]), 1)[0] for one in power])
            cells = [spread(column) for column in curves[title, name].T]
            print(f"| {name}, {title} | {' | '.join(cells)} | {spread(slopes)} |")
    if options.figure:
        draw(lines, ell, curves).savefig(options.figure, dpi=130)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the real cube, averaged to `AXIS`, `(n_channel, 35, 35)`, and averages of channels without a line, K."""
    with fits.open(path) as hdus:
        header, values = hdus[0].header, hdus[0].data[0].astype(float)
    step = header["CDELT3"] / 1000
    velocity = header["CRVAL3"] / 1000 + (np.arange(len(values)) + 1 - header["CRPIX3"]) * step
    number = np.digitize(velocity, AXIS.edges) - 1
    cube = np.stack([values[number == i].mean(axis=0) for i in range(AXIS.number)])
    # As many channels go into each as into those of the cube, so that their noise is as large.
    width = max(round(AXIS.width_km_s / abs(step)), 1)
    quiet = values[(velocity > QUIET_KM_S[0]) & (velocity < QUIET_KM_S[1])]
    return cube, np.stack([quiet[i : i + width].mean(axis=0) for i in range(0, len(quiet) - width + 1, width)])


def fields_of(options: argparse.Namespace) -> np.ndarray:
    """Cut fields from a sky of the generator without noise, `(n_field, n_channel, 35, 35)`, K."""
    sky = draw_hydrogen(Hydrogen(noise_k=0.0), AXIS, options.nside, options.seed)
    rng = np.random.default_rng(options.seed)
    sine = rng.uniform(*np.sin(np.radians(LATITUDES)), options.fields)
    lat, lon = np.degrees(np.arcsin(sine)), rng.uniform(0, 360, options.fields)
    centres = np.stack([lon, lat, np.zeros(options.fields)], axis=1)
    maps = MapSpec(nside=options.nside, unit="K")
    cutouts = Cutouts(n_pixels=N, pixel_arcmin=PIXEL_ARCMIN)
    return cutouts.cut(sky.cube, np.ones(hp.nside2npix(options.nside)), centres, maps)[0].astype(float)


def of_lines(cubes: np.ndarray) -> np.ndarray:
    """Return what mean profiles are like, `(n_field, 5)`, see the first line of the table.

    The width is the standard deviation of velocity of what is within 30 km/s of rest.
    """
    profiles, v = cubes.mean(axis=(2, 3)), AXIS.centres
    total = profiles.sum(axis=1)
    mean = profiles @ v / total
    local = np.where(np.abs(v) < 30, profiles, 0)
    middle = local @ v / local.sum(axis=1)
    width = np.sqrt(np.maximum((local * (v - middle[:, None]) ** 2).sum(axis=1) / local.sum(axis=1), 0))
    below = profiles[:, v < -30].sum(axis=1) / total
    column = total * AXIS.width_km_s * COLUMN_PER_K_KM_S / 1e20
    return np.stack([column, mean, width, below, profiles.max(axis=1)], axis=1)


def spectrum(image: np.ndarray, n_bin: int) -> np.ndarray:
    """Return C_l of a tapered field in rings of one fundamental, `(n_bin,)`, (unit)^2 sr."""
    taper = np.hanning(N + 2)[1:-1]
    window = np.outer(taper, taper)
    plain = (image - (image * window).sum() / window.sum()) * window
    side = np.radians(PIXEL_ARCMIN / 60)
    power = np.abs(np.fft.fft2(plain)) ** 2 * side**2 / (window**2).sum()
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(N) * N, np.fft.fftfreq(N) * N))
    return np.array([power[(k >= i - 0.5) & (k < i + 0.5)].mean() for i in range(1, n_bin + 1)])


def spread(values: np.ndarray) -> str:
    """Write one value, or the median of many and where two thirds of them are."""
    if len(values) == 1:
        return "–" if np.isnan(values[0]) else f"{values[0]:.3g}"
    if np.isnan(values).any():
        return "–"
    low, middle, high = np.percentile(values, (16, 50, 84))
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def draw(lines: dict[str, np.ndarray], ell: np.ndarray, curves: dict[tuple[str, str], np.ndarray]) -> plt.Figure:
    """Draw profiles, maps of the real cube, and spectra."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.6), layout="constrained")
    panel = axes[0, 0]
    profiles = lines["generator"].mean(axis=(2, 3))
    low, middle, high = np.percentile(profiles, (16, 50, 84), axis=0)
    panel.fill_between(AXIS.centres, low, high, color="C0", alpha=0.25, lw=0, label="generator, two thirds of fields")
    panel.plot(AXIS.centres, middle, color="C0", label="generator, median")
    panel.plot(AXIS.centres, lines["GHIGLS"][0].mean(axis=(1, 2)), color="black", label="GHIGLS")
    panel.set(xlabel="velocity [km/s]", ylabel="mean brightness temperature [K]")
    panel.set_ylim(top=1.4 * high.max())
    panel.legend(fontsize=7, frameon=False, loc="upper left")
    half = N * PIXEL_ARCMIN / 120
    for panel, (title, (first, last)) in zip(axes[0, 1:], RANGES.items(), strict=True):
        inside = (AXIS.centres > first) & (AXIS.centres < last)
        image = lines["GHIGLS"][0, inside].sum(axis=0) * AXIS.width_km_s
        shown = panel.imshow(image, origin="lower", extent=(half, -half, -half, half), cmap="viridis")
        panel.set(title=f"GHIGLS, {title}", xlabel="[deg]", ylabel="[deg]")
        figure.colorbar(shown, ax=panel, label="K km/s")
    titles = dict.fromkeys(title for title, _ in curves)
    for panel, title in zip(axes[1], titles, strict=True):
        drawn = curves[title, "generator"]
        low, middle, high = np.percentile(drawn, (16, 50, 84), axis=0)
        panel.fill_between(ell, low, high, color="C0", alpha=0.25, lw=0)
        panel.plot(ell, middle, "o-", color="C0", ms=3, label="generator")
        panel.plot(ell, curves[title, "GHIGLS"][0], "s-", color="black", ms=3, label="GHIGLS, beam and noise taken out")
        panel.set(xscale="log", yscale="log", title=title, xlabel=r"multipole $\ell$", xlim=(150, 1050))
        panel.set_xticks([200, 400, 800], labels=["200", "400", "800"], minor=False)
        panel.xaxis.minorticks_off()
        panel.set_ylabel(r"$\ell^2 C_\ell / 2\pi$ over squared mean [$10^{-3}$]")
    axes[1, 0].legend(fontsize=7, frameon=False)
    return figure


if __name__ == "__main__":
    main()
