"""Controls that remember: they win where all simulations share a sky, and lose where each has its own."""

import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.ilc.needlets import CosineNeedlets
from cmbml.methods.memory import FixedWeights, Maps, Memory, PrincipalComponents
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Hardware, Lesson
from cmbml.sky.case import ObservationSpec
from cmbml.sky.harmonics import analyse, filter_components, random_alm, synthesise
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec

NSIDE, LMAX = 16, 32
CHANNELS = {
    name: Channel(freq_ghz=float(name), fwhm_arcmin=fwhm, depth_uk_arcmin=10.0)
    for name, fwhm in (("100", 300.0), ("143", 250.0), ("217", 200.0))
}
TRUTH = MapSpec(nside=NSIDE, lmax=LMAX)
SPEC = ObservationSpec(
    {n: TRUTH.with_(beam="gaussian", fwhm_arcmin=c.fwhm_arcmin) for n, c in CHANNELS.items()},
    TRUTH,
    CHANNELS,
)
EXAMPLES = Maps(name="maps", channels=tuple(CHANNELS), fwhm_arcmin=300.0)
HARDWARE = Hardware(threads=1)
NOISE_UK = 1.0


def field(rng, amplitude):
    ell = np.arange(LMAX + 1)
    cl = amplitude**2 / (ell + 1.0) ** 2
    return random_alm(rng, LMAX) * np.sqrt(cl)[np.newaxis, _ELL]


_ELL = np.concatenate([np.arange(m, LMAX + 1) for m in range(LMAX + 1)])


def simulations(rng, skies, number):
    """Features and targets of simulations that see these skies, one after the other."""
    features, targets = [], []
    for i in range(number):
        cmb = field(rng, 100.0)
        targets.append(synthesise(cmb, NSIDE).astype(np.float32))
        maps = [
            synthesise(filter_components(cmb, channel.beam(LMAX, 1)), NSIDE)
            + scale * skies[i % len(skies)]
            + rng.normal(0, NOISE_UK, (1, 12 * NSIDE**2))
            for channel, scale in zip(CHANNELS.values(), (1.0, 2.0, 5.0), strict=True)
        ]
        features.append(np.stack(maps).astype(np.float32))
    return features, targets


def error_of(method, train_skies, test_skies, tmp_path):
    rng = np.random.default_rng(5)
    train, valid = (simulations(rng, train_skies, n) for n in (len(train_skies), 4))
    lesson = Lesson(
        spec=SPEC,
        train=train,
        valid=valid,
        names=[str(i) for i in range(len(train[0]))],
        moments=(Moments.of(train[0][0][:, 0]), Moments.of(train[1][0])),
        seed=1,
        workdir=tmp_path,
        logdir=tmp_path,
        report=lambda _: None,
    )
    trained = method.fit(lesson, HARDWARE)
    method.require_fit(trained.state, SPEC)
    features, targets = simulations(rng, test_skies, 3)
    answers = [reply.value for reply in method.predict(trained.state, features, HARDWARE)]
    out = Channel(freq_ghz=1.0, fwhm_arcmin=300.0, depth_uk_arcmin=0.0).beam(LMAX, 1)
    errors = []
    for answer, target in zip(answers, targets, strict=True):
        wanted = synthesise(filter_components(analyse(target.astype(float), LMAX), out), NSIDE)
        errors.append(np.sqrt(np.mean((answer - wanted) ** 2)))
    assert EXAMPLES.answer(answers[0][np.newaxis], None, SPEC).value.spec.fwhm_arcmin == 300.0
    return np.mean(errors)


def sky(rng):
    return np.exp(synthesise(field(rng, 3.0), NSIDE)) * 30


@pytest.fixture
def skies():
    rng = np.random.default_rng(1)
    return [sky(rng) for _ in range(12)]


def test_memory_knows_a_shared_sky_to_its_noise_and_not_another(skies, tmp_path):
    memory = Memory(name="memory", examples=EXAMPLES, simulations=5)
    known = error_of(memory, skies[:1] * 6, skies[:1], tmp_path)
    other = error_of(memory, skies[:6], skies[6:9], tmp_path)
    # Three channels average the noise; the mean of five adds a fifth of its power, and beams amplify a little.
    assert known < NOISE_UK
    assert other > 20 * known


def test_components_span_skies_that_are_sums_of_others_and_no_new_one(skies, tmp_path):
    bands = CosineNeedlets(peaks=(8.0, 33.0), nside=None)
    pca = PrincipalComponents(name="pca", examples=EXAMPLES, simulations=8, bands=bands, components=(0, 2, 4, 7))
    rng = np.random.default_rng(2)
    mixtures = [sum(w * s for w, s in zip(rng.uniform(0, 1, 3), skies[:3], strict=True)) for _ in range(12)]
    spanned = error_of(pca, mixtures[:8], mixtures[8:11], tmp_path)
    new = error_of(pca, skies[:8], skies[8:11], tmp_path)
    assert new > 3 * spanned


def test_fixed_weights_clean_any_sky_of_one_spectrum(skies, tmp_path):
    """Three channels, of which one combination holds no sky: its noise is left on skies that were never seen."""
    fixed = FixedWeights(name="fixed", examples=EXAMPLES, smoothing_deg=20.0)
    new = error_of(fixed, skies[:6], skies[6:9], tmp_path)
    beams = np.stack([channel.beam(LMAX, 1)[0] for channel in CHANNELS.values()])
    out = Channel(freq_ghz=1.0, fwhm_arcmin=300.0, depth_uk_arcmin=0.0).beam(LMAX, 1)[0]
    # Least noise of weights with sum_c w_c b_c = b_out and sum_c w_c s_c = 0, by hand.
    constraints = np.stack([beams, np.broadcast_to([[1.0], [2.0], [5.0]], beams.shape)])
    gram = np.einsum("icl,jcl->lij", constraints, constraints)
    power = np.linalg.inv(gram)[:, 0, 0] * out**2
    modes = 2 * np.arange(LMAX + 1) + 1
    left = NOISE_UK * np.sqrt((modes * power).sum() / (12 * NSIDE**2))
    assert new == pytest.approx(left, rel=0.1)


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="name each once"):
        Maps(name="m", channels=("100", "100"), fwhm_arcmin=20.0)
    with pytest.raises(ValueError, match="no channel '44'"):
        Maps(name="m", channels=("44",), fwhm_arcmin=20.0).accepts(SPEC)
    memory = Memory(name="memory", examples=EXAMPLES)
    rng = np.random.default_rng(1)
    train = simulations(rng, [sky(rng)], 2)
    lesson = Lesson(
        spec=SPEC,
        train=train,
        valid=([], []),
        names=["0", "1"],
        moments=(Moments.of(train[0][0][:, 0]),) * 2,
        seed=1,
        workdir=tmp_path,
        logdir=tmp_path,
        report=lambda _: None,
    )
    with pytest.raises(MethodError, match=r"learn\.valid"):
        memory.fit(lesson, HARDWARE)
