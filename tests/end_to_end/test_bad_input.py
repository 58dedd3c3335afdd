"""What a user may get wrong: each is one clear message that names the thing and the mend, and nothing half-written."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from outcomes import as_if_written

PROJECT = Path(__file__).resolve().parents[2]
Program = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)

# Overrides, and words that the message must hold: what was wrong, and what to do about it.
SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "misspelt key": (["scenaro.nside=32"], ["scenaro.nside", "did you mean 'scenario.nside'?"]),
    "misspelt nested key": (["scenario.nsid=32"], ["scenario.nsid", "did you mean 'scenario.nside'?"]),
    "misspelt key of a channel": (
        ["+instrument.channels.100.fhwm_arcmin=10"],
        ["instrument.channels.100.fhwm_arcmin: unknown key", "did you mean 'fwhm_arcmin'?"],
    ),
    "misspelt key of a component": (
        ["+sky.radio_sources.indx=1"],
        ["sky.radio_sources.indx: unknown key, did you mean 'index'?"],
    ),
    "added key that nobody knows": (["+noise.colour=red"], ["noise.colour: unknown key", "knee_scatter"]),
    "added key at the top": (
        ["+scenaro.nside=8"],
        ["'+scenaro.nside' adds a key that nothing reads", "scenario.nside"],
    ),
    "added key of the scenario": (["+scenario.nsid=8"], ["'+scenario.nsid' adds", "did you mean 'scenario.nside'?"]),
    "misspelt option": (["noise=corelated"], ["noise=corelated", "did you mean 'correlated'?", "white"]),
    "misspelt scenario": (["scenario=nside46"], ["scenario=nside46", "did you mean 'nside64'?"]),
    "key without value": (["seed"], ["'seed' is no override; write KEY=VALUE"]),
    "nonsense": (["a=b=c"], ["a=b=c", "mismatched input"]),
    "group without option": (["splits=null"], ["splits=null"]),
    "added key of nothing": (
        ["+foo.bar=1"],
        ["'+foo.bar' adds a key that nothing reads", "allowed are: system, assets,"],
    ),
    "key that is like no other": (["foo=1"], ["'foo' is no key of the config; allowed are: system, assets,"]),
    "key one level off": (
        ["instrument.channels.100.fwhm=3"],
        ["is no key of the config", "did you mean 'instrument.channels.100.fwhm_arcmin'?"],
    ),
    "letter from beyond ASCII": (["dataset=méthode"], ["dataset=méthode: é cannot stand there", "in quotes"]),
    "word for a number": (["scenario.nside=many"], ["scenario.nside", "integer", "'many'"]),
    "fraction for a whole number": (["scenario.nside=8.5"], ["scenario.nside", "fractional part", "8.5"]),
    "word for a frequency": (["instrument.channels.100.freq_ghz=high"], ["instrument.channels.100.freq_ghz", "'high'"]),
    "nside that is no power of two": (["scenario.nside=100"], ["scenario.nside", "100", "nearest are 64 and 128"]),
    "negative beam": (["instrument.channels.100.fwhm_arcmin=-5"], ["100.fwhm_arcmin", "greater than or equal to 0"]),
    "impossible Hubble constant": (["cosmology.h0=-5"], ["cosmology.h0", "greater than or equal to 20"]),
    "fields": (["scenario.fields=QU"], ["scenario.fields", "'I' or 'IQU'", "'QU'"]),
    "channel that the instrument lacks": (
        ['scenario.channels=["100","144"]'],
        ["scenario.channels", "no channel '144'", "did you mean '44'?"],
    ),
    "lmax too high": (["scenario.lmax=24"], ["scenario.lmax=24 is too high for nside=8", "at most 3 nside - 1 = 23"]),
    "sky coarser than the dataset": (["scenario.nside=16"], ["scenario.nside_sky=8 is below nside=16"]),
    "no channel": (["scenario.channels=[]"], ["scenario.channels=[]: name at least one channel"]),
    "channel twice": (['scenario.channels=["100","100"]'], ["scenario.channels=[100,100]", "each once"]),
    "more simulations than can be planned": (["splits.train=100000000000"], ["splits.train", "at most 1,000,000"]),
    "dataset of a blank": (["dataset=' '"], ["dataset= : it is no name of a folder"]),
    "two datasets": (["dataset=[a,b]"], ["dataset=['a', 'b']: it is no name of a folder"]),
    "dataset of a long name": ([f"dataset={'x' * 300}"], ["it is no name of a folder", "at most 200 characters"]),
    "neither true nor false": (["plan_only=maybe"], ["plan_only=maybe: true or false is needed"]),
    "number for a switch": (["fetch_only=2"], ["fetch_only=2: true or false is needed"]),
    "dataset elsewhere": (["dataset=../../x"], ["dataset=../../x: it is a folder below system.root"]),
    "dataset with a path of its own": (["dataset=/x"], ["dataset=/x: it is a folder below system.root"]),
    "key of a channel without its unit": (
        ["+instrument.channels.100.fwhm=5"],
        ["instrument.channels.100.fwhm: unknown key, did you mean 'fwhm_arcmin'?"],
    ),
    "no simulation": (["splits.train=0"], ["no simulation in any split", "splits.train=3"]),
    "negative number of simulations": (["splits.train=-1"], ["splits.train", "greater than or equal to 0", "-1"]),
    "name of a split": (["+splits.my_split=1"], ["splits.my_split", "letters and digits only"]),
    "misspelt key of a split": (
        ["+splits.other={sims: 1, skyy: main}"],
        ["splits.other.skyy: unknown key, did you mean 'sky'?"],
    ),
    "split with an unknown sky": (["+splits.other={sims: 1, model: mian}"], ["sky 'mian'", "did you mean 'main'?"]),
    "sky that is named where it is counted": (
        ["+splits.other={sims: 1, sky: main}"],
        ["splits.other.sky", "each, shared or a number", "model=main"],
    ),
    "name of a sky with a mark": (["+splits.other={sims: 1, model: a_b}"], ["splits.other.model=a_b", "letters"]),
    "no sky": (["vary=0"], ["vary=0", "each, shared, or a number"]),
    "sky that does not vary": (["vary=each", "sky.variety=null"], ["sky.variety=null", "vary=shared"]),
    "too many splits": ([f"+splits.s{i}=1" for i in range(3)], ["6 splits", "stages.cosmology.lanes=6"]),
    "lensing": (["lensing=remapped"], ["lensing", "'none', 'spectra' or 'remap'", "'remapped'"]),
    "resume": (["resume=refresh"], ["resume=refresh", "did you mean 'fresh'?"]),
    "negative seed": (["seed=-1"], ["seed=-1", "zero or more"]),
    "seed that is no number": (["seed=abc"], ["seed=abc", "whole number"]),
    "no worker": (["runner=processes", "runner.workers=0"], ["runner.workers", "greater than 0"]),
    "dataset without a name": (["dataset="], ["dataset= must name a folder"]),
    "something that must be given": (["noise=planck"], ["noise.folder: must be given"]),
    "over a split that is not there": (["+stages.cmb.over={split: [tarin]}"], ["cmb: over", "did you mean 'train'?"]),
    "stage left out": (["~stages.noise"], ["'observe' reads 'noise_std_map', which no stage makes", "add the stage"]),
    "stage twice": (["+stages.twin=${stages.cmb}"], ["'cmb_map' is made twice: by 'cmb' and by 'twin'; remove one"]),
    "stage that is none": (["+stages.other={a: 1}"], ["stages.other: its _target_", "Executor"]),
    "class that is not there": (["noise._target_=cmbml.sims.noise.Loud"], ["noise: Error loading", "Loud"]),
    "chain that is not there": (
        ["cosmology=wmap9_chain", "cosmology.folder=/nowhere"],
        ["there is no file /nowhere/H0"],
    ),
    "getdist chain that is not there": (
        ["cosmology=planck_chain", "cosmology.root=/nowhere/chain"],
        ["there is no file /nowhere/chain.paramnames"],
    ),
    "bandpass that is not there": (
        ["instrument.channels.100.bandpass=/nowhere/band.txt"],
        ["raw file /nowhere/band.txt cannot be read", "check the path"],
    ),
    "window that is not there": (
        ["instrument.channels.100.window=/nowhere/bl.txt"],
        ["/nowhere/bl.txt not found", "check the path"],
    ),
    "folder of pixel windows that is not there": (
        ["pixel_windows=/nowhere"],
        ["/nowhere/pixel_window_n0008.fits cannot be read", "check the path"],
    ),
    "Dask scheduler that does not answer": (
        ["runner=dask", "~runner.threads", "runner.address=tcp://127.0.0.1:9", "runner.timeout_s=1"],
        ["scheduler tcp://127.0.0.1:9 does not answer", "check runner.address"],
    ),
}


@pytest.fixture
def refused(program: Program, tmp_path: Path, half_written: Callable[[Path], list[str]]) -> Callable[..., str]:
    """Return what runs the program, makes sure that it ends as it should, and gives its message."""

    def run(*overrides: str, root: Path = tmp_path / "root") -> str:
        outcome = program(*overrides, root=root)
        assert outcome.status == 1
        assert "Traceback" not in outcome.out + outcome.err
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("error: ") == 1
        assert not half_written(root)
        return outcome.err

    return run


def test_stages_of_another_program_are_said_to_be_its(command: Program, tmp_path: Path) -> None:
    outcome = command("sims", tmp_path, "dataset=x", "stages=clean")
    assert outcome.status == 1
    assert outcome.err.startswith("error: stages=clean needs ")
    assert "`over`" in outcome.err
    assert "which main_sims.py does not know: it is for main_clean.py\n" in outcome.err


@pytest.mark.parametrize(("overrides", "words"), SETTINGS.values(), ids=list(SETTINGS))
def test_setting(refused: Callable[..., str], tmp_path: Path, overrides: list[str], words: list[str]) -> None:
    message = refused(*overrides)
    for word in words:
        assert word in message
    passing = {"runs", ".records", ".lock"}
    products = [path for path in (tmp_path / "root").rglob("*.*") if passing.isdisjoint(path.parts)]
    assert not products


def test_several_faults_in_one_message(refused: Callable[..., str]) -> None:
    message = refused("scenario.nside=100", "lensing=remapped", "cosmology.h0=-5")
    assert all(word in message for word in ("scenario.nside: ", "lensing: ", "cosmology.h0: "))
    assert message.count("\n") == 3


def test_unknown_preset(smallest: list[str], refused: Callable[..., str]) -> None:
    smallest[:] = [word for word in smallest if not word.startswith("sky.")]
    message = refused("sky=pysm", "sky.presets=[d9,s44]")
    assert "no preset 's44'; the nearest is 's4'" in message


@pytest.mark.parametrize(
    "overrides",
    [
        ["+splits.other={sims: 1, model: second}", "+sky@skies.second=embedded"],
        ["++seed=5"],
        ["+stages.cmb.over={split: [train]}"],
        ["~stages.mask", "~mask.sky_fraction"],
        ["++instrument.channels.100.bandpass=null"],
        ["splits.test=1", 'scenario.channels=["30"]'],
    ],
)
def test_what_is_allowed_is_not_refused(program: Program, tmp_path: Path, overrides: list[str]) -> None:
    outcome = program("plan_only=true", *overrides, root=tmp_path / "root")
    assert outcome.err == ""
    assert outcome.status == 0
    assert not (tmp_path / "root").exists()


# Chains

PARAMETERS = {"H0": 70.0, "omegabh2": 0.0226, "omegach2": 0.114, "ns002": 0.97, "tau": 0.089, "a002": 2.4}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Write a chain of ten samples in WMAP's layout."""
    folder = tmp_path / "chain"
    folder.mkdir()
    for name, value in PARAMETERS.items():
        np.savetxt(folder / name, np.stack([np.arange(10), value * (1 + 1e-3 * np.arange(10))], axis=1))
    return folder


def test_chain_without_a_parameter(refused: Callable[..., str], chain: Path) -> None:
    (chain / "a002").unlink()
    assert f"there is no file {chain}/a002" in refused("cosmology=wmap9_chain", f"cosmology.folder={chain}")


def test_chain_too_short(refused: Callable[..., str], chain: Path) -> None:
    message = refused("cosmology=wmap9_chain", f"cosmology.folder={chain}", "splits.train=9")
    assert "has 10 distinct samples" in message
    assert "take fewer simulations" in message


@pytest.mark.parametrize("value", ["nan", "-70", "inf"])
def test_chain_with_a_value_that_cannot_be(refused: Callable[..., str], chain: Path, value: str) -> None:
    (chain / "H0").write_text((chain / "H0").read_text() + f"10 {value}\n")
    for name in set(PARAMETERS) - {"H0"}:
        (chain / name).write_text((chain / name).read_text() + f"10 {PARAMETERS[name]}\n")
    message = refused("cosmology=wmap9_chain", f"cosmology.folder={chain}")
    assert "1 sample(s) have an impossible h0" in message
    assert "row 11" in message


def test_chain_of_words(refused: Callable[..., str], chain: Path) -> None:
    (chain / "tau").write_text("one two\n")
    assert f"{chain}/tau is no file of a chain" in refused("cosmology=wmap9_chain", f"cosmology.folder={chain}")


# Masks and tables: only the stages that use them are run, which takes no time.


def only(*stages: str) -> list[str]:
    """Return the overrides that leave out all other stages."""
    names = ["cosmology", "spectrum", "cmb", "sky", "noise", "observe", "mask"]
    return [f"~stages.{name}" for name in names if name not in stages]


@pytest.fixture
def mask_from(smallest: list[str]) -> Callable[[Path], list[str]]:
    """Return what gives the overrides to take the mask, and nothing else, from a file."""
    smallest[:] = [word for word in smallest if not word.startswith(("mask.", "+stages.spectrum"))]
    return lambda path: ["mask=from_file", f"mask.path={path}", "mask.field=0", "mask.threshold=0.5", *only("mask")]


def half_sky(path: Path, nest: bool = False) -> Path:
    """Write a mask that keeps the northern half of the sky."""
    north = hp.pix2ang(16, np.arange(3072), nest=nest)[0] < np.pi / 2
    hp.write_map(path, north.astype(float), nest=nest, column_units="", dtype=np.float64, overwrite=True)
    return path


def harm(path: Path, how: str) -> None:
    if how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return
    with fits.open(path, mode="update") as hdus:
        if how == "no ordering":
            del hdus[1].header["ORDERING"]
        else:
            hdus[1].data.field(0)[:2] = {"NaN": np.nan, "infinite": np.inf, "UNSEEN": hp.UNSEEN}[how]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", ["cannot be read as a HEALPix map", "truncated"]),
        ("no ordering", ["does not say in ORDERING", "RING or NESTED"]),
        ("NaN", ["NaN, infinite or UNSEEN", "fill or mask them"]),
        ("infinite", ["NaN, infinite or UNSEEN", "fill or mask them"]),
        ("UNSEEN", ["NaN, infinite or UNSEEN", "fill or mask them"]),
    ],
)
def test_mask_file(
    refused: Callable[..., str], mask_from: Callable[[Path], list[str]], tmp_path: Path, how: str, words: list[str]
) -> None:
    path = half_sky(tmp_path / "given.fits")
    harm(path, how)
    message = refused(*mask_from(path))
    assert all(word in message for word in [*words, str(path)])
    assert not list((tmp_path / "root").rglob("mask*.fits"))


def test_mask_file_that_is_not_there(refused: Callable[..., str], mask_from: Callable[[Path], list[str]]) -> None:
    assert "mask.path=/nowhere/mask.fits: there is no such file" in refused(*mask_from(Path("/nowhere/mask.fits")))


@pytest.mark.usefixtures("mask_from")
def test_mask_file_of_the_default_is_named_with_its_source(refused: Callable[..., str]) -> None:
    message = refused("mask=from_file", *only("mask"))
    for word in ("mask.path=", "COM_CMB_IQU-nilc", "there is no such file", "Planck Legacy Archive", "mask=from_sky"):
        assert word in message


def test_mask_column_that_is_not_there(
    refused: Callable[..., str], mask_from: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    message = refused(*mask_from(half_sky(tmp_path / "given.fits")), "mask.field=GAL080")
    assert "given.fits" in message
    assert "GAL080" in message


@pytest.mark.parametrize("nest", [False, True])
def test_mask_in_any_ordering_is_read_right(
    program: Program, mask_from: Callable[[Path], list[str]], tmp_path: Path, nest: bool
) -> None:
    assert program(*mask_from(half_sky(tmp_path / "given.fits", nest)), root=tmp_path).status == 0
    mask = hp.read_map(tmp_path / "small" / "mask" / "mask.fits")
    latitude = np.pi / 2 - hp.pix2ang(8, np.arange(768))[0]
    assert mask[latitude > 0.1].all()
    assert not mask[latitude < -0.1].any()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["bl.txt"]),
        ("l b\n1 x\n", ["bl.txt"]),
        ("1.0\n0.9\n", ["bl.txt ends at l = 1", "needs l = 23"]),
        ("0.0\n" * 30, ["bl.txt is no beam window", "start near 1"]),
        ("1.0\n" + "nan\n" * 30, ["bl.txt is no beam window", "finite"]),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_beam_window(refused: Callable[..., str], tmp_path: Path, content: str, words: list[str]) -> None:
    (tmp_path / "bl.txt").write_text(content)
    message = refused(f"instrument.channels.100.window={tmp_path}/bl.txt")
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not a table\n",
        "110 1\n100 1\n",
        "100 -1\n110 1\n",
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_bandpass(refused: Callable[..., str], tmp_path: Path, content: str) -> None:
    (tmp_path / "band.txt").write_text(content)
    message = refused(f"instrument.channels.100.bandpass={tmp_path}/band.txt", *only("sky"), "~mask.sky_fraction")
    assert "band.txt" in message


# The dataset's own files


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, program_apart: Callable[..., subprocess.Popen[str]]) -> Path:
    """Make the smallest dataset once; return its root."""
    root = tmp_path_factory.mktemp("finished")
    run = program_apart(root)
    run.communicate()
    assert run.returncode == 0
    return root


@pytest.fixture
def dataset(finished: Path, tmp_path: Path) -> Path:
    """Copy the finished dataset; return the copy's folder."""
    shutil.copytree(finished, tmp_path / "root")
    return tmp_path / "root" / "small"


def test_finished_dataset_has_nothing_to_do(program: Program, dataset: Path) -> None:
    outcome = program(root=dataset.parent)
    assert outcome.status == 0
    assert "nothing to do: all 10 units" in outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize("path", ["mask/mask.fits", ".records/mask/only.json"])
def test_truncated_output_or_record_is_remade(
    program: Program, dataset: Path, finished: Path, digests: Callable[[Path], dict[str, str]], path: str
) -> None:
    content = (dataset / path).read_bytes()
    (dataset / path).write_bytes(content[: len(content) // 2])
    outcome = program(root=dataset.parent)
    assert outcome.status == 0
    assert "1 unit of work to do; 9 were done before" in outcome.out
    assert digests(dataset) == digests(finished / "small")


def redo(stage: str, dataset: Path) -> None:
    """Let the next run do one stage again, on what its makers left."""
    shutil.rmtree(dataset / ".records" / stage)


def replace_map(path: Path, **cards: object) -> None:
    """Change a map so that its size stays: its header, or (with `PIXEL`) a pixel."""
    with fits.open(path, mode="update") as hdus:
        for name, value in cards.items():
            if name == "PIXEL":
                hdus[1].data.field(0)[0] = value
            else:
                hdus[1].header[name] = value


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"ORDERING": "NESTED"}, ["ORDERING is NESTED, and RING is needed"]),
        ({"NSIDE": 16}, ["NSIDE 16 means 3072 pixels, and the table has 768"]),
        ({"PIXEL": np.nan}, ["NaN, infinite or UNSEEN"]),
        ({"PIXEL": hp.UNSEEN}, ["NaN, infinite or UNSEEN"]),
    ],
)
def test_map_that_was_tampered_with(
    refused: Callable[..., str], dataset: Path, cards: dict[str, object], words: list[str]
) -> None:
    path = dataset / "sky" / "main" / "foreground_map_100.fits"
    replace_map(path, **cards)
    as_if_written(dataset, path)
    redo("mask", dataset)
    message = refused(root=dataset.parent)
    assert all(word in message for word in [*words, str(path), "delete it and run again, stage 'sky' will remake it"])


def test_two_runs_on_one_dataset(refused: Callable[..., str], tmp_path: Path) -> None:
    hold = "import sys, pathlib, time; from cmbml.core.manifest import lock\n"
    hold += "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", hold, tmp_path / "root" / "small"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        message = refused()
        holder.kill()
    assert f"small is in use by process {holder.pid}" in message
    assert "choose another dataset=" in message


# Disks


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return what mounts a small file system in memory; skip the test where that is not allowed."""
    places: list[Path] = []

    def mount(size: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip("may not mount a file system here")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", place], check=True)


def test_disk_too_small_for_what_is_asked(refused: Callable[..., str], mounted: Callable[..., Path]) -> None:
    root = mounted("64k")
    message = refused(root=root)
    assert re.search(r"the run would write about [\d.]+ kB and .* has [\d.]+ kB free", message)
    assert "point system.root at another disk" in message
    assert not list(root.rglob("*.fits"))


@pytest.mark.parametrize("size", ["4k", "12k", "24k", "56k", "100k", "160k"])
def test_disk_that_fills_up_meanwhile(
    refused: Callable[..., str],
    mounted: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    digests: Callable[[Path], dict[str, str]],
    finished: Path,
    size: str,
) -> None:
    """With the estimate made blind, the disk is full at the manifest, in a spectrum, or in a map."""
    monkeypatch.setattr("cmbml.core.app._check_disk", lambda *_: None)
    root = mounted(size)
    message = refused(root=root)
    assert "the disk is full" in message
    assert "point system.root at another disk" in message
    whole = digests(finished / "small")
    assert digests(root / "small").items() <= whole.items()


def test_read_only_disk(refused: Callable[..., str], mounted: Callable[..., Path]) -> None:
    root = mounted("1m")
    subprocess.run(["mount", "-o", "remount,ro", root], check=True)
    message = refused(root=root)
    assert "the file system is read-only: point system.root at a folder that you may write" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "root").mkdir(mode=0o500)
    assert "you may not write there" in refused()


def test_file_in_the_way(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    message = refused()
    assert "a file" in message
    assert "point system.root at a folder" in message


@pytest.mark.parametrize("number", [errno.EACCES, errno.EDQUOT])
def test_other_refusals_of_the_disk(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("cmbml.core.store.os.fsync", refuse)
    message = refused(*only("cosmology"))
    assert "cannot write" in message
    assert "point system.root at" in message


# The program as it is called


@pytest.mark.parametrize(
    ("overrides", "status", "words"),
    [
        (["scenario.nside=100"], 1, "error: scenario.nside: nside must be a power of two, not 100"),
        (["noise=corelated"], 1, "error: noise=corelated: there is no such option; did you mean 'correlated'?"),
        (["--nothing"], 2, "unrecognized arguments: --nothing"),
    ],
)
def test_program_as_it_is_called(tmp_path: Path, overrides: list[str], status: int, words: str) -> None:
    command = [sys.executable, PROJECT / "main_sims.py", f"system.root={tmp_path}", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_program_whose_reader_leaves_goes_on_in_silence(
    tmp_path: Path, program_apart: Callable[..., subprocess.Popen[str]]
) -> None:
    run = program_apart(tmp_path / "root")
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait() == 0
    assert (tmp_path / "root" / "small" / "mask" / "mask.fits").is_file()
