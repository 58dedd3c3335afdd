"""What tests share: the real test data, a dataset's digests, and the main program as a function."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmbml.core.app import main

pytest.register_assert_rewrite("outcomes")

# Threads would fight one another: the tests' maps are small, and several workers may run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "2")

# A shell lets what it runs in the background ignore interrupts, and all that is started there, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def assets_folder() -> Path:
    """Return the folder of real data that `CMBML_ASSETS` names; skip the test where there is none."""
    folder = os.environ.get("CMBML_ASSETS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set CMBML_ASSETS to the folder that holds it")
    return Path(folder)


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """Return what gives the SHA-256 of every product of a dataset, by relative path."""

    def of(root: Path) -> dict[str, str]:
        passing = {".records", ".scratch", "runs", ".lock"}
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        products = [path for path in files if path.relative_to(root).parts[0] not in passing]
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in products}

    return of


@pytest.fixture(scope="session")
def half_written() -> Callable[[Path], list[str]]:
    """Return what lists the half-written files in a folder."""
    return lambda root: [str(path) for path in root.rglob("*.part*")]


# The least dataset that the program makes: thirteen units, two channels, sources for a sky.
SMALLEST = (
    "dataset=small",
    "scenario.nside=8",
    "scenario.nside_sky=8",
    "scenario.lmax=23",
    'scenario.channels=["100","143"]',
    "lensing=none",
    "cosmology=fixed",
    "splits.train={sims: 2, cosmology: shared}",
    "splits.valid=0",
    "splits.test=0",
    "vary=shared",
    *(f"sky.{name}=null" for name in ("dust", "synchrotron", "free_free", "spinning_dust")),
    *(f"sky.{name}=null" for name in ("infrared_sources", "cib", "thermal_sz")),
    "+stages.spectrum.camb={min_lmax: 500, margin: 150, lens_potential_accuracy: 1, halofit_version: takahashi}",
    "mask.sky_fraction=0.5",
    "~stages.figures",
    "~stages.sky_figures",
    "runner.threads=1",
)


@dataclass(frozen=True)
class Outcome:
    """How a run of the main program ended."""

    status: int
    out: str
    err: str


def call(name: str, root: Path, *overrides: str) -> int:
    """Run a main program in this process; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"main_{name}.py", f"system.root={root}", *overrides])
        try:
            main(name)
        except SystemExit as end:
            return int(end.code or 0)
    return 0


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return any main program, in this process: called with its name, the datasets' folder and overrides."""

    def run(name: str, root: Path, *overrides: str) -> Outcome:
        capsys.readouterr()
        return Outcome(call(name, root, *overrides), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def calling() -> Callable[..., int]:
    """Return any main program, in this process, for fixtures that outlive a test; it returns the exit status."""
    return call


@pytest.fixture(scope="session")
def simulate() -> Callable[..., None]:
    """Return what makes the smallest dataset: called with its folder, overrides, and the number of each split."""

    def make(root: Path, *overrides: str, **splits: int) -> None:
        counts = [f"splits.{name}={{sims: {number}, cosmology: shared}}" for name, number in splits.items()]
        assert call("sims", root, *SMALLEST, *counts, *overrides) == 0

    return make


@pytest.fixture
def smallest() -> list[str]:
    """Return the overrides of the smallest dataset, which a test may change before it calls `program`."""
    return list(SMALLEST)


@pytest.fixture
def program(command: Callable[..., Outcome], smallest: list[str], tmp_path: Path) -> Callable[..., Outcome]:
    """Return the program that simulates: called with overrides beyond those of the smallest dataset."""

    def run(*overrides: str, root: Path = tmp_path) -> Outcome:
        return command("sims", root, *smallest, *overrides)

    return run


# A dataset with a whole sky, on which a method can tell itself from a control.
WHOLE_SKY = (
    "dataset=sky",
    "scenario.nside=16",
    "scenario.nside_sky=32",
    "scenario.lmax=47",
    "scenario.lmax_scored=32",
    'scenario.channels=["100","143","217","353","545"]',
    "lensing=none",
    "cosmology=fixed",
    "splits.train=0",
    "splits.valid=0",
    "splits.test={sims: 3, cosmology: shared}",
    "vary=shared",
    "+stages.spectrum.camb={min_lmax: 500, margin: 150, lens_potential_accuracy: 1, halofit_version: takahashi}",
    "~stages.figures",
    "~stages.sky_figures",
    "runner.threads=1",
)


@pytest.fixture(scope="session")
def whole_sky() -> tuple[str, ...]:
    """Return the overrides that the dataset `sky` was made with."""
    return WHOLE_SKY


@pytest.fixture(scope="session")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the dataset `sky` and clean it with the controls and with an ILC, once; return the folder that holds it."""
    root = tmp_path_factory.mktemp("cleaned")
    assert call("sims", root, *WHOLE_SKY) == 0
    for method in ("control_truth", "control_channel", "control_zero", "ilc_pixel"):
        assert call("clean", root, "dataset=sky", f"method={method}", "runner.threads=1") == 0
    return root


@pytest.fixture(scope="session")
def scoring() -> tuple[str, ...]:
    """Return the overrides that leave out what draws and reports: for tests of scores, which take a tenth of it."""
    drawing = (
        "gathered_spectra",
        "gathered_shapes",
        "derivatives",
        "band",
        "predictions",
        "comparison",
        "residual_figures",
    )
    drawing += ("generalisation", "learning", "report")
    return ("runner.threads=1", *(f"~stages.{stage}" for stage in drawing))


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory, cleaned: Path, scoring: tuple[str, ...]) -> Path:
    """Compare the methods of the dataset `sky`, once; return the folder that holds it."""
    root = Path(shutil.copytree(cleaned, tmp_path_factory.mktemp("compared") / "root"))
    methods = "methods=[control_truth,control_channel,control_zero,ilc_pixel]"
    assert call("analysis", root, "dataset=sky", methods, *scoring) == 0
    return root


@pytest.fixture
def sky(cleaned: Path, tmp_path: Path) -> Path:
    """Copy the folder of the dataset `sky`, to be changed; return it."""
    return Path(shutil.copytree(cleaned, tmp_path / "root"))


# Runs a main program, which waits to be stopped before it says a word.
WAITING = """
import signal, sys
from cmbml.core.app import main
name, word, *sys.argv[1:] = sys.argv[1:]
write = sys.stdout.write
sys.stdout.write = lambda text: signal.pause() if word in text else write(text)
main(name)
"""


@pytest.fixture(scope="session")
def program_apart() -> Callable[..., subprocess.Popen[str]]:
    """Return a main program, in a process group of its own; it does not get past the word `until`, if there is one."""

    def start(root: Path, *overrides: str, name: str = "sims", until: str = "") -> subprocess.Popen[str]:
        words = [f"system.root={root}", *(SMALLEST if name == "sims" else ()), *overrides]
        program = ["-c", WAITING, name, until] if until else [PROJECT / f"main_{name}.py"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-u", *program, *words]
        return subprocess.Popen(command, text=True, start_new_session=True, cwd=root.parent, **pipes)

    return start
