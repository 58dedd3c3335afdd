"""The two figures of one simulation: its maps, and its spectra."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbml.figures.maps import Panel, maps_figure, observation_scale
from cmbml.figures.spectra import Curve, pseudo_spectra, spectra_figure
from cmbml.figures.style import (
    amplitude_scale,
    channel_label,
    frequency_colours,
    mask_scale,
    round_to,
    symmetric_scale,
)
from cmbml.sky.spectra import Spectra

Values = NDArray[np.floating[Any]]

DUST_GHZ = 353.0  # where thermal dust is bright and still measured in polarisation


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What there is to be seen of one simulation.

    Attributes:
        name: for the titles.
        freqs_ghz: channel -> frequency, in rising order.
        truth: `(n_field, n_pix)`, uK_CMB: the CMB, without a beam.
        observed: channel -> `(n_field, n_pix)`, uK_CMB.
        reference: the channel of which the parts are shown too.
        foregrounds: `(n_field, n_pix)`, uK_CMB: of the reference channel.
        noise_std: the same: standard deviation of its noise.
        noise_cl: `(n_comp, lmax + 1)`, uK_CMB^2: mean spectrum of its noise.
        mask: `(n_pix,)`: 1 keep, 0 leave out.
        mask_apodised: `(n_pix,)`: the same with a soft edge.
        theory: what the CMB was drawn from.
        kind: which of those spectra.
    """

    name: str
    freqs_ghz: Mapping[str, float]
    truth: Values
    observed: Mapping[str, Values]
    reference: str
    foregrounds: Values
    noise_std: Values
    noise_cl: Values
    mask: Values
    mask_apodised: Values
    theory: Spectra
    kind: Literal["lensed", "unlensed"] = "lensed"

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return int(np.sqrt(self.truth.shape[-1] / 12))

    @property
    def polarised(self) -> bool:
        """Whether there are Q and U."""
        return len(self.truth) == 3

    @property
    def lmax(self) -> int:
        """Up to where spectra are drawn: beyond 2 nside, transforms of maps lose their accuracy."""
        return int(min(2 * self.nside, self.theory.lmax, self.noise_cl.shape[-1] - 1))

    def label(self, channel: str) -> str:
        """Return what a channel is called."""
        return channel_label(channel, self.freqs_ghz[channel])


def nearest_channel(freqs_ghz: Mapping[str, float], freq_ghz: float) -> str:
    """Return the channel nearest to a frequency, by their ratio.

    Example:
        >>> nearest_channel({"30": 28.4, "143": 142.9, "857": 866.8}, 100.0)
        '143'
    """
    return min(freqs_ghz, key=lambda channel: abs(np.log(freqs_ghz[channel] / freq_ghz)))


def simulation_maps(simulation: Simulation, limit_uk: float) -> Figure:
    """Draw the true CMB, every channel, and the reference channel's foregrounds and noise level, and the mask.

    Args:
        simulation: what is drawn.
        limit_uk: end of the CMB's colour scale.
    """
    it, name = simulation, simulation.reference
    panels = [Panel(title="CMB (truth, no beam)", values=it.truth[0], scale=symmetric_scale(limit_uk))]
    for channel, values in it.observed.items():
        panels.append(Panel(title=it.label(channel), values=values[0], scale=observation_scale(values[0], limit_uk)))
    foregrounds, noise = it.foregrounds[0], it.noise_std[0]
    faint = round_to(float(np.percentile(np.abs(foregrounds), 98)), 1) or 1.0
    panels += [
        Panel(
            title=f"foregrounds at {it.label(name)}",
            values=foregrounds,
            scale=observation_scale(foregrounds, min(faint, limit_uk)),
        ),
        Panel(title=f"noise per pixel at {it.label(name)}", values=noise, scale=amplitude_scale(noise)),
        Panel(title=f"mask, {it.mask.mean():.0%} of the sky kept", values=it.mask, scale=mask_scale(), unit=""),
    ]
    if it.polarised:
        panels += _polarised_panels(it)
    fields = "I, Q, U" if it.polarised else "I"
    title = f"{it.name}: {fields} at nside {it.nside}; Galactic coordinates, longitude grows to the left"
    return maps_figure(title, panels, outline=it.mask)


def _polarised_panels(it: Simulation) -> list[Panel]:
    """Show Q and U of the CMB, and how strongly the lowest channel and the one of dust are polarised."""
    scale = symmetric_scale(round_to(3 * float(it.truth[1:].std()), 1))
    panels = [
        Panel(title=f"CMB (truth), {field}", values=values, scale=scale)
        for field, values in zip("QU", it.truth[1:], strict=True)
    ]
    for channel in dict.fromkeys((next(iter(it.observed)), nearest_channel(it.freqs_ghz, DUST_GHZ))):
        amplitude = np.hypot(*it.observed[channel][1:])
        title = rf"$\sqrt{{Q^2+U^2}}$, {it.label(channel)}"
        panels.append(Panel(title=title, values=amplitude, scale=amplitude_scale(amplitude)))
    return panels


def simulation_spectra(simulation: Simulation, threads: int = 1) -> Figure:
    """Draw the theory, the realised CMB, every channel inside the mask, and the reference channel's parts.

    Args:
        simulation: what is drawn.
        threads: CPU threads.
    """
    it, lmax = simulation, simulation.lmax
    colours = dict(zip(it.freqs_ghz, frequency_colours(list(it.freqs_ghz.values())), strict=True))
    truth = pseudo_spectra(it.truth[None], np.ones_like(it.mask), lmax, threads)[0]
    inside = pseudo_spectra(np.stack([*it.observed.values(), it.foregrounds]), it.mask_apodised, lmax, threads)
    curves = [
        Curve(label=it.label(channel), cl=cl, colour=colours[channel])
        for channel, cl in zip(it.observed, inside[:-1], strict=True)
    ]
    own = colours[it.reference]
    curves += [
        Curve(label=f"{it.reference}: foregrounds", cl=inside[-1], colour=own, dashes="--"),
        Curve(label=f"{it.reference}: noise (mean)", cl=it.noise_cl, colour=own, dashes=":"),
    ]
    theory = {f"{name}{name}": it.theory[f"{it.kind}_{name}{name}"] for name in ("TE" if it.polarised else "T")}
    kept = np.mean(np.square(it.mask_apodised, dtype=np.float64))
    title = (
        f"{it.name}, nside {it.nside}: the {it.kind} CMB on the full sky, and observations inside the apodised mask\n"
        rf"(divided by $f_\mathrm{{sky}}={kept:.2f}$; beams left in, monopole removed)"
    )
    return spectra_figure(title, theory, Curve(label="CMB (truth)", cl=truth, colour="black"), curves)
