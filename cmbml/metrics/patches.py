"""How well patches are cleaned: spectra of what was there, of what came out and of the difference, by latitude.

The evaluation of CENN's authors (Casas et al. 2022, section 4), with what they leave out: the rms of a residual patch
beside that of the mean residual patch, which falls with the number of patches whatever the method does.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmbml.metrics.scores import LOW, Metric
from cmbml.sky.flat import flat_spectra

Float = NDArray[np.float64]
BANDS = {"all sky": (0.0, 90.0), "0-5": (0.0, 5.0), "5-30": (5.0, 30.0), "30-90": (30.0, 90.0)}
"""Latitude bands, |b| in degrees."""


@dataclass(frozen=True)
class PatchScores:
    """What is measured of the patches of one simulation.

    Attributes:
        latitude: `(n_patch,)`, |b| of the centres, degrees.
        l_mean: `(n_bin,)`.
        d_ell: `(3, n_patch, n_bin)`: of input, output and residual (output minus input), square of the unit.
        mean: `(n_patch,)` of the residual.
        rms: `(n_patch,)` of the residual.
    """

    latitude: Float
    l_mean: Float
    d_ell: Float
    mean: Float
    rms: Float


def score_patches(
    truth: NDArray[np.floating],
    answer: NDArray[np.floating],
    latitude: Float,
    l_edges: Float,
    pixel_rad: tuple[float, float],
) -> PatchScores:
    """Compare patches, `(n_patch, height, width)` each."""
    residual = answer.astype(np.float64) - truth
    found = [flat_spectra(images, l_edges, pixel_rad) for images in (truth, answer, residual)]
    d_ell = np.stack([spectrum.d_ell for spectrum in found])
    squares = np.sqrt(np.mean(residual**2, axis=(1, 2)))
    return PatchScores(np.abs(latitude), found[0].l_mean, d_ell, residual.mean(axis=(1, 2)), squares)


METRICS = (
    Metric("rms", "rms of a residual patch", "uK_CMB", LOW),
    Metric("mean", "mean residual", "uK_CMB", 0.0),
    Metric("residual_1000", "D_l of residuals, l <= 1000", "uK_CMB^2", LOW),
    Metric("residual_4000", "D_l of residuals, all bins", "uK_CMB^2", LOW),
    Metric("difference_1000", "D_l of output - input, l <= 1000", "uK_CMB^2", 0.0),
    Metric("difference_4000", "D_l of output - input, all bins", "uK_CMB^2", 0.0),
)
"""What is said of the patches of one simulation, band by band."""


def patch_metrics(scores: PatchScores, band: str) -> tuple[int, tuple[float, ...]]:
    """Return how many patches of a band there are, and the mean of each of `METRICS` over them; NaN without any."""
    first, last = BANDS[band]
    inside = (scores.latitude >= first) & (scores.latitude <= last)
    if not inside.any():
        return 0, (math.nan,) * len(METRICS)
    before, after, residual = scores.d_ell[:, inside].mean(axis=1)
    low = scores.l_mean <= 1000
    spectra = (residual[low], residual, (after - before)[low], after - before)
    means = (scores.rms[inside], scores.mean[inside], *spectra)
    return int(inside.sum()), tuple(float(of.mean()) if of.size else math.nan for of in means)


def joined(parts: Sequence[PatchScores]) -> PatchScores:
    """Put the patches of several simulations together."""
    one = parts[0]
    stacked = [np.concatenate([getattr(part, name) for part in parts]) for name in ("latitude", "mean", "rms")]
    d_ell = np.concatenate([part.d_ell for part in parts], axis=1)
    return PatchScores(stacked[0], one.l_mean, d_ell, *stacked[1:])


@dataclass(frozen=True)
class BandRow:
    """One method in one latitude band.

    Attributes:
        n: patches.
        difference_1000: mean of output minus input D_l up to l = 1000, uK^2, and its scatter over bins of the mean.
        difference_4000: the same over all bins.
        residual_1000: mean D_l of the residual up to l = 1000, and its scatter over bins.
        residual_4000: the same over all bins.
        rms: mean rms of a residual patch, uK, and its standard deviation over patches.
        rms_error: standard error of that mean, by a bootstrap over patches, which were drawn independently.
        mean_patch_rms: rms of the mean residual patch, uK: what the paper's table 1 has.
        mean: of all residuals, uK.
    """

    method: str
    band: str
    n: int
    difference_1000: tuple[float, float]
    difference_4000: tuple[float, float]
    residual_1000: tuple[float, float]
    residual_4000: tuple[float, float]
    rms: tuple[float, float]
    rms_error: float
    mean_patch_rms: float
    mean: float


def band_rows(method: str, scores: PatchScores, mean_patch_rms: Mapping[str, float]) -> list[BandRow]:
    """Summarise the patches of a method, band by band; bands without a patch are left out."""
    rows = []
    low = scores.l_mean <= 1000
    for band, (first, last) in BANDS.items():
        inside = (scores.latitude >= first) & (scores.latitude <= last)
        if not inside.any():
            continue
        before, after, residual = scores.d_ell[:, inside].mean(axis=1)

        def over(values: Float, bins: NDArray[np.bool_]) -> tuple[float, float]:
            return float(values[bins].mean()), float(values[bins].std())

        every = np.ones_like(low)
        rms = scores.rms[inside]
        draws = np.random.default_rng(0).integers(len(rms), size=(1000, len(rms)))
        rows.append(
            BandRow(
                method=method,
                band=band,
                n=int(inside.sum()),
                difference_1000=over(after - before, low),
                difference_4000=over(after - before, every),
                residual_1000=over(residual, low),
                residual_4000=over(residual, every),
                rms=(float(rms.mean()), float(rms.std())),
                rms_error=float(rms[draws].mean(axis=1).std()),
                mean_patch_rms=mean_patch_rms[band],
                mean=float(scores.mean[inside].mean()),
            )
        )
    return rows


def mean_patches(parts: Iterable[tuple[NDArray[np.floating], Float]]) -> dict[str, Float]:
    """Return the mean residual patch of each band.

    Args:
        parts: of each simulation, its residuals `(n_patch, height, width)` and their latitudes, degrees.
    """
    totals: dict[str, Float] = {}
    counts = dict.fromkeys(BANDS, 0)
    for residual, latitude in parts:
        for band, (first, last) in BANDS.items():
            inside = (np.abs(latitude) >= first) & (np.abs(latitude) <= last)
            totals[band] = totals.get(band, 0) + residual[inside].sum(axis=0, dtype=np.float64)
            counts[band] += int(inside.sum())
    return {band: total / counts[band] for band, total in totals.items() if counts[band]}


PUBLISHED = {
    "difference_4000": "13 ± 113",
    "difference_1000": "-18 ± 150",
    "residual_4000": "all sky 20 ± 10; 0-5: 700 ± 60, 5-30: 80 ± 30, 30-90: 30 ± 20",
    "residual_1000": "all sky 30 ± 10",
    "mean_patch_rms": "all sky 7.372; 0-5: 7.732, 5-30: 7.536, 30-90: 6.85",
    "mean": "all sky -0.83; 0-5: 5.072, 5-30: -0.026, 30-90: 5.238",
}
"""What Casas et al. (2022) print for CENN: abstract, section 4 and table 1.

For a single contaminated patch they give the difference twice, as 50 ± 120 (abstract) and 50 ± 250 uK^2 (conclusions).
"""

HEADS = {
    "n": "patches",
    "rms": "rms of a residual patch (µK)",
    "mean_patch_rms": "rms of the mean residual patch (µK)",
    "mean": "mean residual (µK)",
    "residual_1000": "D_l of residuals, l <= 1000 (µK²)",
    "residual_4000": "all bins (µK²)",
    "difference_1000": "output - input, l <= 1000 (µK²)",
    "difference_4000": "all bins (µK²)",
}


def band_table(rows: Sequence[BandRow]) -> str:
    """Return the rows as Markdown, with what the paper prints for CENN below."""

    def cell(row: BandRow, name: str) -> str:
        value = getattr(row, name)
        if name == "rms":
            return f"{value[0]:.2f} ± {row.rms_error:.2f} (patch to patch {value[1]:.2f})"
        if isinstance(value, tuple):
            return f"{value[0]:.3g} ± {value[1]:.2g}"
        return str(value) if isinstance(value, int) else f"{value:.3g}"

    lines = ["| method | band of abs(b), deg | " + " | ".join(HEADS.values()) + " |", "|---" * (len(HEADS) + 2) + "|"]
    lines += [f"| {row.method} | {row.band} | " + " | ".join(cell(row, name) for name in HEADS) + " |" for row in rows]
    lines.append("| CENN, as published | | " + " | ".join(PUBLISHED.get(name, "") for name in HEADS) + " |")
    lines.append(
        "\nErrors of spectra are their scatter over bins, as in the paper; that of the rms is the standard error of "
        "its mean. The rms of a mean patch falls as 1 / sqrt(patches), whatever the method does."
    )
    return "\n".join(lines) + "\n"
