"""Spectra of recovered patches over the true ones."""

import numpy as np
import pytest

from cmbml.metrics.recovered import RECOVERED_METRICS, recovered, recovered_lines, recovered_of
from cmbml.metrics.scores import LOW, Metric, Score, ScoreBook, score_columns
from cmbml.tables import Stack

NAMES = [metric.name for metric in RECOVERED_METRICS]


def test_a_constant_factor_is_found_without_scatter() -> None:
    truth = np.random.default_rng(0).uniform(1, 2, (30, 4))
    found = dict(zip(NAMES, recovered(1.005 * truth, truth, np.arange(30)), strict=True))
    for name in NAMES[:1] + NAMES[2:-1]:
        np.testing.assert_allclose(found[name], 1.005, rtol=1e-12)
    np.testing.assert_allclose(found["d_ell_ratio_error"], 0, atol=1e-12)
    assert (found["d_ell_within"] == 1).all()
    assert (recovered(1.02 * truth, truth, np.arange(30))[-1] == 0).all()


def test_the_jackknife_is_the_scatter_from_set_to_set_and_knows_overlaps() -> None:
    """A ratio of sums of 40 patches scatters by 0.1 / sqrt(40); each counted thrice in one tile, by as much."""
    rng, truth = np.random.default_rng(1), np.full((40, 1), 3.0)
    sets = [truth * (1 + 0.1 * rng.standard_normal((40, 1))) for _ in range(300)]
    ratios, errors = np.array([recovered(one, truth, np.arange(40))[:2, 0] for one in sets]).T
    assert ratios.std() == pytest.approx(0.1 / np.sqrt(40), rel=0.12)
    assert errors.mean() == pytest.approx(0.1 / np.sqrt(40), rel=0.05)
    thrice = recovered(np.repeat(sets[0], 3, axis=0), np.repeat(truth, 3, axis=0), np.repeat(np.arange(40), 3))
    np.testing.assert_allclose(thrice[:2, 0], (ratios[0], errors[0]))
    alone = recovered(truth, truth, np.zeros(40, int))
    assert np.isnan(alone[1]).all()


def test_bins_are_gathered_in_their_order_with_the_scatter_of_skies() -> None:
    truth = np.ones((20, 3))
    bins, tables = ("l 100-200", "l 20-100", "l 1500-1600"), []
    for sim in range(3):
        values = recovered(truth * (1.0 + 0.01 * sim), truth, np.arange(20))
        scores = [
            Score(metric, "patches", "I", region, float(value))
            for metric, row in zip(RECOVERED_METRICS, values, strict=True)
            for region, value in zip(bins, row, strict=True)
        ]
        tables.append((f"sim000{sim}", score_columns(scores)))
    other = score_columns([Score(Metric("rmse", "RMSE", "uK_CMB", LOW), "as given", "I", "all sky", 1.0)])
    found = recovered_of(ScoreBook({"net": Stack.of(tables), "none": Stack.of([("sim0000", other)])}))
    assert list(found) == ["net"], "the other one tells no spectra"
    one = found["net"]
    assert one.edges[:, 0].tolist() == [20, 100, 1500]
    np.testing.assert_allclose(one.mean["d_ell_ratio"], 1.01)
    np.testing.assert_allclose(one.scatter, 0.01 / np.sqrt(3))
    first, published = recovered_lines({"net": one})
    assert first[:5] == ["net", "patches", "l = 20-200", "1", "1"]
    assert "published" in published[0]
