"""A dataset that somebody else made, in the layout of a downloaded CMB-ML dataset, in place of our own."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from outcomes import refused

from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import filter_components, random_alm, synthesise

NSIDE, LMAX = 8, 23
FWHM = {"100": 43.0, "143": 32.4}
FOREGROUND = {"100": 500.0, "143": 300.0}
SIMS = {"Train": 1, "Valid": 1, "Test": 2}
UNITS = {"K_CMB": 1e-6, "uK_CMB": 1.0}
Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)


@dataclass(frozen=True)
class Download:
    """A dataset as it is downloaded.

    Attributes:
        folder: where it is.
        alm: path of a simulation -> coefficients of its CMB, uK_CMB.
        maps: path of a file -> its values, uK_CMB, RING.
    """

    folder: Path
    alm: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


def write(path: Path, values: np.ndarray, unit: str, nest: bool) -> None:
    """Write a map, `(n_field, n_pix)` uK_CMB, RING, in another unit and ordering, in double precision."""
    values = values * UNITS[unit]
    if nest:
        values = np.stack([hp.reorder(field, r2n=True) for field in values])
    hp.write_map(path, values, nest=nest, column_units=unit, coord="G", dtype=np.float64, overwrite=True)


def download(folder: Path, unit: str = "K_CMB", nest: bool = False, n_field: int = 1) -> Download:
    """Make a dataset: CMB, a foreground and noise."""
    rng, made = np.random.default_rng(4), Download(folder, {}, {})
    for split, n_sim in SIMS.items():
        for number in range(n_sim):
            place = f"Simulation/{split}/sim{number:04d}"
            (folder / place).mkdir(parents=True)
            alm = 10 * random_alm(rng, LMAX, n_field)
            made.alm[place] = alm
            made.maps[f"{place}/cmb_map_fid.fits"] = synthesise(alm, NSIDE)
            for freq, fwhm in FWHM.items():
                windows = np.stack([gaussian_window(fwhm, LMAX, 2 * (i > 0)) for i in range(n_field)])
                values = synthesise(filter_components(alm, windows), NSIDE)
                values += FOREGROUND[freq] * np.cos(np.arange(values.shape[1])) + rng.standard_normal(values.shape)
                made.maps[f"{place}/obs_{freq}_map.fits"] = values
    for name, values in made.maps.items():
        write(folder / name, values, unit, nest)
    return made


@pytest.fixture(scope="session")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a mask that leaves the plane out."""
    path = tmp_path_factory.mktemp("mask") / "mask.fits"
    latitude = 90 - np.rad2deg(hp.pix2ang(16, np.arange(3072))[0])
    hp.write_map(path, (np.abs(latitude) > 20).astype(float), column_units="", dtype=np.float64)
    return path


@pytest.fixture
def take(command: Command, mask: Path) -> Callable[..., "Outcome"]:  # noqa: F821
    """Return what imports a folder."""

    def run(folder: Path, root: Path, *overrides: str) -> "Outcome":  # noqa: F821
        sizes = [f"scenario.nside={NSIDE}", f"scenario.lmax={LMAX}", "scenario.lmax_scored=16"]
        splits = ["splits.train=1", "splits.valid=1", "splits.test=2", 'scenario.channels=["100","143"]']
        masks = [f"mask.path={mask}", "mask.field=0", "mask.threshold=0.5", "mask.apodisation_arcmin=600"]
        words = ["dataset=theirs", "stages=import", f"import_from={folder}", *sizes, *splits, *masks]
        return command("sims", root, *words, *overrides)

    return run


@pytest.fixture(scope="module")
def kelvin(tmp_path_factory: pytest.TempPathFactory) -> Download:
    """A downloaded dataset in K, RING order."""
    return download(tmp_path_factory.mktemp("download"))


@pytest.fixture
def harmed(kelvin: Download, tmp_path: Path) -> Path:
    """Copy the downloaded dataset, to be harmed; return its folder."""
    return Path(shutil.copytree(kelvin.folder, tmp_path / "download"))


OURS = {"cmb_map_fid": "cmb_map", "obs_100_map": "obs_map_100", "obs_143_map": "obs_map_143"}


def imported(root: Path, name: str) -> Path:
    """Return where a file of the download has become ours."""
    _, split, sim, file = Path(name).with_suffix("").parts
    return root / "theirs" / "import" / split.lower() / sim / f"{OURS[file]}.fits"


@pytest.mark.parametrize(
    ("unit", "nest", "n_field"), [("K_CMB", False, 1), ("K_CMB", True, 1), ("uK_CMB", True, 1), ("K_CMB", True, 3)]
)
def test_maps_come_in_right(take: Command, tmp_path: Path, unit: str, nest: bool, n_field: int) -> None:
    made = download(tmp_path / "download", unit, nest, n_field)
    fields = "IQU"[:n_field] if n_field == 3 else "I"
    outcome = take(made.folder, tmp_path, f"scenario.fields={fields}")
    assert outcome.err == ""
    assert "5 units of work to do" in outcome.out
    for name, expected in made.maps.items():
        path = imported(tmp_path, name)
        found = np.atleast_2d(hp.read_map(path, field=None, dtype=None))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
        header = fits.getheader(path, 1)
        freq = path.stem.removeprefix("obs_map_")
        assert (header["ORDERING"], header["NSIDE"], header["TUNIT1"]) == ("RING", NSIDE, "uK_CMB")
        assert (header["COORDSYS"], header["LMAX"], header["PIXWIN"]) == ("G", LMAX, False)
        assert (header["BEAMTYPE"], header["FWHM"]) == (("gaussian", FWHM[freq]) if freq in FWHM else ("none", 0))
        assert header["TFORM1"].endswith("E")


@pytest.mark.parametrize("n_field", [1, 3])
def test_truth_comes_in_as_coefficients_too(take: Command, tmp_path: Path, n_field: int) -> None:
    made = download(tmp_path / "download", n_field=n_field)
    assert take(made.folder, tmp_path, f"scenario.fields={'IQU'[:n_field]}").status == 0
    for place, expected in made.alm.items():
        _, split, sim = Path(place).parts
        found = np.load(tmp_path / "theirs" / "import" / split.lower() / sim / "cmb_alm.npy")
        assert found.dtype == np.complex64
        assert found.shape == expected.shape
        # l = 0, 1 of E and B are no part of a map.
        keep = np.stack([np.arange(LMAX + 1) >= (0 if i == 0 else 2) for i in range(n_field)])
        expected = filter_components(expected, keep)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(filter_components(found, keep), expected, atol=1e-3 * scale)
        values = made.maps[f"{place}/cmb_map_fid.fits"]
        np.testing.assert_allclose(synthesise(found, NSIDE), values, atol=1e-4 * values.std())


def test_imported_dataset_is_cleaned_and_compared_like_our_own(
    take: Command, command: Command, scoring: tuple[str, ...], kelvin: Download, tmp_path: Path
) -> None:
    """The truth scores zero; the pair of channels beats one of them; a map that is far off its own floor does not."""
    assert take(kelvin.folder, tmp_path).status == 0
    ilc = ("method=ilc_pixel", 'method.channels=["100","143"]', "method.zone_edges_deg=[]")
    for words in (("method=control_truth",), ("method=control_channel",), ilc):
        outcome = command("clean", tmp_path, "dataset=theirs", *words)
        assert (outcome.status, outcome.err) == (0, "")
    methods = "methods=[control_truth,control_channel,ilc_pixel]"
    outcome = command("analysis", tmp_path, "dataset=theirs", methods, *scoring)
    assert (outcome.status, outcome.err) == (0, "")
    table = Table.read(tmp_path / "theirs" / "summary" / "test" / "summary.ecsv")
    chosen = table[(table["metric"] == "nrmse") & (table["region"] == "mask") & (table["footing"] == "60 arcmin")]
    nrmse = {row["method"]: row["mean"] for row in chosen}
    assert nrmse["control_truth"] < 1e-5
    assert 1e-3 < nrmse["ilc_pixel"] < 0.1 * nrmse["control_channel"]
    # Nobody knows what theory the truth was drawn from.
    scores = Table.read(tmp_path / "theirs" / "power_spectra" / "ilc_pixel" / "test" / "sim0000" / "spectra_scores.csv")
    assert np.isnan(scores["d_theory"]).all()
    assert np.isfinite(scores["transfer"]).all()


def test_changed_download_is_imported_again(take: Command, harmed: Path, tmp_path: Path) -> None:
    assert take(harmed, tmp_path).status == 0
    assert "nothing to do: all 5 units" in take(harmed, tmp_path).out
    other = np.where(np.arange(768) % 2, 100.0, -100.0)
    write(harmed / "Simulation/Test/sim0001/obs_100_map.fits", other[None], "K_CMB", nest=False)
    assert "1 unit of work to do; 4 were done before" in take(harmed, tmp_path).out
    found = hp.read_map(tmp_path / "theirs/import/test/sim0001/obs_map_100.fits")
    np.testing.assert_allclose(found, other, rtol=1e-6)


# What may be wrong with it

TRUTH = "Simulation/Test/sim0000/cmb_map_fid.fits"
OBSERVED = "Simulation/Test/sim0001/obs_143_map.fits"


def harm(path: Path, how: str) -> None:
    """Spoil a map."""
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-2880])
    elif how == "cut in the header":
        path.write_bytes(path.read_bytes()[:3000])
    elif how == "words":
        path.write_text("this is no map\n")
    elif how == "wrong nside":
        write(path, np.ones((1, 12 * 16**2)), "K_CMB", nest=False)
    elif how == "part of the sky":
        columns = [fits.Column(name="T", array=np.ones(700), format="D", unit="K_CMB")]
        fits.BinTableHDU.from_columns(columns, header=fits.Header({"ORDERING": "RING"})).writeto(path, overwrite=True)
    else:
        with fits.open(path, mode="update") as hdus:
            if how == "no ordering":
                del hdus[1].header["ORDERING"]
            elif how == "brightness":
                hdus[1].header["TUNIT1"] = "MJy/sr"
            elif how == "equatorial":
                hdus[1].header["COORDSYS"] = "C"
            elif how == "microkelvin called kelvin":
                hdus[1].data.field(0)[:] *= 1e6
            elif how == "kelvin called microkelvin":
                hdus[1].header["TUNIT1"] = "uK_CMB"
            elif how == "no unit":
                del hdus[1].header["TUNIT1"]
            else:
                hdus[1].data.field(0)[:2] = {"NaN": np.nan, "UNSEEN": hp.UNSEEN, "infinite": np.inf}[how]


HARMS = {
    "truncated": ["cannot be read as a HEALPix map", "truncated"],
    "cut in the header": ["cannot be read as a HEALPix map"],
    "words": ["cannot be read as a HEALPix map"],
    "wrong nside": ["has nside 16, and the scenario says 8; set scenario.nside=16"],
    "part of the sky": ["has 700 pixels, which is no full HEALPix map"],
    "no ordering": ["does not say in ORDERING whether its pixels are RING or NESTED"],
    "brightness": ["unit 'MJy/sr' is not known to be a thermodynamic temperature", "K_CMB"],
    "equatorial": ["says COORDSYS=C, and a dataset is in Galactic coordinates", "rotate its maps to G first"],
    "microkelvin called kelvin": ["taken as K_CMB", "the rms of I at |b| > 30 degrees is", "set stages.import.unit"],
    "kelvin called microkelvin": ["taken as uK_CMB", "has between 1 and 30000", "set stages.import.unit"],
    "no unit": ["unit '' is not known to be a thermodynamic temperature"],
    "NaN": ["NaN, infinite or UNSEEN; fill or mask them first"],
    "UNSEEN": ["NaN, infinite or UNSEEN; fill or mask them first"],
    "infinite": ["NaN, infinite or UNSEEN; fill or mask them first"],
}


@pytest.mark.parametrize(
    ("how", "words", "place"),
    [(how, words, (TRUTH, OBSERVED)[i % 2]) for i, (how, words) in enumerate(HARMS.items())],
    ids=list(HARMS),
)
@pytest.mark.filterwarnings("ignore:Error validating header")
def test_bad_map(
    take: Command,
    half_written: Callable[[Path], list[str]],
    harmed: Path,
    tmp_path: Path,
    how: str,
    words: list[str],
    place: str,
) -> None:
    harm(harmed / place, how)
    refused(take(harmed, tmp_path), *words, str(harmed / place))
    assert not half_written(tmp_path)


def test_unit_that_the_header_lacks_may_be_given(take: Command, harmed: Path, kelvin: Download, tmp_path: Path) -> None:
    for path in harmed.rglob("*.fits"):
        harm(path, "no unit")
    assert take(harmed, tmp_path, "stages.import.unit=K_CMB").status == 0
    np.testing.assert_allclose(hp.read_map(imported(tmp_path, TRUTH)), kelvin.maps[TRUTH][0], atol=1e-4)


@pytest.mark.parametrize("plan_only", [True, False])
def test_missing_files_are_told_before_work(take: Command, harmed: Path, tmp_path: Path, plan_only: bool) -> None:
    (harmed / TRUTH).unlink()
    (harmed / OBSERVED).unlink()
    outcome = take(harmed, tmp_path, f"plan_only={plan_only}".lower())
    refused(outcome, "2 of 12 files are missing", str(harmed / OBSERVED), "check import_from and splits")
    assert not list(tmp_path.rglob("theirs/import"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["import_from=/nowhere"], ["12 of 12 files are missing", "/nowhere/Simulation/Train/sim0000"]),
        (["splits.test=3"], ["3 of 15 files are missing", "Test/sim0002", "check import_from and splits"]),
        (["+splits.other=1"], ["Simulation/other/sim0000"]),
        (["scenario.lmax=24"], ["scenario.lmax=24 is too high for nside=8"]),
        (["scenario.fields=IQU"], ["cmb_map_fid.fits", "it has no column 1, but T, counted from 0"]),
        (["stages.import.unit=apples"], ["unit 'apples'", "allowed are uK_CMB"]),
        (
            ["stages.import.truth='{split}/{simulation}.fits'"],
            ["'{split}/{simulation}.fits' cannot be filled in", "{sim}"],
        ),
        (["import_from=null"], ["import"]),
    ],
)
def test_bad_setting(take: Command, kelvin: Download, tmp_path: Path, overrides: list[str], words: list[str]) -> None:
    refused(take(kelvin.folder, tmp_path, *overrides), *words)
