import healpy as hp
import numpy as np
import pytest

from cmbml.sims.noise import NoiseModel, build_model, draw_noise
from cmbml.sims.noise_sources import AnisotropicNoise, CorrelatedNoise, WhiteNoise
from cmbml.sky.instrument import Channel
from cmbml.sky.spectra import bin_spectrum

NSIDE, LMAX, N_DRAW = 32, 80, 240
CHANNEL = Channel(freq_ghz=100, fwhm_arcmin=30, depth_uk_arcmin=60, depth_p_uk_arcmin=100, knee_multipole=30, slope=1.2)
SOURCES = {"white": WhiteNoise(), "anisotropic": AnisotropicNoise(), "correlated": CorrelatedNoise()}
EDGES = np.array([2, 3, 4, 6, 9, 14, 20, 28, 36, 44, 52, 60])


def model_of(source, fields="I", channel=CHANNEL, nside=NSIDE, lmax=LMAX):
    source.check({"100": channel}, nside, lmax, fields)
    return source.model("100", channel, nside, lmax, fields, threads=1)


def draws_of(model, n_draw=N_DRAW, seed=1):
    return (draw_noise([model], [np.random.default_rng([seed, i])])[0] for i in range(n_draw))


def plain_spectra(noise, lmax):
    """Spectra by plain sums over pixels, as the theory of mode coupling has them; TT or TT, EE, BB, TE, EB, TB."""
    if len(noise) == 1:
        return hp.anafast(noise[0].astype(float), lmax=lmax, iter=0)[None]
    return hp.anafast(noise.astype(float), lmax=lmax, iter=0)


@pytest.fixture(scope="module", params=[(kind, fields) for kind in SOURCES for fields in ("I", "IQU")], ids="-".join)
def sample(request):
    kind, fields = request.param
    model = model_of(SOURCES[kind], fields)
    squares, spectra = np.zeros(model.std_map.shape), []
    for noise in draws_of(model):
        squares += noise.astype(float) ** 2 / N_DRAW
        spectra.append(plain_spectra(noise, LMAX))
    return model, squares, np.array(spectra)


def test_pixel_variance(sample):
    model, squares, _ = sample
    ratio = squares / model.std_map.astype(float) ** 2
    assert np.abs(ratio - 1).max() < 6.5 * np.sqrt(2 / N_DRAW)
    for field, std in zip(ratio, model.std_map, strict=True):
        quiet_to_noisy = np.argsort(std, kind="stable").reshape(8, -1)
        means = field[quiet_to_noisy].mean(axis=1)
        # Pixels share large scales and the level's scatter, 1 %: their errors do not average down as if independent.
        error = np.sqrt(2 / N_DRAW) * np.sqrt(1 / quiet_to_noisy.shape[1] + 0.002) + 0.01 / np.sqrt(N_DRAW)
        assert np.abs(means - 1).max() < 4 * error


def test_angular_spectrum(sample):
    model, _, spectra = sample
    n_comp = len(model.noise)
    binned = bin_spectrum(spectra[:, :n_comp], EDGES)
    mean, error = binned.mean(axis=0), binned.std(axis=0, ddof=1) / np.sqrt(N_DRAW)
    sigma = (mean - bin_spectrum(model.noise, EDGES)) / error
    assert np.abs(sigma).max() < 4
    assert np.mean(sigma**2) < 2


@pytest.mark.parametrize("sample", [(kind, "IQU") for kind in SOURCES], indirect=True, ids=list(SOURCES))
def test_parity_and_cross_spectra_vanish(sample):
    _, _, spectra = sample
    binned = bin_spectrum(spectra[:, 3:], EDGES)
    sigma = binned.mean(axis=0) / (binned.std(axis=0, ddof=1) / np.sqrt(N_DRAW))
    assert np.abs(sigma).max() < 4.5
    assert np.mean(sigma**2) < 2


def test_monopole_and_dipole():
    """No knee at l = 0 but for what the uneven depth moves there; nothing at all below l = 2 in polarisation."""
    model = model_of(CorrelatedNoise(), "IQU")
    assert model.red[0, 0] == 0
    assert model.red[0, 1] > 0
    assert not model.red[1:, :2].any()
    even = build_model(np.ones((1, 12 * NSIDE**2)), model.noise[:1] - model.noise[0, 0], model.noise[0, :1])
    means = np.array([noise.mean(dtype=float) for noise in draws_of(even)])
    white = even.noise[0, 0] / (4 * np.pi)
    assert np.mean(means**2) == pytest.approx(white, rel=4 * np.sqrt(2 / N_DRAW))


def test_scatter_of_spectra():
    source = CorrelatedNoise(level_scatter=0.05, knee_scatter=0.4)
    model = model_of(source)
    spectra = np.array([plain_spectra(noise, LMAX)[0] for noise in draws_of(model, 600)])
    free = CorrelatedNoise(level_scatter=0, knee_scatter=0)
    still = np.array([plain_spectra(noise, LMAX)[0] for noise in draws_of(model_of(free), 600, seed=2)])
    for low, high in ((4, 12), (30, 80)):
        band = np.array([low, high])
        got = np.var(bin_spectrum(spectra, band) / bin_spectrum(model.noise[0], band))
        chance = np.var(bin_spectrum(still, band) / bin_spectrum(model.noise[0], band))
        ell = np.arange(low, high)
        share = np.average(
            (30 / ell) ** 1.2 / (1 + (30 / ell) ** 1.2), weights=(2 * ell + 1) * model.noise[0, low:high]
        )
        wanted = 0.05**2 + (0.4 * share) ** 2
        # The error of a variance from 600 draws is 6 %; of the difference of two it is that of their sum.
        assert got - chance == pytest.approx(wanted, abs=4 * 0.06 * (got + chance))


def test_scatter_keeps_the_mean_variance():
    model = model_of(CorrelatedNoise(level_scatter=0.2, knee_scatter=0.4))
    power = np.array([np.mean((noise / model.std_map).astype(float) ** 2) for noise in draws_of(model, 1000)])
    assert power.std() > 0.15
    assert power.mean() == pytest.approx(1, abs=4 * power.std() / np.sqrt(1000))


def test_channels_are_uncorrelated():
    model = model_of(CorrelatedNoise())
    products = []
    for i in range(N_DRAW):
        noise = draw_noise([model] * 3, [np.random.default_rng([i, channel]) for channel in range(3)])[:, 0]
        alm = [hp.map2alm(row.astype(float), lmax=LMAX, iter=0) for row in noise]
        products.append([hp.alm2cl(alm[a], alm[b]) / model.noise[0] for a, b in ((0, 1), (0, 2), (1, 2))])
    binned = bin_spectrum(np.array(products), EDGES)
    sigma = binned.mean(axis=0) / (binned.std(axis=0, ddof=1) / np.sqrt(N_DRAW))
    assert np.abs(sigma).max() < 4
    assert np.mean(sigma**2) < 2


def test_same_bits_on_any_number_of_threads_and_alone():
    models = [model_of(source, "IQU") for source in SOURCES.values()]
    rngs = lambda: [np.random.default_rng([7, i]) for i in range(3)]  # noqa: E731
    one, four = draw_noise(models, rngs(), threads=1), draw_noise(models, rngs(), threads=4)
    assert one.dtype == np.float32
    assert np.array_equal(one, four)
    for i, model in enumerate(models):
        assert np.array_equal(one[i], draw_noise([model], [rngs()[i]])[0])


def test_model_is_the_same_on_any_number_of_threads():
    one, four = (CorrelatedNoise().model("100", CHANNEL, 64, 190, "IQU", threads) for threads in (1, 4))
    assert np.array_equal(one.std_map, four.std_map)
    np.testing.assert_array_equal(one.red, four.red)


@pytest.mark.parametrize("fields", ["I", "IQU"])
@pytest.mark.parametrize("kind", SOURCES)
def test_rebuilt_exactly_from_its_parts(kind, fields):
    model = model_of(SOURCES[kind], fields)
    columns = model.spectra()
    assert {len(column) for column in columns.values()} == {LMAX + 1}
    again = NoiseModel.from_parts(model.std_map, {"ell": np.arange(LMAX + 1), **columns})
    first, second = (draw_noise([each], [np.random.default_rng(3)]) for each in (model, again))
    assert np.array_equal(first, second)
    np.testing.assert_array_equal(model.noise, again.noise)


def test_average_map_is_added():
    model = model_of(WhiteNoise())
    average = np.linspace(-1, 1, 12 * NSIDE**2, dtype=np.float32)[None]
    moved = NoiseModel.from_parts(model.std_map, model.spectra(), average)
    first, second = (draw_noise([each], [np.random.default_rng(3)])[0] for each in (model, moved))
    np.testing.assert_allclose(second - first, average, atol=1e-5)


def test_negligible_correlated_part_is_cut():
    steep = Channel(freq_ghz=100, fwhm_arcmin=30, depth_uk_arcmin=60, knee_multipole=5, slope=4)
    model = model_of(CorrelatedNoise(), channel=steep, nside=64, lmax=191)
    assert -1 < model.cut() < 100
    share = model.red[0] / (model.red[0] + model.white()[0] * 4 * np.pi / model.std_map.shape[1])
    assert share[model.cut() + 1 :].max() < 1e-4
    assert model_of(AnisotropicNoise()).cut() == -1
