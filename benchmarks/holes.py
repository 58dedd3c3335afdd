"""Time the filling of holes with constrained realisations: what knows the holes against what is diagonal in l.

    python benchmarks/holes.py --nside 64
    python benchmarks/holes.py --nside 512 --max-iterations 600       # the diagonal one is stopped there
    python benchmarks/holes.py --nside 64 --fields IQU --lmax-ratio 1.5

The map is a CMB up to lmax = 2 nside behind a Galactic mask with point holes. Each preconditioner runs in a process of
its own and finds the Wiener mean of the same map. Two marks are timed: where the residual is 1e-5 of the right side and
where the rms error is a thousandth of the standard deviation that the map leaves to each mode. The first is what is
commonly stated; where the signal is far above the noise only the second says that holes are filled. Compare ratios of
one run: absolute times hold for one machine.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PARTS = ("hole_aware", "diagonal")
RESIDUAL = 1e-5
ERROR = 1e-3


def holes(nside: int, sky_fraction: float) -> object:
    """Return a mask of a wavy Galactic band and of 100 disks of radii from .3 to 2 degrees: False in holes."""
    import healpy as hp
    import numpy as np

    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    waves = 1 + 0.3 * np.cos(phi) + 0.15 * np.cos(5 * phi) + 0.1 * np.sin(17 * phi)
    observed = np.abs(np.pi / 2 - theta) > np.arcsin(1 - sky_fraction) * waves
    rng = np.random.default_rng(3)
    for _ in range(100):
        centre = rng.standard_normal(3)
        observed[hp.query_disc(nside, centre / np.linalg.norm(centre), np.radians(rng.uniform(0.3, 2)))] = False
    return observed


def problem(arguments: argparse.Namespace) -> tuple:
    """Return what is known of a map, and the map."""
    import numpy as np

    from cmbml.methods.holes.signal import NoisyMap, Signal
    from cmbml.sims.cosmology import FixedCosmology
    from cmbml.sims.spectrum import theory_spectra
    from cmbml.sky.beams import gaussian_window
    from cmbml.sky.harmonics import random_alm

    nside, lmax, rng = arguments.nside, round(arguments.lmax_ratio * arguments.nside), np.random.default_rng(1)
    cl = theory_spectra(FixedCosmology().draw(0, rng, 0), max(lmax, 500))
    n_comp = len(arguments.fields)
    spectra = np.zeros((n_comp, n_comp, lmax + 1))
    for i, first in enumerate("TEB"[:n_comp]):
        spectra[i, i] = cl[f"lensed_{first}{first}"][: lmax + 1]
    if n_comp == 3:
        spectra[0, 1] = spectra[1, 0] = cl["lensed_TE"][: lmax + 1]
    fwhm = arguments.fwhm_pixels * 60 * np.degrees(np.sqrt(4 * np.pi / (12 * nside**2)))
    window = np.stack([gaussian_window(fwhm, lmax, spin) for spin in (0, 2, 2)[:n_comp]])
    signal = Signal(spectra, window, nside, arguments.threads)
    observed = holes(nside, arguments.sky_fraction)
    noisy = NoisyMap.of(signal, observed, arguments.noise_uk**2)
    data = signal.to_map(random_alm(rng, lmax, n_comp))
    return noisy, data + arguments.noise_uk * rng.standard_normal(data.shape)


def time_part(arguments: argparse.Namespace) -> dict:
    """Prepare one preconditioner and solve; return the iterations and seconds of both marks."""
    from cmbml.methods.holes.filling import ConstrainedRealisations
    from cmbml.methods.holes.signal import HoleError
    from cmbml.methods.holes.wiener import ConjugateGradients, Convergence

    noisy, data = problem(arguments)
    megabytes_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    solver = ConjugateGradients(accuracy=ERROR, max_iterations=arguments.max_iterations)
    sky = ConstrainedRealisations(preconditioner=arguments.part, solver=solver).prepare(noisy)
    started = time.perf_counter()
    _ = sky.preconditioner  # made when it is first asked for
    found: dict = {"prepared": time.perf_counter() - started, "residual": None, "error": None}
    started = time.perf_counter()
    last: list[Convergence] = []

    def note(state: Convergence) -> None:
        seconds = time.perf_counter() - started
        for mark, reached in (("residual", state.relative_residual < RESIDUAL), ("error", state.error < ERROR)):
            if reached and found[mark] is None:
                found[mark] = [state.iterations, seconds, state.relative_residual, state.error]
        last[:] = [state]

    try:
        sky.mean(data, note)
    except HoleError:
        found["stopped"] = [last[0].iterations, time.perf_counter() - started, last[0].relative_residual, last[0].error]
    found["mebibytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["mebibytes_before"] = megabytes_before
    lmax = noisy.signal.lmax
    power = (noisy.signal.beamed_spectra[0, 0] / arguments.noise_uk**2 * noisy.observed.size / 12.566)[[2, lmax]]
    found["map"] = {"sky": noisy.observed.mean(), "lmax": lmax, "ratio": power.tolist()}
    return found


def run_part(part: str) -> dict:
    """Run a part of this program in a process of its own."""
    words = [sys.executable, __file__, *sys.argv[1:], "--part", part]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(parse().threads))
    return json.loads(subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout)


def show(part: str, found: dict) -> None:
    """Print what one preconditioner took."""
    print(
        f"  {part}: prepared in {found['prepared']:.1f} s; at most {found['mebibytes']:.0f} MiB, "
        f"{found['mebibytes_before']:.0f} of them before"
    )
    names = {"residual": f"residual {RESIDUAL:g}", "error": f"error {ERROR:g} sigma", "stopped": "stopped"}
    for mark, name in names.items():
        if found.get(mark):
            iterations, seconds, residual, error = found[mark]
            print(
                f"    {name:18} {iterations:5d} iterations {seconds:8.1f} s; residual {residual:.1e}, "
                f"error {error:.1e} sigma"
            )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nside", type=int, default=64, help="of the map")
    parser.add_argument("--lmax-ratio", type=float, default=2.0, help="band limit over nside")
    parser.add_argument("--fields", choices=("I", "IQU"), default="I")
    parser.add_argument("--noise-uk", type=float, default=1.0, help="standard deviation in a pixel, uK")
    parser.add_argument("--fwhm-pixels", type=float, default=2.9, help="width of the beam, in pixels: 20' at nside 512")
    parser.add_argument("--sky-fraction", type=float, default=0.72, help="outside of the Galactic mask")
    parser.add_argument("--max-iterations", type=int, default=2000, help="where a preconditioner is given up")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Time both, and print the ratios."""
    arguments = parse()
    if arguments.part is not None:
        print(json.dumps(time_part(arguments)))
        return
    found = {part: run_part(part) for part in PARTS}
    described = found[PARTS[0]]["map"]
    low, high = described["ratio"]
    print(
        f"nside {arguments.nside}, lmax {described['lmax']}, {arguments.fields}, {arguments.threads} threads, "
        f"{described['sky']:.3f} of the sky, {arguments.noise_uk:g} uK a pixel; "
        f"signal / noise in power from {low:.1e} (l = 2) to {high:.1e} (lmax)"
    )
    for part in PARTS:
        show(part, found[part])
    for mark in ("residual", "error"):
        aware, diagonal = (found[part][mark] or found[part].get("stopped") for part in PARTS)
        more = "" if found["diagonal"][mark] else "more than "
        prepared = found["hole_aware"]["prepared"]
        print(
            f"  diagonal / hole_aware, {mark}: {more}{diagonal[0] / aware[0]:.1f} in iterations, "
            f"{diagonal[1] / aware[1]:.1f} in seconds, {diagonal[1] / (aware[1] + prepared):.1f} with preparation"
        )


if __name__ == "__main__":
    main()
