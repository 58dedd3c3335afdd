"""CENN and CMB-ML's U-Net are what was published, and their samples become skies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmbml.methods.base import MethodError
from cmbml.methods.cenn.network import SLOPE, Cenn
from cmbml.methods.patch_unet import DoubleUNet, FacePatches
from cmbml.methods.patches import SkyPatches
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapError, MapSpec, SkyMap

NSIDE, LMAX = 32, 64
CHANNELS = {
    "143": Channel(freq_ghz=143.0, fwhm_arcmin=200.0, depth_uk_arcmin=10.0),
    "217": Channel(freq_ghz=217.0, fwhm_arcmin=150.0, depth_uk_arcmin=10.0),
}


def n_parameters(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_published_sizes() -> None:
    assert n_parameters(Cenn().build(3, 1)) == 6_207_449
    assert n_parameters(DoubleUNet().build(9, 1)) == 1_925_921


def convolved(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Keras' convolution of stride 2 with padding `same`, by hand: `kernel` is (out, in, k, k)."""
    k, (_, height, width) = kernel.shape[-1], images.shape
    before = (k - 2) // 2
    padded = np.pad(images, ((0, 0), (before, k - 2 - before), (before, k - 2 - before)))
    out = np.empty((len(kernel), height // 2, width // 2))
    for row in range(height // 2):
        for column in range(width // 2):
            seen = padded[:, 2 * row : 2 * row + k, 2 * column : 2 * column + k]
            out[:, row, column] = np.tensordot(kernel, seen, 3) + bias
    return out


def transposed(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The adjoint of such a convolution: every pixel lays down a kernel; `kernel` is (in, out, k, k)."""
    k, (_, height, width) = kernel.shape[-1], images.shape
    whole = np.zeros((kernel.shape[1], 2 * height - 2 + k, 2 * width - 2 + k))
    for row in range(height):
        for column in range(width):
            laid = np.tensordot(images[:, row, column], kernel, 1)
            whole[:, 2 * row : 2 * row + k, 2 * column : 2 * column + k] += laid
    before = (k - 2) // 2
    return whole[:, before : before + 2 * height, before : before + 2 * width] + bias[:, None, None]


def leaky(images: np.ndarray) -> np.ndarray:
    return np.where(images > 0, images, SLOPE * images)


def test_forward_pass_is_the_papers() -> None:
    """Section 3.2 and figure 2, derived again in double precision without a deep-learning package."""
    layout = Cenn(widths=(4, 6, 8), kernels=(9, 7, 5), decoder_kernels=(5, 7, 9))
    network = layout.build(3, 1).double()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    image = np.random.default_rng(1).standard_normal((3, 16, 16))
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    raw, found = [], image
    for level in range(3):
        raw.append(convolved(found, weights[f"encoder.{level}.weight"], weights[f"encoder.{level}.bias"]))
        found = leaky(raw[-1])
    for level in range(3):
        found = leaky(transposed(found, weights[f"decoder.{level}.weight"], weights[f"decoder.{level}.bias"]))
        if level < 2:
            # What the convolution gave before its activation comes first.
            found = np.concatenate([raw[1 - level], found])
    with torch.no_grad():
        ours = network(torch.from_numpy(image)[None]).numpy()[0]
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-10 * np.abs(found).max())


def observation(fields: str = "I") -> Observation:
    rng = np.random.default_rng(3)
    truth = MapSpec(nside=NSIDE, lmax=LMAX, fields=fields)
    specs = {n: truth.with_(beam="gaussian", fwhm_arcmin=c.fwhm_arcmin) for n, c in CHANNELS.items()}
    shape = (len(fields), truth.n_pix)
    maps = {name: SkyMap(rng.standard_normal(shape).astype(np.float32), spec) for name, spec in specs.items()}
    asked = SkyMap(rng.standard_normal(shape).astype(np.float32), truth)
    return Observation(ObservationSpec(specs, truth, CHANNELS), maps, asked)


def patches(**changes: object) -> SkyPatches:
    chosen = {"name": "p", "channels": ("143", "217"), "n_pixels": 32, "pixel_arcmin": 60.0, "per_simulation": 3}
    return SkyPatches(**(chosen | changes))


def test_patches_that_are_learnt_from_are_drawn_anew_and_hang_on_the_generator_alone() -> None:
    examples, case = patches(), observation()
    first, again, other = (examples.choose(case.spec, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert examples.features(case, first).shape == (3, 2, 32, 32)
    assert examples.target(case, first).shape == (3, 1, 32, 32)
    north = patches(half="north", per_simulation=50).choose(case.spec, np.random.default_rng(1))
    assert (north[:, 1] > 0).all()


def test_symmetries_of_the_square() -> None:
    values = np.random.default_rng(1).standard_normal((6, 8, 8)).astype(np.float32)
    seen = [patches().turned(values, number, 1) for number in range(8)]
    np.testing.assert_array_equal(seen[0], values)
    assert len({image.tobytes() for image in seen}) == 8
    # A half turn leaves axes what they were, a quarter turn swaps them: Q and U change sign; a reflection changes U.
    signs = [(1, 1), (-1, -1), (1, 1), (-1, -1), (1, -1), (-1, 1), (1, -1), (-1, 1)]
    for number, sign in enumerate(signs):
        polarised = patches().turned(values, number, 3).reshape(2, 3, 8, 8)
        plain = seen[number].reshape(2, 3, 8, 8)
        np.testing.assert_array_equal(polarised[:, 0], plain[:, 0])
        for field in (1, 2):
            np.testing.assert_array_equal(polarised[:, field], sign[field - 1] * plain[:, field])


def test_uncertainty_is_stitched_too() -> None:
    examples, case = patches(), observation()
    replies = examples.target(case)
    answer = examples.answer(replies, np.full_like(replies, 2.0), case.spec)
    np.testing.assert_allclose(answer.sigma.values, 2.0, rtol=1e-5)
    assert answer.sigma.spec == answer.value.spec == examples.accepts(case.spec)


def test_faces_fall_into_patches_and_back() -> None:
    for fields in ("I", "IQU"):
        case = observation(fields)
        examples = FacePatches(name="f", channels=("143", "217"), n_pixels=8)
        target = examples.target(case)
        assert target.shape == (12 * 16, len(fields), 8, 8)
        assert examples.n_lessons(case.spec) == len(target) == len(examples.features(case))
        np.testing.assert_array_equal(examples.answer(target, None, case.spec).value.values, case.asked.values)


def test_bad_settings_are_refused_with_the_mend() -> None:
    spec = observation().spec
    with pytest.raises(MethodError, match=r"multiples of 64, not on 32 x 32; set method.examples.n_pixels=64, 128"):
        Cenn().require_shape(32, 32)
    with pytest.raises(MapError, match="is 64 degrees wide; projections bear 60"):
        patches(n_pixels=64).accepts(spec)
    with pytest.raises(MapError, match="no channel '353'"):
        patches(channels=("143", "353")).accepts(spec)
    with pytest.raises(MapError, match="no channel '353'"):
        patches(target_channel="353").accepts(spec)
    with pytest.raises(MethodError, match="name each channel once"):
        patches(channels=("143", "143")).accepts(spec)
    with pytest.raises(MapError, match="uncovered; take more centres"):
        # Weights fall to zero at the edges, so that patches which merely touch leave bare lines.
        patches(overlap=0.01).accepts(spec)
    with pytest.raises(MethodError, match="n_pixels=12 does not divide nside 32"):
        FacePatches(name="f", channels=("143",), n_pixels=12).accepts(spec)
    tabulated = replace(spec, shown=dict(spec.shown) | {"217": spec.shown["217"].with_(beam="window")})
    with pytest.raises(MethodError, match="its beam is tabulated"):
        patches(target_channel="217").accepts(tabulated)
    with pytest.raises(MethodError, match="read without its true answer"):
        patches().target(replace(observation(), asked=None))


def test_pixels_that_are_too_fine_are_spoken_of_once(caplog: pytest.LogCaptureFixture) -> None:
    spec = observation().spec
    for _ in range(2):
        patches(n_pixels=48, pixel_arcmin=27.0).accepts(spec)
    warnings = [record.message for record in caplog.records if "times finer" in record.message]
    assert warnings == [
        "patch pixels of 27' are 4.1 times finer than those of nside 32 (109.9'): there is nothing more to see in them"
    ]
