"""CMB-ML's U-Net is the published one, and its patches are parts of faces."""

import numpy as np

from cmbml.methods.patch_unet import DoubleUNet, FacePatches
from cmbml.sky.case import Observation, ObservationSpec
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap

NSIDE, LMAX = 32, 64
CHANNELS = {
    "143": Channel(freq_ghz=143.0, fwhm_arcmin=200.0, depth_uk_arcmin=10.0),
    "217": Channel(freq_ghz=217.0, fwhm_arcmin=150.0, depth_uk_arcmin=10.0),
}


def test_published_size() -> None:
    assert sum(weights.numel() for weights in DoubleUNet().build(9, 1).parameters()) == 1_925_921


def observation(fields: str = "I") -> Observation:
    rng = np.random.default_rng(3)
    truth = MapSpec(nside=NSIDE, lmax=LMAX, fields=fields)
    specs = {n: truth.with_(beam="gaussian", fwhm_arcmin=c.fwhm_arcmin) for n, c in CHANNELS.items()}
    shape = (len(fields), truth.n_pix)
    maps = {name: SkyMap(rng.standard_normal(shape).astype(np.float32), spec) for name, spec in specs.items()}
    asked = SkyMap(rng.standard_normal(shape).astype(np.float32), truth)
    return Observation(ObservationSpec(specs, truth, CHANNELS), maps, asked)


def test_faces_fall_into_patches_and_back() -> None:
    for fields in ("I", "IQU"):
        case = observation(fields)
        examples = FacePatches(name="f", channels=("143", "217"), n_pixels=8)
        target = examples.target(case)
        assert target.shape == (12 * 16, len(fields), 8, 8)
        assert examples.n_lessons(case.spec) == len(target) == len(examples.features(case))
        np.testing.assert_array_equal(examples.answer(target, None, case.spec).value.values, case.asked.values)
