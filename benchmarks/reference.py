"""Time the public reference's way to a simulation beside this pipeline's, in the same run.

The reference is CMB-ML (github.com/CMB-ML/cmb-ml at 5e93445). What it computes for each simulation is computed here
again, with the public libraries that it calls: CAMB, PySM3 and healpy. Where it needs what is not at hand, the cheaper
choice is taken: templates, standard deviations and noise models are made up and stay in memory, power laws stand in for
the two spinning dust components, and PySM's search for pixel weights on the network is left out. Templates and numba's
compilation, which it needs once per process, are not counted; nor is what this pipeline does once per dataset.

python benchmarks/reference.py                                nside 128 from a sky at 512: about two minutes
python benchmarks/reference.py --nside 32 --nside-sky 128     a minute, much of it numba's and CAMB's
python benchmarks/reference.py --nside 512 --nside-sky 2048   half an hour or more, and 20 GB of memory
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import camb
import healpy as hp
import hydra
import numpy as np
import pysm3
import pysm3.units as u
from numpy.typing import NDArray
from omegaconf import DictConfig

from cmbml.core.app import CONFIG_FOLDER, build_pipeline
from cmbml.core.record import Record
from cmbml.core.runner import THREAD_VARIABLES

SCENARIOS = {32: "tiny", 64: "nside64", 128: "nside128", 512: "cmbml_512"}
LENSING_SPLITS = {"remap": "train", "spectra": "valid"}
CAMB_LMAX = 8150
CAMB_STEP = f"CAMB to {CAMB_LMAX}"
LENSING_STEP = "CMBLensed (Taylens)"
COSMOLOGIES = ("each", "shared")
N_NOISE_SIMULATIONS = 100
# Templates at their reference frequencies, uK_RJ, and stored maps, uK_CMB: of about the real sky's size.
AMPLITUDES_UK = {"dust": 300.0, "synchrotron": 100.0, "free-free": 20.0, "ame 1": 30.0, "ame 2": 10.0}
PRECOMPUTED_UK = {"cib": 1.0, "radio galaxies": 1.0, "kinetic SZ": 2.0, "thermal SZ": 3.0}

Map = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """What something took: wall time, and CPU time of all threads; seconds."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.wall - other.wall, self.cpu - other.cpu)

    def __truediv__(self, n: int) -> "Cost":
        return Cost(self.wall / n, self.cpu / n)


@dataclass
class Clock:
    """What each step took, added up over its repetitions."""

    steps: dict[str, Cost] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what the block takes as part of the step of this name."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        spent = Cost(time.perf_counter() - wall, time.process_time() - cpu)
        self.steps[name] = self.steps.get(name, Cost()) + spent

    def total(self) -> Cost:
        """Return the sum of all steps."""
        return sum(self.steps.values(), Cost())


@dataclass(frozen=True)
class Detector:
    """A channel, as far as the reference looks at it."""

    name: str
    freq_ghz: float
    fwhm_arcmin: float


@dataclass(frozen=True)
class NoiseModel:
    """A channel's noise: deviation per pixel, mean map, and the scatter of its log10 spectrum over simulations.

    Attributes:
        std_map: `(n_pix,)`, uK_CMB.
        mean_map: `(n_pix,)`, uK_CMB.
        log_mean: `(3 nside,)`.
        components: `(N_NOISE_SIMULATIONS, 3 nside)`.
        deviations: `(N_NOISE_SIMULATIONS,)`.
    """

    std_map: Map
    mean_map: Map
    log_mean: Map
    components: Map
    deviations: Map


def stand_in_noise(nside: int, rng: np.random.Generator) -> NoiseModel:
    """Make up a noise model of the reference's shape."""
    n_pix, ell = hp.nside2npix(nside), np.arange(3 * nside)
    level = 50.0**2 * 4 * np.pi / n_pix
    return NoiseModel(
        std_map=50.0 * np.exp(0.2 * rng.standard_normal(n_pix)),
        mean_map=rng.standard_normal(n_pix),
        log_mean=np.log10(level * (1 + 6.0 / np.maximum(ell, 1))),
        components=rng.standard_normal((N_NOISE_SIMULATIONS, len(ell))),
        deviations=np.full(N_NOISE_SIMULATIONS, 1e-3),
    )


def stand_in_sky(nside: int, rng: np.random.Generator) -> pysm3.Sky:
    """Make a sky of the reference's components: one of IQU dust, one of IQU synchrotron, three of I, four stored.

    Component 0 is a placeholder for the CMB of each simulation.
    """
    ell = np.arange(2 * nside)
    np.random.seed(rng.integers(2**31))  # healpy draws from the global generator
    shape = hp.synfast((ell + 3.0) ** -2.5, nside, lmax=len(ell) - 1)
    bright = np.exp(shape / shape.std())
    iqu = np.stack([bright, 0.05 * bright, -0.05 * bright]).astype(np.float32)
    maps = {name: value * iqu << u.uK_RJ for name, value in AMPLITUDES_UK.items()}
    common = {"nside": nside, "unit_I": u.uK_RJ}
    dust = pysm3.ModifiedBlackBody(
        map_I=maps["dust"],
        freq_ref_I="353 GHz",
        freq_ref_P="353 GHz",
        map_mbb_index=1.48,
        map_mbb_temperature=19.6,
        unit_mbb_temperature="K",
        **common,
    )
    synchrotron = pysm3.PowerLaw(
        map_I=maps["synchrotron"], freq_ref_I="23 GHz", freq_ref_P="23 GHz", map_pl_index=-3.1, **common
    )
    unpolarised = [
        pysm3.PowerLaw(map_I=maps[name][0], freq_ref_I=freq, map_pl_index=index, has_polarization=False, **common)
        for name, freq, index in (
            ("free-free", "30 GHz", -2.14),
            ("ame 1", "22.8 GHz", -3.0),
            ("ame 2", "41 GHz", -3.0),
        )
    ]
    stored = [pysm3.CMBMap(nside, map_IQU=value * iqu << u.uK_CMB) for value in PRECOMPUTED_UK.values()]
    components = [pysm3.Model(nside=nside), dust, synchrotron, *unpolarised, *stored]
    return pysm3.Sky(nside=nside, component_objects=components, output_unit="uK_CMB")


def smooth_and_degrade(values: u.Quantity, nside: int, fwhm: u.Quantity) -> Map:
    """Convolve a map with a Gaussian beam and bring it to a lower nside, in harmonic space.

    Args:
        values: `(n_pix_sky,)`, uK_CMB.
        nside: wanted.
        fwhm: of the beam.

    Returns:
        `(n_pix,)`, uK_CMB.
    """
    alm = hp.map2alm(values.value, lmax=int(1.5 * hp.get_nside(values)), iter=3)
    hp.smoothalm(alm, fwhm=fwhm.to_value(u.rad), inplace=True)
    return hp.alm2map(alm, nside)


def write(folder: Path, name: str, values: Map) -> None:
    """Write a map in double precision."""
    path = folder / f"{name}.fits"
    hp.write_map(path, values, dtype=np.float64, column_names=["I_STOKES"], column_units=["uK_CMB"], overwrite=True)


class Reference:
    """The reference's path to a simulation.

    Args:
        nside: of the simulation.
        nside_sky: of the emission.
        detectors: the instrument.
        folder: for what it writes.
    """

    def __init__(self, nside: int, nside_sky: int, detectors: Sequence[Detector], folder: Path) -> None:
        self.nside, self.nside_sky, self.detectors, self.folder = nside, nside_sky, detectors, folder
        self.rng = np.random.default_rng(1)
        self.sky = stand_in_sky(nside_sky, self.rng)
        self.sky.get_emission(100 * u.GHz)  # numba compiles at the first call
        self.noise = {detector.name: stand_in_noise(nside, self.rng) for detector in detectors}

    def simulate(self, clock: Clock) -> None:
        """Make and write one simulation: spectra, sky, noise, and their sum."""
        with clock.step(CAMB_STEP):
            spectra = self._spectra()
        with clock.step(LENSING_STEP):
            seed = int(self.rng.integers(2**31))
            self.sky.components[0] = pysm3.CMBLensed(self.nside_sky, str(spectra), cmb_seed=seed)
        for detector in self.detectors:
            with clock.step("emission of all components"):
                emission = self.sky.get_emission(detector.freq_ghz * u.GHz)[0]
            with clock.step("smooth and degrade"):
                values = smooth_and_degrade(emission, self.nside, detector.fwhm_arcmin * u.arcmin)
            with clock.step("write sky"):
                write(self.folder, f"sky_{detector.name}", values)
        with clock.step("truth"):
            truth = smooth_and_degrade(self.sky.components[0].map[0], self.nside, 0 * u.arcmin)
            write(self.folder, "cmb", truth)
        for detector in self.detectors:
            with clock.step("noise"):
                noise = self._noise(self.noise[detector.name])
            with clock.step("write noise"):
                write(self.folder, f"noise_{detector.name}", noise)
        with clock.step("read, add, write"):
            self._assemble()

    def _spectra(self) -> Path:
        """Compute the spectra of a universe near WMAP's; the amplitude is CAMB's default."""
        parameters = camb.CAMBparams()
        h0, omch2, ombh2, ns, tau = np.array([70.0, 0.1138, 0.02264, 0.972, 0.089]) + (
            np.array([2.2, 0.0045, 0.0005, 0.013, 0.014]) * self.rng.standard_normal(5).clip(-2, 2)
        )
        parameters.set_cosmology(H0=h0, omch2=omch2, ombh2=ombh2, tau=tau, mnu=self.rng.uniform(0.05, 0.5))
        parameters.InitPower.set_params(ns=ns)
        parameters.set_for_lmax(CAMB_LMAX, lens_potential_accuracy=0)
        path = self.folder / "cmb_spectra.txt"
        camb.get_results(parameters).save_cmb_power_spectra(str(path))
        return path

    def _noise(self, model: NoiseModel) -> Map:
        """Filter white noise so that its own spectrum becomes one that is drawn from the model."""
        coefficients = self.rng.normal(scale=model.deviations)
        log_target = model.log_mean + coefficients @ model.components
        alm = hp.map2alm(self.rng.normal(scale=model.std_map), lmax=3 * self.nside - 1, iter=3)
        filtered = hp.almxfl(alm, np.sqrt(10**log_target / hp.alm2cl(alm)))
        values = hp.alm2map(filtered, self.nside)
        return values - values.mean() + model.mean_map

    def _assemble(self) -> None:
        """Add sky and noise, in a stage of its own that reads both from their files."""
        for detector in self.detectors:
            parts = [hp.read_map(self.folder / f"{part}_{detector.name}.fits") for part in ("noise", "sky")]
            write(self.folder, f"obs_{detector.name}", parts[0] + parts[1])
        shutil.copy(self.folder / "cmb.fits", self.folder / "cmb_map_fid.fits")


def compose(arguments: argparse.Namespace, lensing: str, cosmology: str, n_simulations: int) -> DictConfig:
    """Compose this pipeline's config for a dataset of so many simulations, all in the split of this lensing."""
    sizes = {split: n_simulations * (split == LENSING_SPLITS[lensing]) for split in ("train", "valid", "test")}
    overrides = [
        f"scenario={SCENARIOS[arguments.nside]}",
        f"scenario.nside_sky={arguments.nside_sky}",
        "splits=small",
        *(f"splits.{split}={{sims:{size},cosmology:{cosmology}}}" for split, size in sizes.items()),
        "sky=embedded",
        "noise=correlated",
        f"lensing={lensing}",
        "runner=serial",
        f"runner.threads={arguments.threads}",
    ]
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        return hydra.compose("sims", overrides)


def run_pipeline(config: DictConfig, root: Path) -> tuple[Cost, dict[str, float]]:
    """Do what is left to do of a dataset.

    Args:
        config: composed.
        root: the dataset's folder.

    Returns:
        What planning and running took together, and the recorded seconds of each stage that had something to do.
    """
    pipeline, runner = build_pipeline(config, root)
    clock = Clock()
    with clock.step("all"):
        plan = pipeline.plan()
        pipeline.run(plan, runner)
    stages = {}
    for stage in plan.stages:
        records = [Record.read(root / pipeline.namer.record(stage.stage, key)) for key in stage.todo]
        if records:
            stages[stage.stage] = sum(record.seconds for record in records if record is not None)
    return clock.total(), stages


def time_reference(arguments: argparse.Namespace, folder: Path) -> Clock:
    """Run the reference's path, and print what a simulation takes."""
    channels = compose(arguments, "remap", "each", 1).instrument.channels
    detectors = [Detector(name, channel.freq_ghz, channel.fwhm_arcmin) for name, channel in channels.items()]
    once, clock = Clock(), Clock()
    with once.step("once"):
        reference = Reference(arguments.nside, arguments.nside_sky, detectors, folder)
    for _ in range(arguments.simulations):
        reference.simulate(clock)
    print(f"reference, {len(detectors)} detectors, seconds per simulation")
    print_costs({name: cost / arguments.simulations for name, cost in clock.steps.items()})
    print(f"  (once per process, not counted: {once.total().wall:.2f} s)\n")
    return clock


def time_pipeline(arguments: argparse.Namespace, lensing: str, cosmology: str, root: Path) -> Cost:
    """Run this pipeline, and print and return what a simulation takes, once all that is shared is there."""
    n_more = arguments.own_simulations
    _, first = run_pipeline(compose(arguments, lensing, cosmology, 1), root)
    spent, later = run_pipeline(compose(arguments, lensing, cosmology, 1 + n_more), root)
    shared = {stage: seconds for stage, seconds in first.items() if stage not in later}
    print(f"this pipeline, lensing={lensing}, cosmology: {cosmology}, seconds per simulation")
    for stage, seconds in later.items():
        print(f"  {stage:<28} {seconds / n_more:9.3f}")
    print_costs({"total, with plan and records": spent / n_more})
    if shared:
        parts = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in shared.items())
        print(f"  (once per dataset or split, not counted: {sum(shared.values()):.2f} s: {parts})")
    print()
    return spent / n_more


def print_ratios(steps: Mapping[str, Cost], own: Mapping[tuple[str, str], Cost]) -> None:
    """Print how many times longer the reference takes.

    Both can give a whole split one cosmology; then neither computes spectra for each simulation.

    Args:
        steps: of the reference.
        own: cost of this pipeline for each lensing and sharing of cosmologies.
    """
    whole = sum(steps.values(), Cost())
    theirs = {"each": whole, "shared": whole - steps[CAMB_STEP]}
    print("reference / this pipeline, per simulation")
    for (lensing, cosmology), ours in own.items():
        row = f"lensing={lensing}, cosmology: {cosmology}"
        print_ratio(row, theirs[cosmology], ours)
        print_ratio(f"{row}, no CMBLensed", theirs[cosmology] - steps[LENSING_STEP], ours)


def print_ratio(what: str, theirs: Cost, ours: Cost) -> None:
    """Print a line with the ratios of wall time and of CPU time; the latter holds on a busy machine too."""
    wall, cpu = theirs.wall / ours.wall, theirs.cpu / ours.cpu
    print(f"  {what:<54} {theirs.wall:8.2f} / {ours.wall:6.3f} s = {wall:6.1f}   CPU {cpu:6.1f}")


def print_costs(costs: Mapping[str, Cost]) -> None:
    """Print a line for each step, and their sum where there are several."""
    rows = dict(costs)
    if len(rows) > 1:
        rows["total"] = sum(costs.values(), Cost())
    for name, cost in rows.items():
        print(f"  {name:<28} {cost.wall:9.3f}   CPU {cost.cpu:9.3f}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nside", type=int, default=128, choices=sorted(SCENARIOS), help="of the dataset")
    parser.add_argument("--nside-sky", type=int, default=512, help="of the emission")
    parser.add_argument("--simulations", type=int, default=1, help="of the reference")
    parser.add_argument("--own-simulations", type=int, default=5, help="of this pipeline, after a first one")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of both")
    parser.add_argument("--folder", type=Path, help="where to put what both write, until the end; /tmp by default")
    return parser.parse_args()


def restart_with_threads(threads: int) -> None:
    """Start this program anew unless its libraries were loaded with so many threads."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(threads))
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def main() -> None:
    """Time both, and print the ratios."""
    arguments = parse()
    restart_with_threads(arguments.threads)
    print(f"nside {arguments.nside} from a sky at {arguments.nside_sky}, {arguments.threads} threads\n")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        clock = time_reference(arguments, folder)
        own = {
            (lensing, cosmology): time_pipeline(arguments, lensing, cosmology, folder / "dataset")
            for lensing in LENSING_SPLITS
            for cosmology in COSMOLOGIES
        }
    print_ratios({name: cost / arguments.simulations for name, cost in clock.steps.items()}, own)


if __name__ == "__main__":
    main()
