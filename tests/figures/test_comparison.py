import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb

from cmbml.figures.comparison import mean_residual_figure, spectra_comparison, transfer_figure
from cmbml.figures.palette import COLUMN_WIDTH_INCH, method_styles
from cmbml.figures.results import FigureError, mean_and_spread, robust_z
from cmbml.figures.scores import FLOORS, distributions_figure

METHODS = ("control_truth", "nilc", "cmbnncs", "control_channel")

# Machado et al. (2009): what the severest forms of the three kinds of colour blindness make of linear RGB.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def as_seen(colour, blindness=None):
    """Return CIELAB coordinates."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if blindness:
        linear = np.clip(np.array(BLINDNESS[blindness]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("blindness", [None, *BLINDNESS])
def test_eight_methods_are_told_apart_whatever_the_reader_sees(blindness):
    styles = list(method_styles([f"m{i}" for i in range(8)]).values())
    assert len({style.marker for style in styles}) == 8
    seen = [as_seen(style.colour, blindness) for style in styles]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > 15  # a just noticeable difference is about 2.3


def test_many_methods_all_look_different():
    styles = method_styles([f"m{i}" for i in range(24)])
    assert len(set(styles.values())) == 24


def legend_is_outside(figure):
    """Say whether no legend touches any axes."""
    FigureCanvasAgg(figure).draw()
    boxes = [legend.get_window_extent() for legend in figure.legends]
    return not any(box.overlaps(axes.get_window_extent()) for box in boxes for axes in figure.axes)


def inside_the_page(figure):
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    return box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02


def renamed(stacks, number):
    """Give the scores of one method to many methods."""
    return {f"some_method_{i}": stacks["nilc"] for i in range(number)}


@pytest.mark.parametrize("number", [1, 8, 11])
def test_any_number_of_methods_leaves_the_legend_outside_and_all_within_the_page(comparison, number):
    names = [f"some_method_{i}" for i in range(number)]
    spectra, scores = renamed(comparison.spectra, number), renamed(comparison.scores, number)
    residuals = {name: np.ones(12 * 16**2) for name in names}
    figures = [
        spectra_comparison(spectra, names, comparison.band),
        transfer_figure(spectra, names),
        distributions_figure(scores, names, "rmse"),
        mean_residual_figure(residuals, np.ones(12 * 16**2), simulations=5, footing="60 arcmin"),
    ]
    for figure in figures:
        assert figure.get_figwidth() == COLUMN_WIDTH_INCH
        assert legend_is_outside(figure)
        assert inside_the_page(figure)


def test_the_ratio_is_the_mean_over_simulations_with_their_spread(comparison):
    figure = spectra_comparison(comparison.spectra, METHODS, comparison.band, kind="pseudo")
    (bars,) = (
        c
        for c in figure.axes[1].containers
        if to_hex(c.lines[0].get_color()) == method_styles(METHODS)["nilc"].colour.lower()
    )
    rows = comparison.spectra["nilc"].where(kind="pseudo", field="TT").numbers
    ratios = rows["d_prediction"] / rows["d_theory"]
    assert np.allclose(bars.lines[0].get_ydata(), ratios.mean(axis=0))
    ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
    assert np.allclose(np.ptp(ends, axis=1), 2 * ratios.std(axis=0, ddof=1))


def test_a_single_simulation_gets_the_cosmic_variance_as_its_bar(comparison):
    single = comparison.spectra["nilc"].of_sims(["sim0000"])
    bars = spectra_comparison({"nilc": single}, ["nilc"], None).axes[1].containers[0]
    row = {name: values[0] for name, values in single.where(kind="master", field="TT").numbers.items()}
    ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
    assert np.allclose(np.ptp(ends, axis=1), 2 * row["cosmic_variance"] / row["d_theory"])


def test_points_stand_in_the_middle_of_their_bins_and_no_line_joins_them(comparison):
    upper, lower = spectra_comparison(comparison.spectra, METHODS, comparison.band).axes
    centres = comparison.spectra["nilc"].where(kind="master", field="TT").numbers["l_eff"][0]
    for axes in (upper, lower):
        points = [
            line
            for line in axes.lines
            if line.get_marker() in {style.marker for style in method_styles(METHODS).values()}
        ]
        points = [line for line in points if len(line.get_xdata()) == len(centres)]
        assert len(points) == len(METHODS)
        for line in points:
            assert np.array_equal(line.get_xdata(), centres)
            assert line.get_linestyle() == "None"


def test_controls_set_no_axis(comparison):
    """Without controls among the methods, axes are the same as with controls that are called so."""
    controls = ("control_truth", "control_channel")
    own = [name for name in METHODS if name not in controls]
    given = comparison.spectra["control_channel"]
    loud = dataclasses.replace(
        given, numbers=dict(given.numbers) | {"d_prediction": 50 * given.numbers["d_prediction"]}
    )
    spectra = dict(comparison.spectra) | {"control_channel": loud}
    alone, beside = (spectra_comparison(spectra, names, comparison.band, controls=controls) for names in (own, METHODS))
    for one, other in zip(alone.axes, beside.axes, strict=True):
        assert one.get_ylim() == other.get_ylim()
    for axes in beside.axes:
        colours = {line.get_color() for line in axes.lines if line.get_marker() == "^" and line.get_ydata().size}
        assert method_styles(METHODS)["control_channel"].colour in colours
    assert spectra_comparison(spectra, METHODS, comparison.band).axes[0].get_ylim()[1] > 1e5


def test_mean_residuals_share_one_scale_that_controls_do_not_set():
    rng = np.random.default_rng(0)
    residuals = {name: size * rng.normal(size=12 * 16**2) for name, size in {"a": 1.0, "b": 2.0, "zero": 100.0}.items()}
    figure = mean_residual_figure(residuals, np.ones(12 * 16**2), simulations=3, footing="own", controls=["zero"])
    # Three times the median of the two rms, 1.5, to one digit.
    assert [axes.images[0].norm.vmax for axes in figure.axes if axes.images] == [pytest.approx(4.5, abs=0.51)] * 3
    assert "one scale for all maps" in [text.get_text() for text in figure.texts]
    assert len([axes for axes in figure.axes if not axes.images]) == 1


def test_points_beyond_the_ratio_axis_are_marked_at_its_edge(comparison):
    figure = spectra_comparison(comparison.spectra, METHODS, comparison.band)
    lower = figure.axes[1]
    columns = comparison.spectra["control_channel"].where(kind="master", field="TT").numbers
    ratio = (columns["d_prediction"] / columns["d_theory"]).mean(axis=0)
    top = lower.get_ylim()[1]
    marked = [line.get_xdata() for line in lower.lines if line.get_marker() == "^" and line.get_linestyle() == "None"]
    assert (ratio > top).any()
    assert any(np.array_equal(x, columns["l_eff"][0][ratio > top]) for x in marked)


def test_the_transfer_figure_shows_what_the_tables_say(comparison):
    figure = transfer_figure(comparison.spectra, METHODS)
    colour = method_styles(METHODS)["cmbnncs"].colour
    drawn = [next(line for line in axes.lines if line.get_color() == colour).get_ydata() for axes in figure.axes]
    columns = comparison.spectra["cmbnncs"].where(kind="master", field="TT").numbers
    r = columns["correlation"]
    for found, values in zip(drawn, (columns["transfer"], r, 1 - r**2), strict=True):
        assert np.allclose(found, values.mean(axis=0))


def test_distributions_show_every_simulation_and_the_floors(comparison):
    figure = distributions_figure(comparison.scores, METHODS, "rmse")
    panel = figure.axes[0]
    points = [line for line in panel.lines if line.get_marker() in "osD^" and len(line.get_xdata()) == 5]
    assert len(points) == len(METHODS)
    floors = [line for line in panel.lines if line.get_color() == "black"]
    assert [line.get_xdata()[0] for line in floors] == [4.0] * len(METHODS)
    assert FLOORS[0][0] in [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.get_text() for label in panel.get_yticklabels()] == list(METHODS)


def test_a_metric_that_is_never_finite_is_refused_with_what_there_is(comparison):
    with pytest.raises(FigureError, match="b5-30"):
        distributions_figure(comparison.scores, METHODS, "rmse", region="b60-90")


def test_missing_spectra_are_refused_with_what_there_is(comparison):
    with pytest.raises(FigureError, match=r"no master spectra of EE; kinds: .*pseudo.*TT"):
        spectra_comparison(comparison.spectra, METHODS, None, field="EE")


@pytest.mark.filterwarnings("error")
def test_an_empty_map_and_an_unknown_theory_can_be_drawn(comparison):
    given = comparison.spectra["nilc"]
    nothing = np.zeros(given.numbers["l_eff"].shape)
    unknown = dict.fromkeys(("correlation", "d_theory", "cosmic_variance"), np.full(nothing.shape, np.nan))
    numbers = dict(given.numbers) | unknown | {"d_prediction": nothing, "d_cross": nothing, "transfer": nothing}
    spectra = {"control_zero": dataclasses.replace(given, numbers=numbers)}
    for figure in (spectra_comparison(spectra, ["control_zero"], None), transfer_figure(spectra, ["control_zero"])):
        FigureCanvasAgg(figure).draw()


def test_spread_of_one_simulation_is_unknown():
    mean, spread = mean_and_spread(np.array([[1.0, 2.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert np.isnan(spread).all()


def test_robust_z_is_that_of_a_gaussian_and_blind_to_outliers():
    values = np.random.default_rng(0).normal(3, 2, 20000)
    z = robust_z(values)
    assert abs(z.std() - 1) < 0.02  # the median deviation's own scatter is 1.17 / sqrt(20000) = 0.8 %
    values[:100] = 1e9
    assert abs(robust_z(values)[100:].std() - 1) < 0.04
    assert robust_z(np.array([1.0, 1.0, 1.0, 1.0, 9.0])).tolist() == [0.0] * 5
    assert robust_z(np.array([1.0, 2.0, 90.0])).tolist() == [0.0] * 3


def test_nothing_to_average_is_refused():
    with pytest.raises(FigureError, match="name one method"):
        mean_residual_figure({}, np.ones(12), simulations=1, footing="60 arcmin")
