"""The page on networks of one's own does what it says: its blocks are run as they stand, on maps of a few pixels."""

import io
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

import cmbml.methods
from cmbml.core.app import main
from cmbml.methods.planes import to_faces, to_plane

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

PROJECT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:^`(?P<path>[\w/.]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = list(BLOCK.finditer((PROJECT / "docs" / "add_a_network.md").read_text()))
FILES = {block["path"]: block["text"] for block in BLOCKS if block["path"]}
COMMANDS = [line for block in BLOCKS if block["kind"] == "sh" for line in block["text"].splitlines()]
PROGRAMS = [block["text"] for block in BLOCKS if block["kind"] == "python" and not block["path"]]
MODULE, CONFIG = "cmbml/methods/face_resnet.py", "cfg/method/face_resnet.yaml"

# What makes the page's commands small; the rest of each stands as it does on the page.
NSIDE = 16
SMALL = {
    "sims": (
        "scenario.nside=16",
        "scenario.nside_sky=16",
        "scenario.lmax=47",
        "scenario.lmax_scored=32",
        "lensing=none",
        "cosmology=fixed",
        "+stages.spectrum.camb={min_lmax: 500, margin: 150, lens_potential_accuracy: 1, halofit_version: takahashi}",
        "~stages.figures",
        "~stages.sky_figures",
        "runner.threads=1",
    ),
    "clean": ("runner.threads=1",),
    "network": ("method.train.epochs=2", "method.train.batch_size=2", "hardware.device=cpu", "hardware.threads=1"),
    "analysis": ("runner.threads=1",),
}


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str


def run(*words: str) -> Ran:
    """Run a main program of this process's folder."""
    status, out, err = 0, io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", list(words))
        try:
            main(words[0].removeprefix("main_").removesuffix(".py"))
        except SystemExit as end:
            status = int(end.code or 0)
    return Ran(status, out.getvalue(), err.getvalue())


def small(command: str) -> list[str]:
    """Return the words of one of the page's commands, with what makes it small."""
    python, program, *words = shlex.split(command)
    assert python == "python"
    assert (PROJECT / program).is_file()
    kind = program.removeprefix("main_").removesuffix(".py")
    few = {word.split("=")[0]: word.split("=")[1] for word in words if word.startswith("splits.")}
    splits = [f"{name}={{sims: {min(int(n), 2)}, cosmology: shared}}" for name, n in few.items()]
    words = [word for word in words if word.split("=")[0] not in few]
    network = SMALL["network"] if "method=face_resnet" in words else ()
    return [program, *words, *splits, *SMALL[kind], *network]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Add the page's files to a checkout, and work in it; return its folder."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(PROJECT / "cfg", root / "cfg")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        # A module that is edited to the same size within a second would be taken from the bytecode kept of it.
        patch.setattr(sys, "dont_write_bytecode", True)
        for module in ("app", "overrides"):
            patch.setattr(f"cmbml.core.{module}.CONFIG_FOLDER", root / "cfg")
        # The package is that of the project, with one folder more.
        patch.setattr(cmbml.methods, "__path__", [*cmbml.methods.__path__, str(root / "cmbml" / "methods")])
        yield root
    for name in [name for name in sys.modules if name.startswith(("cmbml.methods.face_resnet", "cmbml.methods.trial"))]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def done(checkout: Path) -> dict[str, Ran]:
    """Run every command of the page, one after the other; return how each ended."""
    return {command: run(*small(command)) for command in COMMANDS}


@pytest.fixture(scope="module")
def dataset(checkout: Path, done: dict[str, Ran]) -> Path:
    return checkout / "datasets" / "first"


def test_page_has_the_blocks_that_it_speaks_of() -> None:
    assert list(FILES) == [MODULE, CONFIG]
    assert len(PROGRAMS) == 1
    assert len(COMMANDS) == 10
    assert {block["kind"] for block in BLOCKS} == {"python", "yaml", "sh"}


def test_every_command_ends_well(done: dict[str, Ran]) -> None:
    for command, ran in done.items():
        assert ran.status == 0, f"{command}: {ran.err}"
        assert ran.err == "", command


def test_config_explains_itself() -> None:
    """Every key has a comment, but the names of classes and of groups of keys."""
    for line in FILES[CONFIG].splitlines()[2:]:
        if line and not line.rstrip().endswith(":") and "_target_" not in line and "override" not in line:
            assert "#" in line or "kind: scale" in line, line
    settings = yaml.safe_load(FILES[CONFIG])["method"]
    assert settings["name"] == Path(CONFIG).stem


def test_cleaned_maps_are_what_was_promised(dataset: Path) -> None:
    for sim in ("sim0000", "sim0001"):
        with fits.open(dataset / "clean" / "face_resnet" / "test" / sim / "cleaned_map.fits") as file:
            header = file[1].header
        assert (header["NSIDE"], header["ORDERING"], header["TUNIT1"]) == (NSIDE, "RING", "uK_CMB")
        assert (header["BEAMTYPE"], header["FWHM"], header["LMAX"], header["COORDSYS"]) == ("none", 0, 47, "G")


def test_it_learns_and_says_so(dataset: Path) -> None:
    folder = dataset / "train" / "face_resnet"
    curve = Table.read(folder / "training_curve.ecsv")
    assert len(curve) == 2
    assert curve["train_loss"][1] < curve["train_loss"][0]
    assert (folder / "training_figure.png").stat().st_size > 10_000
    assert list((dataset / "logs").rglob("events.out.tfevents*"))


def test_analysis_lists_the_method(dataset: Path) -> None:
    summary = Table.read(dataset / "summary" / "test" / "summary.ecsv")
    assert "face_resnet" in (dataset / "report" / "test" / "report.html").read_text()
    assert set(summary["method"]) == {"face_resnet-blocks-1", "face_resnet-blocks-2"}, "the last comparison on the page"
    rows = Table.read(dataset / "sweep" / "sweep_rows.csv")
    assert dict(zip(rows["method"], rows["blocks"], strict=True)) == {f"face_resnet-blocks-{n}": n for n in (1, 2)}


def test_weights_are_used_elsewhere(checkout: Path, dataset: Path) -> None:
    """By the page's own lines, and through the program on another dataset."""
    (checkout / "apply.py").write_text(PROGRAMS[0])
    found = runpy.run_path(str(checkout / "apply.py"))["cmb"]
    cleaned = hp.read_map(dataset / "clean" / "face_resnet" / "test" / "sim0000" / "cleaned_map.fits")
    assert cleaned.std() > 1
    # Both are in single precision, in another order of sums.
    np.testing.assert_allclose(found, cleaned, atol=1e-4 * np.abs(cleaned).max())
    assert len(list((checkout / "datasets" / "second" / "clean" / "face_resnet").rglob("cleaned_map.fits"))) == 2


def test_same_command_again_has_nothing_to_do(done: dict[str, Ran]) -> None:
    command = "python main_clean.py dataset=first method=face_resnet"
    assert "nothing to do" in run(*small(command)).out
    assert "nothing to do" in run(*small(command), "hardware.predict_batch=1").out


def test_faces_are_those_of_the_sphere(checkout: Path) -> None:
    """What the layers see are HEALPix's faces, and what comes back stands where it stood."""
    module = runpy.run_path(str(checkout / MODULE))
    seen = []

    class Look(torch.nn.Module):
        def forward(self, faces: Any) -> Any:
            seen.append(faces)
            return faces

    values = np.random.default_rng(1).standard_normal((2, 3, 12 * NSIDE**2)).astype(np.float32)
    planes = torch.from_numpy(to_plane(values))
    assert torch.equal(module["OnFaces"](Look())(planes), planes)
    np.testing.assert_array_equal(seen[0].numpy(), to_faces(values))


# What is likely to go wrong: edits of the config and of the module, and words that the message must hold.
MISTAKES: dict[str, tuple[tuple[str, str], tuple[str, str], list[str]]] = {
    "misspelt key": (("batch_size:", "batch_szie:"), ("", ""), ["train.batch_szie: unknown key", "'batch_size'?"]),
    "misspelt key of the network": (
        ("nside: $", "nsid: $"),
        ("", ""),
        ["method.network.nsid: unknown key", "'nside'?"],
    ),
    "impossible value": (("width: 16", "width: 0"), ("", ""), ["method.network.width", "greater than 0"]),
    "misspelt module": ((".trial.", ".trail."), ("", ""), ["'cmbml.methods' has no 'trail', did you mean 'trial'?"]),
    "misspelt class": (("FaceResNet", "FaceResnet"), ("", ""), ["has no 'FaceResnet', did you mean 'FaceResNet'?"]),
    "module elsewhere": (("cmbml.methods.trial.", "mine."), ("", ""), ["no module 'mine'", "PYTHONPATH"]),
    "error in the module": (("", ""), ("super().forward(", "super().forward(("), ["SyntaxError", "trial.py, line "]),
    "name that is not there": (("", ""), ("(Network)", "(Netwrk)"), ["'Netwrk' is not defined", "trial.py, line "]),
    "package that is not there": (("", ""), ("import torch\n", "import torhc\n"), ["'torhc'", "install the package"]),
    "no header": (("# @package _global_\n", ""), ("", ""), ["trial.yaml", "is its first line '# @package _global_'?"]),
    "tab": (("  features:", "\tfeatures:"), ("", ""), ["trial.yaml, line 20, column 1", "indent with spaces"]),
    "key twice": (("width: 16", "nside: 16"), ("", ""), ["trial.yaml, line 18", "duplicate key nside"]),
    "unknown group": (("/hardware:", "/hardwear:"), ("", ""), ["trial.yaml", "hardwear"]),
    "no stages": (("  - override /stages: learn ", "#"), ("", ""), ["method: a BlindMethod is needed here"]),
    "no decorator": (("", ""), ("@settings\n", ""), ["FaceResNet takes no settings; it needs @settings"]),
    "no network": (("", ""), ("(Network)", ""), ["method.network: a Network is needed here, and FaceResNet is none"]),
    "method left out": (("", ""), ("require_shape", "require_shapes"), ["abstract", "require_shape"]),
    "nside of other maps": (
        ("${scenario.nside}", "32"),
        ("", ""),
        ["planes of nside 32, not for arrays of shape (64,"],
    ),
    "channel that is not there": (('"100", ', '"101", '), ("", ""), ["no channel '101'"]),
    "name that cannot be": (("name: trial ", "name: my net "), ("", ""), ["'my net' is no name for a method"]),
}


@pytest.fixture
def trial(checkout: Path, done: dict[str, Ran]) -> Iterator[Callable[..., Ran]]:
    """Return what runs the page's network under the name `trial`, with an edit to its config and one to its module."""
    config, module = (checkout / path.replace("face_resnet", "trial") for path in (CONFIG, MODULE))

    def start(config_edit: tuple[str, str], module_edit: tuple[str, str]) -> Ran:
        for path, source, edit in ((config, CONFIG, config_edit), (module, MODULE, module_edit)):
            text = (
                FILES[source]
                .replace("methods.face_resnet.", "methods.trial.")
                .replace("name: face_resnet ", "name: trial ")
            )
            assert edit[0] in text
            path.write_text(text.replace(*edit, 1))
        return run("main_clean.py", "dataset=first", "method=trial", "plan_only=true", "runner.threads=1")

    yield start
    config.unlink()
    module.unlink()
    sys.modules.pop("cmbml.methods.trial", None)
    vars(cmbml.methods).pop("trial", None)


@pytest.mark.parametrize(("config_edit", "module_edit", "words"), MISTAKES.values(), ids=list(MISTAKES))
def test_mistake_is_answered_with_one_message(
    trial: Callable[..., Ran], config_edit: tuple[str, str], module_edit: tuple[str, str], words: list[str]
) -> None:
    ran = trial(config_edit, module_edit)
    assert ran.status == 1
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.out + ran.err
    for word in words:
        assert word in ran.err


def test_without_a_mistake_there_is_a_plan(trial: Callable[..., Ran]) -> None:
    assert trial(("", ""), ("", "")).status == 0


def test_setting_that_the_config_leaves_out_is_added(done: dict[str, Ran]) -> None:
    words = ("main_clean.py", "dataset=first", "method=face_resnet", "plan_only=true", "runner.threads=1")
    assert "write +method.train.warmup=3" in run(*words, "method.train.warmup=3").err
    assert run(*words, "+method.train.warmup=3").status == 0
    broken = run(*words, "method.network._target_=nowhere.Net", "method.network.depth=3")
    assert "'method.network.depth' is no key of the config" in broken.err
