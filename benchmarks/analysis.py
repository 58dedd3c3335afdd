"""Seconds to score one cleaned map at three footings, with spectra, beside its transforms and a plain healpy path.

    python benchmarks/analysis.py --nside 512 --threads 2

The floor is measured in the same run with bare ducc0 transforms of the same sizes. The healpy path does what is
commonly done with the same maps: smooth truth and prediction to each beam, remove the dipole, take the metrics, and two
anafasts.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import ducc0
import healpy as hp
import hydra
import numpy as np
from timing import median_seconds

from cmbml.core.app import CONFIG_FOLDER, run
from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import alm_size, pixel_geometry

STAGES = ("common", "metrics", "power_spectra")
BEAMS = (0.0, 20.6, 60.0)
METHOD = "control_channel"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    nside, write = options.nside, sys.stdout.write
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        prepare(root, nside, options.threads)
        seconds = {stage: unit_seconds(root / "d", stage) for stage in STAGES}
        healpy_path = median_seconds(lambda: plain_path(root / "d", nside), 1)
    ours = sum(seconds.values())
    parts = floor(nside, options.threads)
    total = sum(parts.values())
    write(f"nside {nside}, three footings, {options.threads} threads\n")
    for stage, value in seconds.items():
        write(f"  {stage:<44}{value:8.2f} s\n")
    write(f"  ours{'':40}{ours:8.2f} s\n")
    for name, value in parts.items():
        write(f"    floor: {name:<35}{value:8.2f} s\n")
    write(f"  ours / floor{'':32}{ours / total:8.2f}\n")
    write(f"  healpy path{'':33}{healpy_path:8.2f} s\n")
    write(f"  healpy path / ours{'':26}{healpy_path / ours:8.1f}\n")


def prepare(root: Path, nside: int, threads: int) -> None:
    """Build a dataset of two simulations, take one channel for cleaned maps, and score them."""
    scenario = {"nside": nside, "nside_sky": nside, "lmax": 3 * nside - 1, "lmax_scored": 2 * nside}
    common = [f"system.root={root}", "dataset=d", f"runner.threads={threads}"]
    sims = [f"scenario.{key}={value}" for key, value in scenario.items()]
    sims += [
        "splits.train=0",
        "splits.valid=0",
        "splits.test=2",
        "lensing=spectra",
        "~stages.figures",
        "~stages.sky_figures",
    ]
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        run("sims", hydra.compose("sims", common + sims))
        run("clean", hydra.compose("clean", [*common, f"method={METHOD}"]))
        run("analysis", hydra.compose("analysis", [*common, f"methods=[{METHOD}]"]))


def unit_seconds(root: Path, stage: str) -> float:
    """Return the seconds of the last unit of a stage; the first also fills caches."""
    records = sorted((root / ".records" / stage).glob("*.json"))
    return float(json.loads(records[-1].read_text())["seconds"])


def floor(nside: int, threads: int) -> dict[str, float]:
    """Time the transforms that scoring cannot do without."""
    geometry, lmax, scored = pixel_geometry(nside), 3 * nside - 1, 2 * nside
    values = np.zeros((1, 12 * nside**2), np.float32)

    def synthesise(limit: int) -> None:
        alm = np.ones((1, alm_size(limit)), np.complex64)
        ducc0.sht.synthesis(alm=alm, lmax=limit, spin=0, nthreads=threads, **geometry)

    def analyse(limit: int) -> None:
        for i in range(4):
            ducc0.sht.adjoint_synthesis(map=values, lmax=limit, spin=0, nthreads=threads, **geometry)
            if i < 3:
                synthesise(limit)

    eps = float(np.finfo(np.complex64).eps)
    tops = [min(scored, int(np.flatnonzero(gaussian_window(beam, lmax) > eps)[-1])) for beam in BEAMS]
    parts = {
        "analysis of the prediction": lambda: (synthesise(lmax), analyse(lmax)),
        "maps at the footings": lambda: [synthesise(top) for top in tops for _ in range(2)],
        "masked spectra": lambda: [(synthesise(lmax), analyse(scored)) for _ in range(2)],
    }
    return {name: median_seconds(part) for name, part in parts.items()}


def plain_path(root: Path, nside: int) -> None:
    """Score with healpy alone."""
    truth = hp.read_map(root / "cmb/test/sim0001/cmb_map.fits", dtype=np.float64)
    prediction = hp.read_map(root / f"clean/{METHOD}/test/sim0001/cleaned_map.fits", dtype=np.float64)
    mask = hp.read_map(root / "mask/mask.fits", dtype=np.float64)
    for beam in BEAMS:
        fwhm = np.deg2rad(beam / 60)
        maps = [hp.smoothing(values, fwhm=fwhm, iter=3) for values in (truth, prediction)]
        masked = [np.where(mask > 0, values, hp.UNSEEN) for values in maps]
        t, p = (hp.remove_dipole(values)[mask > 0] for values in masked)
        error = p - t
        span = max(t.max(), p.max()) - min(t.min(), p.min())
        np.abs(error).mean(), np.sqrt((error**2).mean()), np.linalg.norm(error) / np.linalg.norm(t)
        20 * np.log10(span / np.sqrt((error**2).mean())), 1 - (error**2).sum() / ((t - t.mean()) ** 2).sum()
    for values in (truth, prediction):
        hp.anafast(values * mask, lmax=2 * nside, iter=3)


if __name__ == "__main__":
    main()
