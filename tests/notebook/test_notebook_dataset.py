"""A dataset as a notebook sees it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy import units
from matplotlib.figure import Figure

import cmbml
from cmbml.core.errors import BadFileError, ConfigError, MissingAssetError, StaleError
from cmbml.notebook.dataset import Dataset

METHODS = ("control_channel", "control_truth", "control_zero", "ilc_pixel")


@pytest.fixture(scope="module")
def root(
    tmp_path_factory: pytest.TempPathFactory, compared: Path, calling: Callable[..., int], scoring: tuple[str, ...]
) -> Path:
    """Return a dataset whose spectra have been gathered, too."""
    folder = Path(shutil.copytree(compared, tmp_path_factory.mktemp("notebook") / "root"))
    words = [word for word in scoring if word != "~stages.gathered_spectra"]
    assert calling("analysis", folder, "dataset=sky", f"methods=[{','.join(METHODS)}]", *words) == 0
    return folder / "sky"


@pytest.fixture
def data(root: Path) -> Dataset:
    return cmbml.open_dataset(root)


def test_dataset_says_what_it_has(data: Dataset) -> None:
    assert data.splits == ("test",)
    assert data.simulations("test") == ("sim0000", "sim0001", "sim0002")
    assert data.methods == METHODS
    assert data.channels == ("100", "143", "217", "353", "545")
    assert {"obs_map", "cmb_map", "cleaned_map", "score_stack"} <= set(data.assets)


def test_maps_are_those_of_the_files(data: Dataset) -> None:
    found = data.map("obs_map", "test", 1, freq=143)
    assert found.spec.unit == "uK_CMB"
    assert found.values.shape == (1, 3072)
    on_disk = hp.read_map(data.root / "observe/test/sim0001/obs_map_143.fits", dtype=np.float32)
    assert np.array_equal(found.to_healpy(), on_disk)
    assert found.quantity.unit == units.uK
    assert np.array_equal(data.map("obs_map", "test", "sim0001", freq="143").values, found.values)
    assert data.map("mask").quantity.unit == units.dimensionless_unscaled


def test_temperatures_become_brightness_with_astropys_equivalency(data: Dataset) -> None:
    """At 143 GHz, dB/dT at 2.7255 K is 381 MJy/sr per K: from the derivative of Planck's law."""
    kelvin = data.map("cmb_map", "test", 0).quantity[0, :3]
    equivalence = units.thermodynamic_temperature(143 * units.GHz, 2.7255 * units.K)
    x = 6.62607015e-34 * 143e9 / (1.380649e-23 * 2.7255)
    slope = 2 * 1.380649e-23 * (143e9 / 299792458) ** 2 * x**2 * np.exp(x) / np.expm1(x) ** 2 * 1e20
    assert np.allclose(kelvin.to(units.MJy / units.sr, equivalence).value, slope * kelvin.to_value("K"), rtol=1e-6)


def test_pictures_are_figures(data: Dataset) -> None:
    for found in (data.map("obs_map", "test", 0, freq=545), data.map("mask"), data.map("cmb_map", "test", 0)):
        assert isinstance(found.plot(), Figure)


def test_scores_are_those_of_the_tables_of_each_simulation(data: Dataset) -> None:
    table = data.scores()
    assert set(table["method"]) == set(METHODS)
    for row in table[:: len(table) // 20]:
        one = data.read("scores", row["split"], row["sim"], method=row["method"])
        same = np.logical_and.reduce([one[name] == row[name] for name in ("footing", "field", "region", "metric")])
        assert one["value"][same].tolist() == pytest.approx([row["value"]], nan_ok=True)


def test_spectra_have_units(data: Dataset) -> None:
    table = data.spectra("test")
    assert table["d_truth"].unit == table["cosmic_variance"].unit == units.uK**2
    truth = table[(table["method"] == "control_truth") & (table["kind"] == "master")]
    assert np.allclose(truth["d_truth"], truth["d_prediction"])
    assert set(truth["sim"]) == {"sim0000", "sim0001", "sim0002"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"name": "obs_map", "split": "tets", "sim": 0, "freq": 100}, "no split 'tets': did you mean 'test'?"),
        ({"name": "obs_map", "split": "test", "sim": 3, "freq": 100}, "it has sim0000 to sim0002"),
        ({"name": "obs_map", "split": "test", "sim": 0, "freq": 70}, "no freq '70'"),
        ({"name": "obs_map", "split": "test", "sim": 0}, "say which, freq=NAME: 100, 143, 217, 353, 545"),
        ({"name": "obs_map"}, "differs by split and simulation"),
        ({"name": "cleaned_map", "split": "test", "sim": 0, "method": "ilc"}, "no method 'ilc'"),
        ({"name": "osb_map", "split": "test", "sim": 0}, "no 'osb_map': did you mean 'obs_map'?"),
        ({"name": "parameters", "split": "test", "sim": 0}, "'parameters' is no map"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(data: Dataset, asked: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        data.map(**asked)  # type: ignore[arg-type]
    assert words in str(error.value)


def test_datasets_beside_it_are_named(data: Dataset) -> None:
    with pytest.raises(MissingAssetError, match=r"there is no dataset in .*sly; .* has sky"):
        cmbml.open_dataset(data.root.parent / "sly")
    with pytest.raises(ConfigError, match="integrity is not 'hsah': did you mean 'hash'"):
        cmbml.open_dataset(data.root, "hsah")


def test_report_that_is_not_made_is_refused_with_the_command(data: Dataset) -> None:
    with pytest.raises(MissingAssetError, match=r"run: cmbml analysis system.root=.* dataset=sky methods="):
        data.report()


def test_altered_and_stale_files_are_refused(
    root: Path, tmp_path: Path, calling: Callable[..., int], whole_sky: tuple[str, ...]
) -> None:
    copy = Path(shutil.copytree(root.parent, tmp_path / "copy")) / "sky"
    data = cmbml.open_dataset(copy)
    path = data.path("obs_map", "test", 0, freq=100)
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    with pytest.raises(BadFileError, match="is altered: its SHA-256"):
        data.map("obs_map", "test", 0, freq=100)
    with pytest.raises(StaleError, match="is altered"):
        data.path("obs_map", "test", 0, freq=100)
    assert calling("sims", copy.parent, *whole_sky, "seed=7", "resume=restart") == 0
    with pytest.raises(StaleError, match="'clean ilc_pixel_test_sim0000' is stale"):
        data.map("cleaned_map", "test", 0, method="ilc_pixel")
