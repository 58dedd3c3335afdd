"""Seconds per nine-channel simulation, beside what it cannot avoid: transforms, random draws and writing files.

    python benchmarks/simulation.py --nside 512 --simulations 3 --threads 2

The floor is measured in the same run with bare library calls of the same sizes: ducc0 transforms, NumPy draws, one
`write` and `fsync` per file. Once-per-dataset work and CAMB (once per cosmology) are stated apart.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import ducc0
import hydra
import numpy as np
from lenspyx.remapping.utils_geom import Geom
from timing import median_seconds

from cmbml.core.app import CONFIG_FOLDER, build_pipeline
from cmbml.core.pipeline import Pipeline
from cmbml.core.runner import Runner
from cmbml.handlers.healpix_map import HealpixMap
from cmbml.handlers.table import FitsTable
from cmbml.sims.cmb import needed_lmax
from cmbml.sims.noise import NoiseModel
from cmbml.sky.beams import signal_lmax
from cmbml.sky.harmonics import alm_size, pixel_geometry

PER_SIMULATION = ("cmb", "observe")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--simulations", type=int, default=3)
    parser.add_argument("--nside-sky", type=int, help="of the emission; that of the maps by default")
    parser.add_argument("--vary", choices=("shared", "each"), default="shared", help="a sky for all, or for each")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.nside_sky = options.nside_sky or options.nside
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for lensing in ("spectra", "remap"):
            report(options, lensing, Path(folder) / lensing)


def report(options: argparse.Namespace, lensing: str, root: Path) -> None:
    """Build a dataset, then more simulations of it, and print both beside the floor."""
    pipeline, runner = prepare(options, lensing, 1, root)
    started = time.perf_counter()
    pipeline.run(pipeline.plan(), runner)
    once = time.perf_counter() - started
    pipeline, runner = prepare(options, lensing, 1 + options.simulations, root)
    pipeline.run(pipeline.plan(), runner)
    seconds = {stage: stage_seconds(root, stage)[1:] for stage in ("spectrum", *PER_SIMULATION)}
    ours = float(np.median(np.sum([seconds[stage] for stage in PER_SIMULATION], axis=0)))
    parts = floor(options, lensing, pipeline, root)
    total = sum(parts.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    write = sys.stdout.write
    write(
        f"nside {options.nside}, lensing={lensing}, vary={options.vary}, "
        f"{options.threads} threads, {options.simulations} simulations\n"
    )
    write(f"  first simulation and what is made once (nside_sky {options.nside_sky})  {once:8.2f} s\n")
    write(f"  CAMB, once per cosmology, one thread                    {np.median(seconds['spectrum']):8.2f} s\n")
    for stage in PER_SIMULATION:
        write(f"  {stage:<56}{np.median(seconds[stage]):8.2f} s\n")
    write(f"  ours per simulation                                     {ours:8.2f} s\n")
    for name, value in parts.items():
        write(f"    floor: {name:<47}{value:8.2f} s\n")
    write(f"  floor                                                   {total:8.2f} s\n")
    write(f"  ours / floor                                            {ours / total:8.2f}\n")
    write(f"  peak memory of the process                              {peak:8.2f} GB\n")
    sys.stdout.flush()


def prepare(options: argparse.Namespace, lensing: str, n: int, root: Path) -> tuple[Pipeline, Runner]:
    """Compose the config of a dataset with `n` simulations and build its pipeline."""
    overrides = [
        f"scenario.nside={options.nside}",
        f"scenario.nside_sky={options.nside_sky}",
        f"vary={options.vary}",
        f"scenario.lmax={3 * options.nside - 1}",
        f"splits.train={n}",
        "splits.valid=0",
        "splits.test=0",
        f"lensing={lensing}",
        f"runner.threads={options.threads}",
        "~stages.mask",
        "~stages.figures",
        "~stages.sky_figures",
    ]
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        return build_pipeline(hydra.compose("sims", overrides), root)


def stage_seconds(root: Path, stage: str) -> list[float]:
    """Return the seconds of every unit of a stage, in the order of their names."""
    records = sorted((root / ".records" / stage).glob("*.json"))
    return [json.loads(path.read_text())["seconds"] for path in records]


def floor(options: argparse.Namespace, lensing: str, pipeline: Pipeline, root: Path) -> dict[str, float]:
    """Time, with bare calls, what one simulation cannot do without."""
    nside, lmax, threads = options.nside, 3 * options.nside - 1, options.threads
    channels = pipeline.graph.stages["observe"].channels
    cuts = [noise_cut(root, freq) for freq in channels]
    signal = [signal_lmax(channel.beam(lmax, 1)) for channel in channels.values()]
    rng, geometry = np.random.default_rng(0), pixel_geometry(nside)

    def synthesise(limit: int) -> None:
        alm = np.ones((1, alm_size(limit)), np.complex64)
        ducc0.sht.synthesis(alm=alm, lmax=limit, spin=0, nthreads=threads, **geometry)

    def draw() -> None:
        reach = needed_lmax(lmax, "I", lensing)
        rng.standard_normal(2 * alm_size(reach) * (2 if lensing == "remap" else 1))
        for cut in cuts:
            rng.standard_normal(12 * nside**2, dtype=np.float32)
            rng.standard_normal(2 * alm_size(cut))

    def write() -> None:
        values = np.zeros(12 * nside**2, ">f4").tobytes()
        for i in range(1 + len(channels)):
            put(root / f"floor_{i}", values)
        put(root / "floor_alm", np.zeros(alm_size(lmax), np.complex64).tobytes())

    parts = {
        "CMB transforms": lambda: [synthesise(limit) for limit in (lmax, *signal)],
        "noise transforms": lambda: [synthesise(cut) for cut in cuts if cut >= 0],
        "random draws": draw,
        "file writes": write,
    }
    if lensing == "remap":
        parts["lensing transforms"] = lambda: lens(lmax, needed_lmax(lmax, "I", "remap"), threads)
    return {name: median_seconds(part) for name, part in parts.items()}


def lens(lmax: int, reach: int, threads: int) -> None:
    """Run the transforms of one remapping: deflection, evaluation at the deflected points, analysis."""
    grid = Geom.get_thingauss_geometry((reach + lmax + 512) // 2, 2)
    rings = {"theta": grid.theta, "nphi": grid.nph, "phi0": grid.phi0, "ringstart": grid.ofs, "nthreads": threads}
    alm = np.full((1, alm_size(reach)), 1e-12, complex)
    deflection = ducc0.sht.synthesis(alm=alm, spin=1, lmax=reach, mode="GRAD_ONLY", **rings)
    places = ducc0.misc.get_deflected_angles(deflect=deflection.T, calc_rotation=False, **rings)
    single = alm.astype(np.complex64)
    # One thread, as ours: with more the bits would depend on how many.
    values = ducc0.sht.synthesis_general(alm=single, spin=0, lmax=reach, loc=places, epsilon=1e-5, nthreads=1)
    ducc0.sht.adjoint_synthesis(map=values, spin=0, lmax=lmax, **rings)


def noise_cut(root: Path, freq: str) -> int:
    """Return the multipole up to which the correlated noise of a channel is synthesised."""
    std = HealpixMap().read(root / "noise" / f"noise_std_map_{freq}.fits")
    table = FitsTable().read(root / "noise" / f"noise_spectrum_{freq}.fits")
    return NoiseModel.from_parts(std.values, {name: np.asarray(table[name]) for name in table.colnames}).cut()


def put(path: Path, data: bytes) -> None:
    """Write bytes and flush them to the disk."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
