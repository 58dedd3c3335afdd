"""Sums over velocity channels: the identities of the paper's appendix A, and weights that are known."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cmbml.methods.base import MethodError
from cmbml.methods.hydrogen.examples import CUBE, MASK, HydrogenExamples
from cmbml.methods.hydrogen.linear import LinearDust
from cmbml.methods.trained import Hardware, Lesson, State
from cmbml.sims.hydrogen import Hydrogen, draw_hydrogen
from cmbml.sky.case import Case, CaseSpec
from cmbml.sky.cutouts import Cutouts
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.velocity import CubeSpec, VelocityAxis, VelocityCube

NSIDE, N = 32, 16
CPU = Hardware(device="cpu", threads=1)
CUTOUTS = Cutouts(n_pixels=N, pixel_arcmin=4 * 60 * 180 / 460)
THIN = Hydrogen(phase_ratio=None, spin_temperature_k=None, co_dark=None, intermediate=None, high=None, noise_k=0.0)
WIDE = VelocityAxis(low_km_s=-120, high_km_s=120, number=12)
DUST = MapSpec(nside=NSIDE, unit="uK_RJ")


def examples(whole_sky: bool = True, **settings) -> HydrogenExamples:
    return HydrogenExamples(name="e", cutouts=CUTOUTS, per_simulation=40, whole_sky=whole_sky, **settings)


def case_of(cube: np.ndarray, dust: np.ndarray, axis: VelocityAxis, noise: tuple[float, ...]) -> Case:
    shown = CubeSpec(maps=MapSpec(nside=NSIDE, unit="K"), axis=axis, noise_k=noise)
    mask = SkyMap(np.ones((1, DUST.n_pix)), DUST.with_(unit=""))
    spec = CaseSpec({CUBE: shown, MASK: mask.spec}, DUST)
    maps = {CUBE: VelocityCube(cube, shown), MASK: mask}
    return Case(spec, maps, SkyMap(dust[None].astype(np.float32), DUST))


def lesson_of(case: Case, shown: HydrogenExamples, folder: Path) -> Lesson:
    chosen = shown.choose(case.spec, np.random.default_rng(1))
    train = (shown.features(case, chosen), shown.target(case, chosen))
    return Lesson(
        spec=case.spec, train=train, valid=train, names=["a"] * len(train[0]), moments=None, seed=0, workdir=folder,
        logdir=folder, report=lambda _: None,
    )  # fmt: skip


def fitted(case: Case, folder: Path, weights: str, **settings) -> tuple[LinearDust, State]:
    method = LinearDust(name="m", examples=examples(weights != "per_scale"), weights=weights, **settings)
    method.accepts(case.spec)
    return method, method.fit(lesson_of(case, method.examples, folder), CPU).state


def answer(case: Case, method: LinearDust, state: State) -> np.ndarray:
    replies = [reply.value for reply in method.predict(state, method.examples.features(case), CPU)]
    return method.examples.answer(np.stack(replies), None, case.spec).value.values[0]


def noisy(sigmas: tuple[float, ...], seed: int = 3) -> Case:
    """One line profile for all pixels, so that channels differ in strength and noise alone."""
    gas = replace(THIN, scatter_km_s=0.0, rotation_km_s=0.0, contrast=0.0, noise_k=sigmas)
    axis = VelocityAxis(low_km_s=-13, high_km_s=7, number=len(sigmas))
    sky = draw_hydrogen(gas, axis, NSIDE, seed)
    return case_of(sky.cube, sky.reddening * 1000, axis, sigmas)


def test_one_weight_is_enough_for_plain_gas(tmp_path: Path) -> None:
    """Integrated intensity recovers the dust to the rounding of single precision, and free weights are no better."""
    sky = draw_hydrogen(THIN, WIDE, NSIDE, 1)
    case = case_of(sky.cube, sky.reddening * 1000, WIDE, (0.0,) * 12)
    for weights in ("integrated", "free"):
        found = answer(case, *fitted(case, tmp_path, weights))
        np.testing.assert_allclose(found, case.asked.values[0], rtol=2e-3 if weights == "free" else 1e-5)


def test_ratio_that_depends_on_velocity_is_recovered(tmp_path: Path) -> None:
    """Where lines overlap too little to tell channels apart there is no weight to recover: those with gas count."""
    sky = draw_hydrogen(replace(THIN, velocity_ratio=0.8), WIDE, NSIDE, 1)
    case = case_of(sky.cube, sky.reddening * 1000, WIDE, (0.0,) * 12)
    _, state = fitted(case, tmp_path, "free", ridge=1e-13)
    wanted = (1 + 0.8 * WIDE.centres / 100) * 1.823e18 * WIDE.width_km_s / THIN.column_per_mag * 1000
    bright = sky.cube.mean(axis=1) > 0.03 * sky.cube.mean(axis=1).max()
    assert bright.sum() >= 3
    np.testing.assert_allclose(state.arrays["weights"][0][bright], wanted[bright], rtol=0.01)


def test_inverse_noise_is_optimal_where_channels_are_alike(tmp_path: Path) -> None:
    """All channels see the same map with gains a and noise s: the best weights are proportional to a / s^2.

    With gains that differ by 20 %, the inverse variance alone is nearly that, and beats the sum by far. It is a limit:
    where channels see different gas, the noise of one does not say how much to believe it.
    """
    sigmas = (0.2, 0.2, 0.2, 8.0, 8.0)
    case = noisy(sigmas)
    r = {}
    for weights in ("integrated", "inverse_noise", "free"):
        method, state = fitted(case, tmp_path, weights)
        r[weights] = np.corrcoef(answer(case, method, state), case.asked.values[0])[0, 1]
        if weights == "free":
            gains = noisy((0.0,) * 5).shown[CUBE].values.mean(axis=1)
            best = gains / np.square(sigmas)
            found = state.arrays["weights"][0]
            # Weights of 40 cutouts of noisy maps: a few per cent of the largest.
            np.testing.assert_allclose(found / found.max(), best / best.max(), atol=0.1)
    assert r["integrated"] < r["inverse_noise"] - 0.01
    assert r["free"] == pytest.approx(r["inverse_noise"], abs=0.003)


@pytest.mark.parametrize("weights", ["free", "per_scale"])
def test_appendix_a(tmp_path: Path, weights: str) -> None:
    """The normal equations hold (A.4), and no other weights correlate better, as mean spectra do (A.7, A.13)."""
    sky = draw_hydrogen(replace(Hydrogen(), noise_k=0.5), VelocityAxis(number=4), NSIDE, 2)
    case = case_of(sky.cube, sky.reddening * 1000, VelocityAxis(number=4), (0.5,) * 4)
    method, state = fitted(case, tmp_path, weights, ridge=0.0)
    lesson = lesson_of(case, method.examples, tmp_path)
    seen, wanted = (np.fft.fft2(np.asarray(part, float)) for part in (lesson.train[0][:, :-1], lesson.train[1][:, 0]))
    side = CUTOUTS.pixel_rad[0]
    ell = 2 * np.pi * np.hypot(*np.meshgrid(np.fft.fftfreq(N, side), np.fft.fftfreq(N, side), indexing="ij"))
    edges = [0.5, 460 / CUTOUTS.fundamental + 1e-9] if weights == "free" else [0.5, 1.5, 2.5, 3.5]
    rng = np.random.default_rng(4)
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = (ell >= low * CUTOUTS.fundamental) & (ell < high * CUTOUTS.fundamental)
        modes, dust = seen[..., inside], wanted[..., inside]
        within = np.einsum("nik,njk->ij", modes, modes.conj()).real
        across = np.einsum("nk,njk->j", dust, modes.conj()).real
        mine = state.arrays["weights"][number]
        np.testing.assert_allclose(within @ mine, across, rtol=1e-6, atol=1e-6 * np.abs(across).max())

        def correlation(w: np.ndarray, within: np.ndarray = within, across: np.ndarray = across) -> float:
            return float(w @ across / np.sqrt(w @ within @ w))

        best = correlation(mine)
        others = mine * (1 + 0.05 * rng.standard_normal((50, 4)))
        assert best > max(map(correlation, others))
        gradient = [(correlation(mine + h) - correlation(mine - h)) for h in 1e-4 * np.diag(mine)]
        assert np.abs(gradient).max() < 1e-7 * best


def test_what_cannot_be_weighed_is_refused() -> None:
    case = noisy((0.0, 0.0, 0.0))
    with pytest.raises(MethodError, match="the channels have no noise"):
        LinearDust(name="m", examples=examples(), weights="inverse_noise").accepts(case.spec)
    with pytest.raises(MethodError, match=r"inputs=moments: it is channels that are weighed"):
        LinearDust(name="m", examples=examples(inputs="moments"), weights="free").accepts(case.spec)
    with pytest.raises(MethodError, match="weights that depend on scale need cutouts"):
        LinearDust(name="m", examples=examples(), weights="per_scale").accepts(case.spec)
    with pytest.raises(MethodError, match="a cube of velocity channels is wanted"):
        LinearDust(name="m", examples=examples(), weights="free").accepts(CaseSpec({"100": DUST}, DUST))


def test_null_inputs_are_moments_of_the_cube() -> None:
    sky = draw_hydrogen(THIN, WIDE, NSIDE, 1)
    case = case_of(sky.cube, sky.reddening, WIDE, (0.0,) * 12)
    integrated, moments = (examples(whole_sky=True, inputs=name).features(case) for name in ("integrated", "moments"))
    np.testing.assert_allclose(integrated[0, 0], case.shown[CUBE].integrated, rtol=1e-6)
    np.testing.assert_allclose(moments[0, :3], case.shown[CUBE].moments(3), rtol=1e-5)
    assert (integrated.shape[1], moments.shape[1]) == (2, 4)
    assert examples(inputs="moments").shapes(case.spec) == ((4, N, N), (1, N, N))


def test_stitched_answer_is_the_dust_again() -> None:
    """Cutouts of the truth, put together: what bilinear interpolation, twice, leaves of a smooth map."""
    sky = draw_hydrogen(THIN, WIDE, NSIDE, 1)
    case = case_of(sky.cube, sky.reddening, WIDE, (0.0,) * 12)
    shown = replace(examples(whole_sky=False), cutouts=Cutouts())
    again = shown.answer(shown.target(case), None, case.spec).value.values[0]
    assert np.corrcoef(np.log(again), np.log(case.asked.values[0]))[0, 1] > 0.99
