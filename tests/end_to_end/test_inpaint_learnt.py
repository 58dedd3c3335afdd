"""Holes filled by networks that learn first, through the programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
import torch
from astropy.table import Table
from outcomes import done, refused
from safetensors.torch import save_file

Command = Callable[..., Any]
NSIDE = 16
HOLES = ("holes.shape.disks_deg=[8]", "holes.shape.irregular_deg=[]", "holes.shape.number=2")
MAPS = ("holes.source.fwhm_arcmin=300", "holes.source.noise_uk_arcmin=600")
PATCHES = (
    "method.examples.height=20",
    "method.examples.width=20",
    "method.examples.pixel_arcmin=[160,160]",
    "method.examples.per_simulation=6",
)
TRAINING = (
    "method.train.epochs=2",
    "method.train.batch_size=4",
    "hardware.threads=1",
    "hardware.device=cpu",
    "runner.threads=1",
)
VAE = (
    "method.network.widths=[4,8,8]",
    "method.network.kernels=[5,3,3]",
    "method.network.strides=[2,1,5]",
    "method.network.dense=[16,8]",
    "method.network.n_latent=8",
    "method.objective.draws=4",
    "method.objective.features.width=2",
)
WIENER = ("method.network.widths=[4,6]", "method.network.mask_widths=[4,6]")
RUN = ("dataset=sky", *HOLES, *MAPS, *PATCHES, *TRAINING)
METHODS = ("cosmovae", "wiener_net", "control_unfilled")


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, calling: Callable[..., int], simulate: Callable[..., None]
) -> Path:
    """A dataset whose holes two networks have learnt to fill, compared."""
    root = tmp_path_factory.mktemp("learnt_holes")
    size = (f"scenario.nside={NSIDE}", f"scenario.nside_sky={NSIDE}", "scenario.lmax=32", "scenario.lmax_scored=32")
    simulate(root, "dataset=sky", *size, train=3, valid=1, test=2)
    assert calling("inpaint", root, *RUN, "method=cosmovae", *VAE) == 0
    assert calling("inpaint", root, *RUN, "method=wiener_net", *WIENER) == 0
    assert calling("inpaint", root, "dataset=sky", *HOLES, *MAPS, "method=control_unfilled") == 0
    methods = ("stages=hole_analysis", f"methods=[{','.join(METHODS)}]")
    sides = ("stages.metrics.judges.holes.patch_deg=50", "stages.pictures.patch_deg=50")
    assert calling("analysis", root, "dataset=sky", *methods, *sides) == 0
    return root / "sky"


def values(path: Path) -> np.ndarray:
    return hp.read_map(path, dtype=np.float32)


def test_what_is_around_the_holes_stays_to_the_bit(filled: Path) -> None:
    for sim in ("sim0000", "sim0001"):
        holed, mask = (values(filled / f"holes/test/{sim}/truth/{name}.fits") for name in ("holed_map", "hole_mask"))
        known = mask > 0.5
        for method in METHODS[:2]:
            folder = filled / f"clean/{method}/test/{sim}"
            cleaned, sigma = (values(folder / f"{name}.fits") for name in ("cleaned_map", "uncertainty_map"))
            np.testing.assert_array_equal(cleaned[known], holed[known])
            assert (cleaned[~known] != 0).all()
            assert (sigma > 0).all()


def test_each_simulation_is_learnt_from_with_holes_of_its_own(filled: Path) -> None:
    masks = [values(filled / f"holes/train/sim000{i}/truth/hole_mask.fits") for i in range(3)]
    assert all((masks[i] != masks[i - 1]).any() for i in range(3))


def test_networks_share_the_arrays_of_their_patches(filled: Path) -> None:
    """They are made once: both methods show the same patches."""
    assert [path.name for path in (filled / "preprocess").iterdir()] == ["hole_patches"]
    features = np.load(filled / "preprocess/hole_patches/train/sim0000/features.npy")
    assert features.shape == (6, 2, 20, 20)


def test_they_are_judged_by_radius_and_in_patches_and_drawn(filled: Path) -> None:
    table = Table.read(filled / "metrics/cosmovae/test/sim0000/scores.csv")
    regions = set(table["region"])
    assert {"holes", "radius beyond 5 deg", "patches", "holes in patches"} <= regions
    assert {"coverage68", "crps"} <= set(table["metric"])
    assert set(table[table["region"] == "patches"]["metric"]) == {"colour_mse", "colour_mae", "colour_psnr"}
    assert (filled / "pictures/test/hole_pictures.png").stat().st_size > 10_000
    assert "Holes of sim0000 as every method fills them" in (filled / "report/test/report.html").read_text()


def test_weights_fill_the_holes_of_another_dataset(
    filled: Path, command: Command, simulate: Callable[..., None], tmp_path: Path
) -> None:
    size = (f"scenario.nside={NSIDE}", f"scenario.nside_sky={NSIDE}", "scenario.lmax=32", "scenario.lmax_scored=32")
    simulate(tmp_path, "dataset=sky", *size, "seed=7", train=0, test=1)
    weights = f"weights={filled}/train/wiener_net/state.safetensors"
    done(command("inpaint", tmp_path, *RUN, "method=wiener_net", *WIENER, "stages=learnt_inpaint", weights))
    assert (tmp_path / "sky/clean/wiener_net/test/sim0000/cleaned_map.fits").is_file()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("method=cosmovae_paper", "hardware.device=cpu"), "not for a CPU; take method=cosmovae"),
        (("method=cosmovae", "method.examples.height=30"), "patches of 100 x 100 pixels, not on 30 x 100"),
        (("method=cosmovae", "method.objective.features.file=/no/vgg.safetensors"), "there is no such file"),
        (("method=wiener_net", "holes.shape.disks_deg=[80]", "method.examples.pixel_arcmin=[10,10]"), "wider than the"),
    ],
)
def test_bad_input_is_refused(filled: Path, command: Command, words: tuple[str, ...], text: str) -> None:
    shape = ("method.network.shape=[100,100]",) if words[0] == "method=cosmovae" else ()
    few = () if words[0] == "method=cosmovae_paper" else ("method.examples.name=bad", *TRAINING)
    ran = command("inpaint", filled.parent, "dataset=sky", "method.name=bad", "holes.name=bad", *few, *words, *shape)
    refused(ran, text)


def test_a_vgg_of_another_shape_is_refused_before_work(filled: Path, command: Command, tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "vgg.safetensors")
    file = f"method.objective.features.file={tmp_path}/vgg.safetensors"
    ran = command("inpaint", filled.parent, *RUN, "method=cosmovae", *VAE, file, "method.name=bad")
    refused(ran, "is no VGG-16 of width 2, as torchvision names its weights: features.0.weight is (3,)")


def test_other_programs_say_which_one_fills_holes(filled: Path, command: Command) -> None:
    ran = command("clean", filled.parent, "dataset=sky", "method=wiener_net")
    refused(ran, "this needs `holes`, which this program does not know; run main_inpaint.py")
