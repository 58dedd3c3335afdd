"""Cleaning real maps through the program: their units, orderings, resolutions and frames, and what may be wrong."""

from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from outcomes import refused

from cmbml.sky.beams import gaussian_window

Outcome = Callable[..., "Outcome"]
NSIDE, LMAX, FWHM = 16, 20, 400.0
PLAIN = ("method=ilc_pixel", "method.zone_edges_deg=[]")
# Channel: frequency, beam, nside, ordering, unit, and what a uK_CMB is in it.
FILES = {
    "low": (30.0, 300.0, 16, "RING", "mK_CMB", 1e-3),
    "mid": (143.0, 240.0, 32, "NESTED", "Kcmb", 1e-6),
    "high": (545.0, 200.0, 8, "NESTED", "MJy/sr", 58.04e-6),
}


@pytest.fixture(scope="module")
def sky() -> dict[str, np.ndarray]:
    """Return the coefficients of a CMB and of two foregrounds."""
    rng = np.random.default_rng(12)
    ell, _ = hp.Alm.getlm(LMAX)
    draws = [rng.standard_normal((2, ell.size)) for _ in range(3)]
    alms = [np.where(ell > 1, real + 1j * imaginary, 0) for real, imaginary in draws]
    for alm in alms:
        alm[: LMAX + 1] = alm[: LMAX + 1].real
    return dict(zip(("cmb", "falling", "rising"), (alms[0], 20 * alms[1], 20 * alms[2]), strict=True))


def seen(sky: dict[str, np.ndarray], name: str, nside: int) -> np.ndarray:
    """Return what a channel sees, uK_CMB."""
    freq, fwhm, *_ = FILES[name]
    total = sky["cmb"] + (freq / 143) ** -2 * sky["falling"] + (freq / 143) ** 2 * sky["rising"]
    return hp.alm2map(hp.almxfl(total, gaussian_window(fwhm, LMAX)), nside)


@pytest.fixture
def folder(tmp_path: Path, sky: dict[str, np.ndarray]) -> Path:
    """Write the maps as a mission might, no two alike; the wanted column is not the first everywhere."""
    (tmp_path / "maps").mkdir()
    for name, (_, _, nside, ordering, unit, scale) in FILES.items():
        values = scale * seen(sky, name, nside)
        columns = [values, 0 * values] if name != "mid" else [0 * values, values]
        nest = ordering == "NESTED"
        columns = [hp.reorder(column, r2n=True) if nest else column for column in columns]
        path = tmp_path / "maps" / f"{name}.fits"
        hp.write_map(path, columns, nest=nest, dtype=np.float64, column_units=unit, coord="G")
    return tmp_path / "maps"


@pytest.fixture
def clean(command: Callable[..., Outcome], folder: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """Return what cleans the maps: the config of a mission, with these in place of its own."""
    entries = {
        name: f"{{file: {name}.fits, freq_ghz: {freq}, fwhm_arcmin: {fwhm}, columns: [{int(name == 'mid')}]}}"
        for name, (freq, fwhm, *_) in FILES.items()
    }
    missions = ["30", "44", "70", "100", "143", "217", "353", "545", "857"]
    words = [
        *("dataset=real", "method.channels=[low,mid,high]", f"method.fwhm_arcmin={FWHM}"),
        *("observations=planck", f"observed.folder={folder}", "runner.threads=1"),
        *(f"observed.nside={NSIDE}", f"observed.lmax={LMAX}"),
        *(f"~observed.maps.{name}" for name in missions),
        *(f"+observed.maps.{name}={entry}" for name, entry in entries.items()),
        "+observed.maps.high.mjy_per_k=58.04",
    ]

    def run(*more: str) -> Outcome:
        method = () if any(word.startswith("method=") for word in more) else PLAIN
        return command("clean", tmp_path / "out", *words, *method, *more)

    return run


def result(tmp_path: Path) -> tuple[np.ndarray, dict[str, object]]:
    values, header = hp.read_map(
        tmp_path / "out/real/clean/ilc_pixel/observed/sim0000/cleaned_map.fits", h=True, dtype=None
    )
    return values, dict(header)


def test_maps_of_all_kinds_become_one_cmb(
    clean: Callable[..., Outcome], sky: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Three channels, two foregrounds, no noise: what is left is the CMB, but for chance correlations."""
    outcome = clean()
    assert (outcome.status, outcome.err) == (0, "")
    values, header = result(tmp_path)
    assert (header["TUNIT1"], header["NSIDE"], header["LMAX"], header["FWHM"]) == ("uK_CMB", NSIDE, LMAX, FWHM)
    truth = hp.alm2map(hp.almxfl(sky["cmb"], gaussian_window(FWHM, LMAX)), NSIDE)
    assert np.std(values - truth) < 0.1 * truth.std()
    assert not list((tmp_path / "out/real").rglob("*.part*"))


def test_same_maps_in_one_form_give_the_same(
    clean: Callable[..., Outcome], folder: Path, sky: dict[str, np.ndarray], tmp_path: Path
) -> None:
    clean()
    mixed, _ = result(tmp_path)
    for name in FILES:
        columns = [0 * seen(sky, name, NSIDE), seen(sky, name, NSIDE)]
        columns = columns if name == "mid" else columns[::-1]
        hp.write_map(folder / f"{name}.fits", columns, dtype=np.float64, column_units="uK_CMB", overwrite=True)
    assert "2 units of work to do" in clean().out, "what the files hold counts"
    plain, _ = result(tmp_path)
    np.testing.assert_allclose(plain, mixed, atol=2e-2 * plain.std())


def test_nothing_is_cleaned_twice(clean: Callable[..., Outcome]) -> None:
    assert "2 units of work to do" in clean().out
    assert "nothing to do: all 2 units" in clean().out


def test_map_weights_and_spectrum_are_drawn_over_a_theory(
    clean: Callable[..., Outcome], command: Callable[..., Outcome], sky: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Without noise, the spectrum is that of this very sky, as far as a cut of 10 degrees lets one say."""
    ell = np.arange(LMAX + 1)
    own = hp.alm2cl(sky["cmb"]) * ell * (ell + 1) / (2 * np.pi)
    theory = tmp_path / "theory.txt"
    np.savetxt(theory, np.column_stack([ell, own])[2:], header="L TT")
    words = (f"observed.pictures.theory={theory}", "observed.pictures.cut_deg=10", "observed.pictures.bin_width=6")
    assert (clean(*words).status, clean(*words).err) == (0, "")
    folder = tmp_path / "out/real/pictures/ilc_pixel/observed/sim0000"
    for name in ("observed_map", "observed_spectrum_figure", "weights_figure"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
    found = Table.read(folder / "observed_spectrum.ecsv")
    assert list(found["l_low"]) == [2, 8, 14]
    # The cut of 17 % of the sky leaves a scatter of sqrt(0.17) or so of each bin's cosmic variance, a tenth of it.
    np.testing.assert_allclose(found["d_ell"], found["d_theory"], rtol=0.25)
    weights = Table.read(tmp_path / "out/real/clean/ilc_pixel/observed/sim0000/channel_weights.ecsv")
    assert sorted(weights["channel"]) == sorted(FILES)
    assert sum(weights["mean"]) == pytest.approx(1, abs=1e-9)
    refused(command("analysis", tmp_path / "out", "dataset=real", "methods=[ilc_pixel]"), "nobody knows the truth")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("observed.pictures.mask=/nowhere/mask.fits", ["observed.pictures.mask=/nowhere/mask.fits", "no such file"]),
        ("observed.pictures.theory=/nowhere/cl.txt", ["observed.pictures.theory=/nowhere/cl.txt", "not found"]),
    ],
)
def test_mask_or_theory_that_is_not_there(override: str, words: list[str], clean: Callable[..., Outcome]) -> None:
    refused(clean(override), *words)


def test_theory_that_is_no_list_of_multipoles(clean: Callable[..., Outcome], tmp_path: Path) -> None:
    np.savetxt(tmp_path / "cl.txt", [[2.5, 1.0], [3.5, 2.0]])
    refused(clean(f"observed.pictures.theory={tmp_path / 'cl.txt'}"), "count multipoles one by one")


def test_result_in_another_frame(clean: Callable[..., Outcome], tmp_path: Path) -> None:
    clean()
    galactic, _ = result(tmp_path)
    assert clean("observed.frame=E").status == 0
    ecliptic, header = result(tmp_path)
    assert header["COORDSYS"] == "E"
    turned = hp.Rotator(coord=["E", "G"]).rotate_map_alms(ecliptic.astype(float), lmax=LMAX, use_pixel_weights=False)
    np.testing.assert_allclose(turned, galactic, atol=2e-2 * galactic.std())


def test_window_of_pixels_is_taken_out(
    clean: Callable[..., Outcome], folder: Path, sky: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Each map loses what the pixels of its own resolution have done to it."""
    (tmp_path / "windows").mkdir()
    windows = {nside: gaussian_window(4000.0 / nside, 4 * nside) for nside in (8, 16, 32)}
    for nside, window in windows.items():
        columns = [fits.Column(name=name, format="D", array=window) for name in ("TEMPERATURE", "POLARIZATION")]
        fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "windows" / f"pixel_window_n{nside:04d}.fits")
    clean()
    plain, _ = result(tmp_path)
    for name, (_, _, nside, ordering, unit, scale) in FILES.items():
        alm = hp.map2alm(scale * seen(sky, name, nside), lmax=LMAX, iter=20)
        values = hp.alm2map(hp.almxfl(alm, windows[nside]), nside)
        columns = [0 * values, values] if name == "mid" else [values, 0 * values]
        nest = ordering == "NESTED"
        columns = [hp.reorder(column, r2n=True) if nest else column for column in columns]
        path = folder / f"{name}.fits"
        hp.write_map(path, columns, nest=nest, dtype=np.float64, column_units=unit, overwrite=True)
    assert clean(f"observed.pixel_windows={tmp_path / 'windows'}").status == 0
    np.testing.assert_allclose(result(tmp_path)[0], plain, atol=0.05 * plain.std())


def test_unit_that_the_header_lacks_can_be_given(clean: Callable[..., Outcome], folder: Path) -> None:
    fits.setval(folder / "low.fits", "TUNIT1", value="", ext=1)
    refused(clean(), "channel low", "unit ''", "observed.maps.low.unit")
    assert clean("+observed.maps.low.unit=mK_CMB").status == 0


def test_brightness_needs_the_band(clean: Callable[..., Outcome]) -> None:
    refused(clean("observed.maps.high.mjy_per_k=null"), "channel high", "'MJy/sr'", "observed.maps.high", "mjy_per_k")


def test_channel_that_was_left_out(clean: Callable[..., Outcome]) -> None:
    refused(clean("~observed.maps.low"), "no channel 'low'")


def test_method_that_needs_the_truth(command: Callable[..., Outcome], folder: Path, tmp_path: Path) -> None:
    outcome = command("clean", tmp_path, "method=control_truth", "observations=wmap", f"observed.folder={folder}")
    refused(outcome, "control_truth needs the truth, which nobody knows of observed maps")


# What is known of the noise


@pytest.mark.parametrize("told", ["noise_std=nowhere.fits", "depth_uk_arcmin=260"])
def test_noise_of_wmap_can_be_told(command: Callable[..., Outcome], tmp_path: Path, told: str) -> None:
    """What is said of one band's noise is a key of the config; the maps are looked for next."""
    words = ("method=nilc", "method.channels=[K,Ka,Q,V,W]", "method.fwhm_arcmin=60", "observations=wmap")
    outcome = command("clean", tmp_path, *words, f"observed.folder={tmp_path}", f"observed.maps.K.{told}")
    refused(outcome, "the map of channel K", "is not there")


# So much that it is most of the error bars.
NOISE_UK = {"low": 300.0, "mid": 500.0, "high": 4000.0}
BLIND = ("method=hilc",)


def depth(name: str, nside: int = NSIDE) -> float:
    """Return the depth of white noise of that much in a pixel."""
    return NOISE_UK[name] * np.sqrt(4 * np.pi / (12 * nside**2)) * 10800 / np.pi


def known(how: str, folder: Path, only: tuple[str, ...] = tuple(NOISE_UK)) -> list[str]:
    """Say the noise of channels in one of the ways, all of which mean the same."""
    words, rng = [], np.random.default_rng(5)
    for name in only:
        *_, nside, ordering, unit, scale = FILES[name]
        n_pix, place = 12 * nside**2, f"+observed.maps.{name}"
        more = {"nest": ordering == "NESTED", "dtype": np.float64, "column_units": unit, "overwrite": True}
        column = int(name == "mid")
        if how == "depth":
            words.append(f"{place}.depth_uk_arcmin={depth(name, nside)}")
        elif how == "std":
            hp.write_map(folder / f"{name}_std.fits", np.full(n_pix, scale * NOISE_UK[name]), **more)
            words.append(f"{place}.noise_std={name}_std.fits")
        else:
            with fits.open(folder / f"{name}.fits") as hdus:
                sky = hdus[1].data.field(column).ravel()
            noise = scale * NOISE_UK[name] * rng.standard_normal(n_pix)
            for half, sign in (("a", 1), ("b", -1)):
                columns = [sky + sign * noise] * 2
                hp.write_map(folder / f"{name}_{half}.fits", columns, **more)
            words.append(f"{place}.halves=[{name}_a.fits,{name}_b.fits]")
    return words


def uncertainty(tmp_path: Path) -> Path:
    return tmp_path / "out/real/clean/hilc/observed/sim0000/uncertainty_map.fits"


def test_no_error_bars_without_the_noise(clean: Callable[..., Outcome], folder: Path, tmp_path: Path) -> None:
    """An uncertainty of 1e-6 uK, or one without noise, is none."""
    outcome = clean(*BLIND)
    assert (outcome.status, outcome.err) == (0, "")
    said = "hilc gets no uncertainty map: nothing is known of the noise of channel low, mid, high"
    assert said in outcome.out
    assert not uncertainty(tmp_path).exists()
    outcome = clean(*BLIND, *known("depth", folder, ("low", "high")))
    assert "nothing is known of the noise of channel mid; give depth_uk_arcmin" in outcome.out
    assert not uncertainty(tmp_path).exists()
    outcome = clean(*BLIND, *known("depth", folder))
    assert "no uncertainty map" not in outcome.out
    assert uncertainty(tmp_path).exists()


def test_noise_may_be_said_in_three_ways(clean: Callable[..., Outcome], folder: Path, tmp_path: Path) -> None:
    found = {}
    for how in ("depth", "std", "halves"):
        outcome = clean(*BLIND, *known(how, folder))
        assert (outcome.status, outcome.err) == (0, "")
        found[how] = hp.read_map(uncertainty(tmp_path)).mean()
    assert 100 < found["depth"] < NOISE_UK["high"]
    assert found["std"] == pytest.approx(found["depth"], rel=1e-4)
    # Half the difference of the least map has 768 pixels.
    assert found["halves"] == pytest.approx(found["depth"], rel=0.1)


def test_noise_map_that_changed_is_looked_at_again(clean: Callable[..., Outcome], folder: Path) -> None:
    words = known("std", folder)
    assert clean(*BLIND, *words).status == 0
    hp.write_map(folder / "low_std.fits", np.full(3072, 9e-3), dtype=float, column_units="mK_CMB", overwrite=True)
    assert "2 units of work to do" in clean(*BLIND, *words).out


def test_templates_are_not_averaged_by_noise_that_nobody_knows(clean: Callable[..., Outcome], folder: Path) -> None:
    words = (
        *(
            "method=template_fit",
            "method.templates=[[low,high]]",
            "method.cleaned=[low,mid]",
            "method.beam_criterion=0.001",
        ),
    )
    refused(clean(*words), "averages the channels of method.cleaned by their noise", "low, mid", "depth_uk_arcmin")
    assert clean(*words, *known("depth", folder)).status == 0
    assert clean(*words, "method.cleaned=[mid]").status == 0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["+observed.maps.low.noise_std=none.fits"], ["none.fits, is not there", "observed.maps.low"]),
        (
            ["+observed.maps.low.noise_std=mid.fits", "+observed.maps.low.depth_uk_arcmin=5"],
            ["observed.maps.low says its noise by depth_uk_arcmin and by noise_std; keep one"],
        ),
        (["+observed.maps.low.depth_p_uk_arcmin=5"], ["low.depth_p_uk_arcmin needs depth_uk_arcmin"]),
        (["+observed.maps.low.noise_std=high.fits"], ["high.fits", "unit 'MJy/sr'"]),
        (["+observed.maps.low.noise_std=low.fits"], ["low.fits: a standard deviation is -", "cannot be negative"]),
    ],
)
def test_noise_that_cannot_be(overrides: list[str], words: list[str], clean: Callable[..., Outcome]) -> None:
    refused(clean(*BLIND, *overrides), *words)


# What a header says, and the numbers do not


def test_frame_is_what_the_header_says(clean: Callable[..., Outcome], folder: Path, tmp_path: Path) -> None:
    clean()
    galactic, _ = result(tmp_path)
    for name in FILES:
        _, _, nside, ordering, unit, _ = FILES[name]
        values = hp.read_map(folder / f"{name}.fits", field=int(name == "mid"))
        alm = hp.map2alm(values, lmax=LMAX, iter=20)
        hp.Rotator(coord=["G", "C"]).rotate_alm(alm, inplace=True)
        turned = hp.alm2map(alm, nside)
        nest = ordering == "NESTED"
        columns = [hp.reorder(turned, r2n=True) if nest else turned] * 2
        more = {"dtype": np.float64, "column_units": unit, "coord": "C", "overwrite": True}
        hp.write_map(folder / f"{name}.fits", columns, nest=nest, **more)
    assert clean().status == 0
    found, header = result(tmp_path)
    assert header["COORDSYS"] == "G"
    np.testing.assert_allclose(found, galactic, atol=2e-2 * galactic.std())
    outcome = clean("+observed.maps.low.frame=G")
    refused(outcome, "low.fits says COORDSYS=C, and observed.maps.low.frame=G", "set observed.maps.low.frame=C")


def test_microkelvin_called_kelvin(clean: Callable[..., Outcome], folder: Path) -> None:
    fits.setval(folder / "low.fits", "TUNIT1", value="nK_CMB", ext=1)
    refused(clean(), "taken as nK_CMB", "rms of I at |b| > 30", "set observed.maps.low.unit")
    fits.setval(folder / "low.fits", "TUNIT1", value="K_CMB", ext=1)
    refused(clean(), "taken as K_CMB", "between 1 and 30000", "set observed.maps.low.unit")


def test_beam_in_another_unit(clean: Callable[..., Outcome]) -> None:
    refused(clean("observed.maps.low.fwhm_arcmin=1e6"), "observed.maps.low.fwhm_arcmin=1e+06 arcmin is wider than 1800")


BAD_FILES = {
    "missing": (lambda path: path.unlink(), ["low.fits, is not there", "observed.folder"]),
    "no FITS": (lambda path: path.write_text("x"), ["low.fits", "cannot be read"]),
    "no ordering": (lambda path: fits.delval(path, "ORDERING", ext=1), ["low.fits", "ORDERING"]),
    "unknown unit": (lambda path: fits.setval(path, "TUNIT1", value="K_RJ", ext=1), ["'K_RJ'", "MJy/sr"]),
    "NaN": (lambda path: _spoil(path), ["low.fits: 1 of 3072 pixel values are NaN"]),
}


def _spoil(path: Path) -> None:
    with fits.open(path, mode="update") as file:
        file[1].data.field(0)[0, 0] = np.nan


@pytest.mark.parametrize("fault", BAD_FILES)
def test_file_that_cannot_be_used(fault: str, clean: Callable[..., Outcome], folder: Path) -> None:
    spoil, words = BAD_FILES[fault]
    spoil(folder / "low.fits")
    refused(clean(), *words)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("observed.lmax=24", ["channel high has nside 8, which holds multipoles up to 23", "observed.lmax=24"]),
        (
            "observed.maps.low.columns=[5]",
            ["low.fits", "it has no column 5, but", "observed.maps.low.unit, .mjy_per_k and .columns"],
        ),
        ("observed.maps.low.columns=[0,1]", ["fields I need 1 column"]),
        ("observed.fields=IQU", ["fields IQU need 3 columns"]),
        ("+observed.maps.low.feild=0", ["observed.maps.low.feild: unknown key"]),
        ("observed.maps.low.fwhm_arcmin=-1", ["observed.maps.low.fwhm_arcmin", "greater than or equal to 0"]),
        ("observed.nside=15", ["observed.nside", "power of two"]),
        ("observations=plank", ["did you mean 'planck'?"]),
    ],
)
def test_setting_that_cannot_be_met(override: str, words: list[str], clean: Callable[..., Outcome]) -> None:
    refused(clean(override), *words)


def test_configs_name_one_file_for_each_channel() -> None:
    for path in (Path(__file__).parents[2] / "cfg" / "observations").glob("*.yaml"):
        maps = yaml.safe_load(path.read_text())["observed"]["maps"]
        files = [file for entry in maps.values() for file in entry.get("halves", [entry.get("file")])]
        assert len(set(files)) == len(files) >= len(maps) >= 5
