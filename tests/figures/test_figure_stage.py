import hashlib

import numpy as np
import pytest
from astropy.table import Table
from pydantic import ValidationError

from cmbml.core.handler import Stamp
from cmbml.core.space import Key
from cmbml.core.task import Failure, Task, run_task
from cmbml.core.unit_io import Access
from cmbml.sky.instrument import Channel
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.spectra import Spectra
from cmbml.stages.assets import (
    CMB_MAP,
    FOREGROUND_MAP,
    FREQ,
    MAPS_FIGURE,
    MASK,
    MASK_APODISED,
    NOISE_SPECTRUM,
    NOISE_STD_MAP,
    OBS_MAP,
    SIM,
    SKY_RECIPE,
    SPECTRA_FIGURE,
    SPLIT,
    THEORY_SPECTRA,
)
from cmbml.stages.sims.figures import DrawSimulation

NSIDE = 16
LMAX = 3 * NSIDE - 1
FREQS = {"857": 866.8, "30": 28.4, "143": 142.9}
CHANNELS = {name: Channel(freq_ghz=freq, fwhm_arcmin=60, depth_uk_arcmin=30) for name, freq in FREQS.items()}
STAGE = DrawSimulation(channels=CHANNELS, lensing="remap", limit_uk=300, reference_ghz=143)


def inputs(fields):
    """Give each asset's values, with or without a channel."""
    rng = np.random.default_rng(0)
    n_field = len(fields)
    spec = MapSpec(nside=NSIDE, fields=fields)
    cl = {name: np.geomspace(1e3, 1e-2, LMAX + 1) for name in ("lensed_TT", "lensed_EE", "lensed_BB")}

    def sky(sigma):
        return SkyMap(rng.normal(0, sigma, (n_field, spec.n_pix)).astype(np.float32), spec)

    mask = SkyMap((np.arange(spec.n_pix) > 500).astype(np.float32)[None], MapSpec(nside=NSIDE, unit=""))
    noise = Table({f"noise_{name}": np.full(LMAX + 1, 1e-3) for name in "TEB"[:n_field]})
    single = {
        SKY_RECIPE: {"kept": True},
        CMB_MAP: sky(100),
        MASK: mask,
        MASK_APODISED: mask,
        THEORY_SPECTRA: Spectra(cl),
    }
    many = {
        OBS_MAP: {name: sky(100 if name != "857" else 1e5) for name in FREQS},
        FOREGROUND_MAP: {name: sky(50) for name in FREQS},
        NOISE_STD_MAP: {name: SkyMap(np.abs(sky(1).values) + 1, spec) for name in FREQS},
        NOISE_SPECTRUM: dict.fromkeys(FREQS, noise),
    }
    return single, many


def make_task(root, fields, threads=1):
    """Write what the stage reads, and return its unit."""
    root.mkdir()
    key = Key.of({SPLIT: "train", SIM: "sim0000"})
    places = {}
    single, many = inputs(fields)
    for asset, values in [*((a, {None: v}) for a, v in single.items()), *many.items()]:
        for name, value in values.items():
            path = f"in_{asset.name}_{name}{asset.handler.suffix}"
            asset.handler.write(root / path, value, Stamp("test", "0" * 64))
            at = key if name is None else key.joined(Key.of({FREQ: name}))
            places.setdefault(asset.name, []).append((at.on(asset.per), path))
    access = Access(
        stage="figures",
        key=key,
        inputs={name: tuple(found) for name, found in places.items()},
        outputs={a.name: ((key, f"{a.name}.png"),) for a in (MAPS_FIGURE, SPECTRA_FIGURE)},
        makers=dict.fromkeys(places, "test"),
        fingerprint="f" * 64,
        root=root,
        seed=1,
        threads=threads,
    )
    return Task(STAGE, access, "record.json")


@pytest.mark.parametrize("fields", ["I", "IQU"])
def test_the_stage_draws_the_same_bytes_each_time(tmp_path, fields):
    digests = []
    for threads in (1, 2):
        task = make_task(tmp_path / str(threads), fields, threads)
        result = run_task(task)
        assert not isinstance(result, Failure), result
        pictures = [task.access.root / places[0][1] for places in task.access.outputs.values()]
        assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
        digests.append([hashlib.sha256(picture.read_bytes()).hexdigest() for picture in pictures])
    assert digests[0] == digests[1]


def test_it_leaves_matplotlib_as_it_was(tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    names = set(mpl.colormaps)
    assert not isinstance(run_task(make_task(tmp_path / "one", "I")), Failure)
    assert dict(mpl.rcParams) == before
    assert set(mpl.colormaps) == names


@pytest.mark.parametrize("wrong", [{"limit_uk": -1}, {"reference_ghz": 0}, {"lensing": "twice"}, {"limit": 300}])
def test_impossible_settings_are_refused(wrong):
    good = {"channels": CHANNELS, "lensing": "none", "limit_uk": 300, "reference_ghz": 143}
    with pytest.raises(ValidationError):
        DrawSimulation(**(good | wrong))
