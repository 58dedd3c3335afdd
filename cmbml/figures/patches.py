"""Figures of cleaned patches."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Float = NDArray[np.float64]
COMPONENT_COLOURS = {
    "dust": "tab:orange",
    "cib": "tab:green",
    "radio": "tab:pink",
    "infrared": "tab:purple",
    "sz": "tab:olive",
    "noise": "tab:brown",
}


def recovered_spectra(
    ell: Float, truth: tuple[Float, Float], outputs: Mapping[str, tuple[Float, Float]], n_patch: int
) -> Figure:
    """Draw mean spectra of input and output, and the difference below.

    Args:
        ell: `(n_bin,)`.
        truth: mean D_l over patches and its standard deviation, uK^2.
        outputs: method -> the same.
        n_patch: patches that are averaged over.
    """
    figure, (top, below) = plt.subplots(2, 1, figsize=(7, 6.5), sharex=True, height_ratios=(2, 1), layout="constrained")
    top.plot(ell, truth[0], color="black", label="input")
    top.fill_between(ell, truth[0] - truth[1], truth[0] + truth[1], color="black", alpha=0.12, lw=0)
    for number, (method, (mean, scatter)) in enumerate(outputs.items()):
        colour = f"C{number}"
        top.plot(ell, mean, color=colour, label=method)
        top.fill_between(ell, mean - scatter, mean + scatter, color=colour, alpha=0.12, lw=0)
        below.plot(ell, mean - truth[0], color=colour)
    below.axhline(0, color="black", lw=0.8)
    top.set_ylabel(r"$D_\ell$ [µK$^2$]")
    top.set_ylim(0, 1.6 * truth[0].max())
    below.set_ylabel(r"output $-$ input [µK$^2$]")
    below.set_ylim(-0.2 * truth[0].max(), 0.2 * truth[0].max())
    below.set_xlabel(r"multipole $\ell$")
    top.set_title(f"Mean over {n_patch} patches; bands: standard deviation of a patch", fontsize=10)
    top.legend(fontsize=9)
    return figure


def residual_spectra(
    ell: Float,
    residuals: Mapping[str, Mapping[str, Float]],
    components: Mapping[str, Mapping[str, Float]],
    inputs: Mapping[str, Float],
    counts: Mapping[str, int],
) -> Figure:
    """Draw, in a panel per latitude band, what is left beside what was there.

    Args:
        ell: `(n_bin,)`.
        residuals: band -> method -> mean D_l of residuals, uK^2.
        components: band -> component -> mean D_l, uK^2, where they are known.
        inputs: band -> mean D_l of the CMB, uK^2.
        counts: band -> patches.
    """
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), sharex=True, layout="constrained")
    for panel, (band, methods) in zip(axes.flat, residuals.items(), strict=False):
        panel.plot(ell, inputs[band], color="black", lw=2, label="CMB, input")
        for name, values in components.get(band, {}).items():
            panel.plot(ell, values, color=COMPONENT_COLOURS.get(name, "grey"), ls="--", lw=1, label=name)
        for number, (method, values) in enumerate(methods.items()):
            panel.plot(ell, values, color=f"C{number}", lw=1.6, label=f"residual, {method}")
        panel.set_yscale("log")
        top = max(float(np.max(inputs[band])), *(float(np.max(v)) for v in components.get(band, {}).values()), 1.0)
        panel.set_ylim(0.05, 3 * top)
        panel.set_title(f"{band}{'' if band == 'all sky' else ' deg'}: {counts[band]} patches", fontsize=10)
    for panel in axes[:, 0]:
        panel.set_ylabel(r"$D_\ell$ [µK$^2$]")
    for panel in axes[1]:
        panel.set_xlabel(r"multipole $\ell$")
    axes[0, 0].legend(fontsize=7, ncols=2)
    return figure


def example_patches(examples: Mapping[str, Mapping[str, Float]], side_deg: float) -> Figure:
    """Draw, in a row per patch, what was seen, the CMB in it, and what each method made of it.

    Args:
        examples: title of the row -> title of the image -> `(height, width)`, uK; the image `observed` has a scale of
            its own, and so have those whose title begins with `residual`.
        side_deg: side of the patches, degrees.
    """
    n_rows, n_columns = len(examples), len(next(iter(examples.values())))
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(2.6 * n_columns, 2.9 * n_rows), squeeze=False, layout="constrained"
    )
    half = side_deg / 2
    for row, (title, images) in zip(axes, examples.items(), strict=True):
        cmb = float(np.abs(images["CMB"]).max())
        for panel, (name, image) in zip(row, images.items(), strict=True):
            limit = cmb
            if name.startswith(("observed", "residual")):
                limit = float(np.percentile(np.abs(image), 99.5))
            shown = panel.imshow(
                image, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(half, -half, -half, half)
            )
            figure.colorbar(shown, ax=panel, orientation="horizontal", shrink=0.85, pad=0.02).set_label(
                "µK", fontsize=7
            )
            panel.set_title(name, fontsize=8)
            panel.tick_params(labelsize=6)
        row[0].set_ylabel(f"{title}\ndegrees", fontsize=8)
    return figure
