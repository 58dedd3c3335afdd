"""Clean the same observations with pyilc and with our own engine, and say how far apart the results are.

    PYILC_PYTHON=INTERPRETER python benchmarks/pyilc_parity.py system.root=FOLDER dataset=NAME
    ... ours=hilc theirs=pyilc_hilc 'method.bands.peaks=[100,200,300,383]' method.bands.nside=null

Every `method.KEY=VALUE` goes to both, under which the same keys mean the same, and `only_ours.KEY=VALUE` to our own
engine: `only_ours.iterations=3` analyses maps as pyilc does, which matters near l = 3 nside. What has been cleaned with
these settings before is not cleaned again. Errors are against the true CMB at the beam and in the band of the results.
"""

import subprocess
import sys
from pathlib import Path

import healpy as hp
import numpy as np
import yaml

from cmbml.sky.beams import gaussian_window
from cmbml.sky.harmonics import cut_alm, filter_alm, synthesise

PROJECT = Path(__file__).resolve().parents[1]
DEFAULTS = {"system.root": "datasets", "dataset": "demo", "ours": "cnilc", "theirs": "pyilc_cnilc", "latitude": "20"}


def main() -> None:
    """Clean, compare and print."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    options = {key: given.pop(key, value) for key, value in DEFAULTS.items()}
    folder = Path(options["system.root"]) / options["dataset"]
    methods = {which: f"{options[which]}_parity" for which in ("theirs", "ours")}
    private = {key: given.pop(key) for key in list(given) if key.startswith("only_ours.")}
    extra = {"theirs": given, "ours": given | {f"method.{key.split('.', 1)[1]}": v for key, v in private.items()}}
    for which, name in methods.items():
        clean(options, options[which], name, extra[which])
    sims = sorted(path.parent for path in (folder / "clean" / methods["ours"]).glob("*/*/cleaned_map.fits"))
    sys.stdout.write("|b| > {latitude} deg, uK: rms of theirs - truth, ours - truth, theirs - ours\n".format(**options))
    for sim in sims:
        place = "/".join(sim.parts[-2:])
        found = {which: folder / "clean" / name / place for which, name in methods.items()}
        report(folder, place, found, float(options["latitude"]))


def clean(options: dict[str, str], method: str, name: str, more: dict[str, str]) -> None:
    """Clean the dataset's test split with one method."""
    words = [f"{key}={options[key]}" for key in ("system.root", "dataset")]
    words += [f"method={method}", f"method.name={name}", *(f"{key}={value}" for key, value in more.items())]
    subprocess.run([sys.executable, PROJECT / "main_clean.py", *words], cwd=PROJECT, check=True)


def report(folder: Path, place: str, found: dict[str, Path], latitude: float) -> None:
    """Print the figures of one simulation."""
    maps, headers = {}, {}
    for which, path in found.items():
        maps[which], header = hp.read_map(path / "cleaned_map.fits", h=True, dtype=np.float64)
        headers[which] = dict(header)
    nside = hp.get_nside(maps["ours"])
    lmax, fwhm = int(headers["theirs"]["LMAX"]), float(headers["theirs"]["FWHM"])
    if (int(headers["ours"]["LMAX"]), float(headers["ours"]["FWHM"])) != (lmax, fwhm):
        sys.exit("the two results differ in lmax or in beam: give both the same settings")
    alm = np.load(folder / "cmb" / place / "cmb_alm.npy").astype(np.complex128)
    truth = synthesise(filter_alm(cut_alm(alm[:1], lmax), gaussian_window(fwhm, lmax)), nside)[0]
    kept = np.abs(90 - np.rad2deg(hp.pix2ang(nside, np.arange(truth.size))[0])) > latitude
    theirs, ours = (rms((maps[which] - truth)[kept]) for which in ("theirs", "ours"))
    apart = rms((maps["theirs"] - maps["ours"])[kept])
    times = f"{seconds(found['theirs']):.1f} s and {seconds(found['ours']):.2f} s"
    sys.stdout.write(
        f"{place}: {theirs:.5f}  {ours:.5f}  {apart:.3e}; apart by {apart / theirs:.2e} of the residual, "
        f"errors by {abs(ours - theirs) / theirs:.2e}; {times}\n"
    )


def rms(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def seconds(path: Path) -> float:
    """Return how long a map took to clean."""
    return float(yaml.safe_load((path / "inference.yaml").read_text())["inference_seconds"])


if __name__ == "__main__":
    main()
