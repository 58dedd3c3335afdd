"""Methods beside one another: spectra, transfer functions, and what their residuals have in common."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cmbml.figures.palette import COLUMN_WIDTH_INCH, LINE_INCH, MethodStyle, legend_above, legend_rows, method_styles
from cmbml.figures.prediction import draw_map, fill_bar
from cmbml.figures.results import FigureError, Stacks, TheoryBand, Values, mean_and_spread
from cmbml.figures.style import SMALL_TEXT_SIZE, TEXT_SIZE, UNIT_LABELS, round_to, symmetric_scale
from cmbml.tables import different

Stacked = Mapping[str, Mapping[str, Values]]

MARKED = 30  # markers on a line, about
RATIO_LIMITS = (0.05, 0.5)  # the ratio's axis reaches at least, and at most, so far from 1
D_ELL = r"$\mathcal{D}_\ell$"


def spectra_comparison(
    spectra: Stacks,
    methods: Sequence[str],
    band: TheoryBand | None,
    *,
    kind: str = "master",
    field: str = "TT",
    controls: Collection[str] = (),
) -> Figure:
    """Draw D_l of truth and methods over the band of theories, and their ratio to the theory, as the paper's figure 7.

    Points stand at the middle of their bins and are means over simulations, bars their standard deviation; for a single
    simulation, bars are the cosmic variance of the bin. Truth and methods set the axes, controls only where there is
    nothing else; a point beyond an axis is drawn as a triangle at its edge.

    Args:
        spectra: of all simulations.
        methods: in the order of drawing; the place gives the colour.
        band: theory over the training cosmologies; none where there is only one.
        kind: `pseudo` or `master`.
        field: `TT`, `EE` or `BB`.
        controls: the methods that do not set the axes.

    Returns:
        The figure, as wide as a journal's column.

    Raises:
        FigureError: no method has such spectra.
    """
    stacked = _stack(spectra, methods, kind, field)
    styles = method_styles(methods)
    setting = {name: columns for name, columns in stacked.items() if name not in controls} or stacked
    handles: list[Artist] = [Line2D([], [], color="black", marker="_", linestyle="none", markersize=8, label="truth")]
    handles.append(Line2D([], [], color="0.35", linewidth=1.0, label="theory"))
    if band is not None:
        handles.append(Patch(facecolor="0.72", label="theories, 1, 2σ"))
    handles += [_handle(method, styles[method], joined=False) for method in stacked]
    figure, (upper, lower) = _stacked_axes(f"{field}, {kind} spectra", handles, (2.3, 1.35))
    _draw_theory(upper, lower, next(iter(stacked.values())), band)
    for method, columns in stacked.items():
        _draw_method(upper, lower, columns, styles[method])
    first = next(iter(stacked.values()))
    upper.plot(first["l_eff"][0], first["d_truth"].mean(axis=0), "_", color="black", markersize=7, zorder=6)
    upper.set_yscale("log")
    upper.set_ylabel(f"{D_ELL}  [{UNIT_LABELS['uK_CMB^2']}]", fontsize=TEXT_SIZE)
    lower.set_ylabel(f"{D_ELL} / theory", fontsize=TEXT_SIZE)
    _mark_ratio(lower, setting, stacked, styles)
    _mark_spectra(upper, setting, stacked, styles)
    return figure


def transfer_figure(spectra: Stacks, methods: Sequence[str], *, kind: str = "master", field: str = "TT") -> Figure:
    """Draw the transfer function, the correlation r_l with the truth, and 1 - r_l^2, with their spread.

    Lines are means over simulations, bands one standard deviation. 1 - r_l^2, the share of a map's power that has
    nothing to do with the truth, tells apart methods whose r_l are all near 1.

    Args:
        spectra: of all simulations.
        methods: in the order of drawing; the place gives the colour.
        kind: `pseudo` or `master`.
        field: `TT`, `EE` or `BB`.

    Returns:
        The figure, as wide as a journal's column.

    Raises:
        FigureError: no method has such spectra.
    """
    stacked = _stack(spectra, methods, kind, field)
    styles = method_styles(methods)
    handles: list[Artist] = [_handle(method, styles[method]) for method in stacked]
    figure, axes = _stacked_axes(f"{field}, {kind} spectra: mean and spread over simulations", handles, (1.5, 1.5, 1.5))
    for method, columns in stacked.items():
        correlation = columns["correlation"]
        quantities = (columns["transfer"], correlation, np.maximum(1 - correlation**2, 0))
        for it, values in zip(axes, quantities, strict=True):
            mean, spread = mean_and_spread(values)
            style = styles[method]
            it.plot(columns["l_eff"][0], mean, color=style.colour, linestyle=style.dashes, linewidth=1.2, zorder=3)
            some = slice(None, None, _every(mean.size))
            it.plot(columns["l_eff"][0][some], mean[some], style.marker, color=style.colour, markersize=2.6, zorder=3)
            low = mean - spread if it is not axes[2] else np.maximum(mean - spread, 0.1 * mean)
            it.fill_between(columns["l_eff"][0], low, mean + spread, color=style.colour, alpha=0.2, linewidth=0)
    axes[2].set_yscale("log")
    _end_at(axes[2], [np.maximum(1 - c["correlation"] ** 2, 0) for c in stacked.values()])
    for it, name in zip(axes, ("transfer function", r"correlation $r_\ell$", r"$1 - r_\ell^2$"), strict=True):
        it.set_ylabel(name, fontsize=TEXT_SIZE)
    for it in axes[:2]:
        it.axhline(1, color="0.6", linewidth=0.8, zorder=1)
    return figure


def mean_residual_figure(
    residuals: Mapping[str, Values],
    mask: Values,
    *,
    simulations: int,
    footing: str,
    field: str = "I",
    unit: str = "uK_CMB",
    limit: float | None = None,
    controls: Collection[str] = (),
) -> Figure:
    """Draw each method's prediction minus truth, averaged over simulations: what a method gets wrong every time.

    Args:
        residuals: method -> `(n_pix,)`, RING order.
        mask: `(n_pix,)`: 1 keep, 0 leave out.
        simulations: how many were averaged.
        footing: name of the footing.
        field: `I`, `Q` or `U`.
        unit: of the maps.
        limit: end of the one colour scale of all; by default three times the rms of the middle one of the methods.
        controls: the methods that do not set it, unless there are no others.

    Returns:
        The figure, as wide as a journal's column: two maps in a row.
    """
    if not residuals:
        message = "no residuals to draw: name one method at least"
        raise FigureError(message)
    kept = mask > 0.5
    rms = {method: float(np.sqrt(np.mean(np.square(values[kept])))) for method, values in residuals.items()}
    setting = [value for method, value in rms.items() if method not in controls] or list(rms.values())
    scale = symmetric_scale(limit or round_to(3 * float(np.median(setting)), 1) or 1.0)
    columns = min(2, len(residuals))
    rows = -(-len(residuals) // columns)
    across = COLUMN_WIDTH_INCH / columns
    cell, head, foot = 0.24 + 0.47 * across + 0.06, 0.48, 0.5
    total = head + rows * cell + foot
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, total), facecolor="white")
    title = f"Mean of prediction − truth over {simulations} simulation{'s' * (simulations != 1)}"
    figure.text(0.5, 1 - 0.14 / total, title, ha="center", va="center", fontsize=TEXT_SIZE + 1)
    below = f"{field}, footing {footing}"
    figure.text(0.5, 1 - 0.33 / total, below, ha="center", va="center", fontsize=SMALL_TEXT_SIZE)
    for place, (method, values) in enumerate(residuals.items()):
        row, column = divmod(place, columns)
        left = (column + 0.03) / columns
        bottom = total - head - row * cell - 0.24 - 0.47 * across
        axes = figure.add_axes((left, bottom / total, 0.94 / columns, 0.47 * across / total))
        draw_map(axes, values, mask, scale)
        axes.set_title(f"{method}, rms {rms[method]:.3g}", fontsize=SMALL_TEXT_SIZE, pad=3)
    bar = figure.add_axes((0.3, 0.3 / total, 0.4, 0.08 / total))
    fill_bar(figure, figure.axes[0], bar, scale, unit)
    figure.text(0.5, 0.07 / total, "one scale for all maps", ha="center", va="center", fontsize=SMALL_TEXT_SIZE)
    return figure


def _stack(spectra: Stacks, methods: Sequence[str], kind: str, field: str) -> Stacked:
    """Return method -> column -> `(n_sim, n_bin)`, without methods that have no such spectra."""
    found = {method: spectra[method].where(kind=kind, field=field) for method in methods if method in spectra}
    stacked = {method: stack.numbers for method, stack in found.items() if stack.n_rows}
    if not stacked:
        there = ", ".join(f"{name}s: {different(spectra.values(), name)}" for name in ("kind", "field"))
        message = f"no {kind} spectra of {field}; {there}, methods: {list(methods)}"
        raise FigureError(message)
    return stacked


def _handle(method: str, style: MethodStyle, *, joined: bool = True) -> Line2D:
    look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 4, "linewidth": 1.2}
    look |= {"linestyle": style.dashes} if joined else {"linestyle": "none", "markerfacecolor": "none"}
    return Line2D([], [], label=method, **look)


def _stacked_axes(title: str, handles: Sequence[Artist], heights: Sequence[float]) -> tuple[Figure, tuple[Axes, ...]]:
    """Make panels with one axis of multipoles, and a legend above them all."""
    labels = [str(handle.get_label()) for handle in handles]
    head = 0.36 + LINE_INCH * legend_rows(labels)[1]
    total = head + sum(heights) + 0.08 * (len(heights) - 1) + 0.42
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, total), facecolor="white")
    figure.text(0.5, 1 - 0.14 / total, title, ha="center", va="center", fontsize=TEXT_SIZE + 1)
    legend_above(figure, handles, labels, 0.29)
    axes: list[Axes] = []
    bottom = total - head
    for height in heights:
        bottom -= height
        axes.append(figure.add_axes((0.145, bottom / total, 0.83, height / total), sharex=axes[0] if axes else None))
        bottom -= 0.08
    for it in axes:
        it.tick_params(labelsize=SMALL_TEXT_SIZE, which="both", direction="in", top=True, right=True)
        it.tick_params(labelbottom=it is axes[-1], which="both")
        it.grid(color="0.93", linewidth=0.6)
        it.set_axisbelow(True)
    axes[-1].set_xlabel(r"multipole $\ell$", fontsize=TEXT_SIZE)
    return figure, tuple(axes)


def _draw_theory(upper: Axes, lower: Axes, columns: Mapping[str, Values], band: TheoryBand | None) -> None:
    """Draw the theory, the band of theories over it, and in the lower panel the cosmic variance of each bin."""
    ell, theory = columns["l_eff"][0], columns["d_theory"].mean(axis=0)
    upper.plot(ell, theory, color="0.35", linewidth=1.0, zorder=2)
    lower.axhline(1, color="0.35", linewidth=1.0, zorder=2)
    variance = columns["cosmic_variance"].mean(axis=0) / theory
    low, high = columns["l_low"][0], columns["l_high"][0]
    for sign in (-1, 1):
        lower.hlines(1 + sign * variance, low, high + 1, color="0.35", linewidth=0.7, linestyle=":", zorder=2)
    if band is None:
        return
    shown = (band.ell >= max(low[0], 2)) & (band.ell <= high[-1])
    at, mean, std = band.ell[shown], band.mean[shown], band.std[shown]
    for sigmas, shade in ((2, "0.88"), (1, "0.72")):
        below = np.maximum(mean - sigmas * std, 1e-3 * mean)
        upper.fill_between(at, below, mean + sigmas * std, color=shade, linewidth=0, zorder=0.5)
        share = sigmas * std / mean
        lower.fill_between(at, 1 - share, 1 + share, color=shade, linewidth=0, zorder=0.5)


def _draw_method(upper: Axes, lower: Axes, columns: Mapping[str, Values], style: MethodStyle) -> None:
    """Draw open markers in the middle of the bins: those of several methods that agree can be seen through."""
    mean, _ = mean_and_spread(columns["d_prediction"])
    centres, shown = columns["l_eff"][0], mean > 0
    look: dict[str, Any] = {"color": style.colour, "zorder": 4, "markerfacecolor": "none", "markersize": 3.4}
    upper.plot(centres[shown], mean[shown], style.marker, markeredgewidth=0.9, **look)
    ratio, spread = _ratio(columns)
    lower.errorbar(centres, ratio, spread, fmt=style.marker, elinewidth=0.8, markeredgewidth=0.9, **look)


def _ratio(columns: Mapping[str, Values]) -> tuple[Values, Values]:
    """Return prediction over theory, and its standard deviation or, of a single simulation, the cosmic variance."""
    ratio, spread = mean_and_spread(columns["d_prediction"] / columns["d_theory"])
    if len(columns["d_theory"]) == 1:
        spread = (columns["cosmic_variance"] / columns["d_theory"])[0]
    return ratio, spread


def _mark_ratio(axes: Axes, setting: Stacked, stacked: Stacked, styles: Mapping[str, MethodStyle]) -> None:
    """End the ratio's axis where most points lie of the methods that set it, and mark those beyond at its edge."""
    ratios = np.concatenate([_ratio(columns)[0] for columns in setting.values()])
    finite = np.abs(ratios[np.isfinite(ratios)] - 1)
    reach = 1.4 * float(np.percentile(finite, 85)) if finite.size else RATIO_LIMITS[1]
    end = float(np.clip(reach, *RATIO_LIMITS))
    axes.set_ylim(1 - end, 1 + end)
    for method, columns in stacked.items():
        _mark(axes, columns["l_eff"][0], _ratio(columns)[0], styles[method].colour)


def _mark_spectra(axes: Axes, setting: Stacked, stacked: Stacked, styles: Mapping[str, MethodStyle]) -> None:
    """End the axis of D_l around truth, theory and the methods that set it, and mark what lies beyond at its edge."""
    names = ("d_truth", "d_theory", "d_prediction")
    means = {method: mean_and_spread(columns["d_prediction"])[0] for method, columns in stacked.items()}
    found = np.concatenate([columns[name].mean(axis=0) for columns in setting.values() for name in names])
    positive = found[np.isfinite(found) & (found > 0)]
    if not positive.size:
        return
    axes.set_ylim(0.6 * float(positive.min()), 1.7 * float(positive.max()))
    for method, mean in means.items():
        _mark(axes, stacked[method]["l_eff"][0], np.where(mean > 0, mean, np.nan), styles[method].colour)


def _mark(axes: Axes, ell: Values, values: Values, colour: str) -> None:
    """Draw a triangle at the edge of an axis for each value beyond it."""
    low, high = axes.get_ylim()
    for marker, beyond, height in (("^", values > high, 0.965), ("v", values < low, 0.035)):
        edge = np.full(int(beyond.sum()), height)
        axes.plot(ell[beyond], edge, marker, color=colour, markersize=3.5, transform=axes.get_xaxis_transform())


def _every(number: int) -> int:
    """Return which points get a marker where there are too many for all."""
    return max(1, round(number / MARKED))


def _end_at(axes: Axes, values: Sequence[Values]) -> None:
    """End a logarithmic axis at six orders below 1, or where values end: a perfect method has none."""
    positive = np.concatenate([v[v > 0] for v in values])
    lowest = max(float(positive.min()) if positive.size else 0.1, 1e-6)
    axes.set_ylim(0.5 * lowest, 1.5)
