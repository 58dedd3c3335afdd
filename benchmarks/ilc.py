"""Time the needlet ILC with the paper's settings, the transforms that it needs, and pyilc beside it.

    python benchmarks/ilc.py --nside 512
    python benchmarks/ilc.py --nside 128 --pyilc PYTHON     # an interpreter that has pyilc

Each program runs in a process of its own, which starts with the maps of one sky in memory; pyilc's time holds its
start and its files, because it cannot do without. Compare ratios of one run: absolute times hold for one machine.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PARTS = ("ours", "transforms")


def settings(method: str) -> tuple:
    """Return the method as its config file has it, and the instrument."""
    import hydra
    from omegaconf import OmegaConf

    from cmbml.core.app import CONFIG_FOLDER
    from cmbml.sky.instrument import Channel

    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        node = hydra.compose("clean", [f"method={method}"])["method"]
        channels = hydra.compose("sims", ["instrument=planck_widened"])["instrument"]["channels"]
    made = hydra.utils.instantiate(node, _convert_="all")
    return made, {name: Channel(**OmegaConf.to_container(entry)) for name, entry in channels.items()}


def observe(nside: int, channels: dict) -> tuple:
    """Return an observation of a CMB, dust, synchrotron and noise."""
    import numpy as np

    from cmbml.methods.ilc.sed import ModifiedBlackBody, PowerLaw
    from cmbml.sky.case import Observation, ObservationSpec
    from cmbml.sky.harmonics import filter_alm, random_alm, synthesise
    from cmbml.sky.maps import MapSpec, SkyMap

    lmax, rng = 3 * nside - 1, np.random.default_rng(0)
    ell = np.arange(lmax + 1.0)
    slope = 600 / (ell + 10)
    cmb, dust, synchrotron = (filter_alm(random_alm(rng, lmax), slope) for _ in range(3))
    truth = MapSpec(nside=nside, lmax=lmax)
    area = 4 * np.pi / truth.n_pix * (180 * 60 / np.pi) ** 2
    maps = {}
    for name, channel in channels.items():
        freq = np.array([channel.freq_ghz])
        emission = 10 * ModifiedBlackBody(beta=1.6, temperature_k=20.0).spectrum(freq) * dust
        emission = emission + 10 * PowerLaw(beta=-3.1).spectrum(freq) * synchrotron
        values = synthesise(filter_alm(cmb + emission, channel.beam(lmax, 1)[0]), nside, 2)
        values += channel.depth("I") / np.sqrt(area) * rng.standard_normal(values.shape)
        spec = truth.with_(beam="gaussian", fwhm_arcmin=channel.fwhm_arcmin)
        maps[name] = SkyMap(values.astype(np.float32), spec)
    return Observation(ObservationSpec({n: m.spec for n, m in maps.items()}, truth, channels), maps)


def repeat(work: Callable[[], object], times: int) -> list[float]:
    """Return the seconds that each of several runs took."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def time_ours(nside: int, method: str, threads: int, times: int) -> dict:
    """Clean one sky several times."""
    made, channels = settings(method)
    observation = observe(nside, channels)
    return {"seconds": repeat(lambda: made.clean(observation, Path(), threads), times)}


def time_transforms(nside: int, method: str, threads: int, times: int) -> dict:
    """Do the transforms that the algorithm cannot do without, on noise.

    These are the analysis of each channel, the synthesis of each channel at each scale, the quadrature of means and of
    products at low multipoles, the synthesis of weights, the analysis of each scale and the synthesis of the result.
    """
    import ducc0
    import numpy as np

    from cmbml.methods.ilc.transforms import analysed
    from cmbml.sky.harmonics import pixel_geometry, random_alm, synthesise

    made, channels = settings(method)
    spec = observe(nside, channels).spec
    plan, lmax = made.plan(spec, 0), made.lmax(spec)
    rng = np.random.default_rng(1)
    skies = {each: rng.standard_normal((1, 12 * each**2)) for each in {nside, *(s.nside for s in plan.scales)}}
    alm = {each: random_alm(rng, each) for each in {lmax, *(s.lmax for s in plan.scales)}}

    def work() -> None:
        for _ in made.channels:
            analysed(skies[nside], lmax, threads)
        for scale in plan.scales:
            n = len(scale.channels)
            low = random_alm(rng, 2 * scale.nside_weights) if scale.nside_weights < scale.nside else None
            end = len(scale.kernel) - 1
            for _ in range(n):
                synthesise(alm[scale.lmax], scale.nside, threads)
                if low is not None:
                    synthesise(low, scale.nside, threads)
            batch = np.broadcast_to(skies[scale.nside], (4, 1, 12 * scale.nside**2)).copy()
            for _ in range(-(-n * (n + 1) // 8)):
                geometry = pixel_geometry(scale.nside)
                ducc0.sht.adjoint_synthesis(map=batch, spin=0, lmax=end, nthreads=threads, **geometry)
            analysed(skies[scale.nside], scale.lmax, threads)
        synthesise(alm[lmax], nside, threads)

    return {"seconds": repeat(work, times)}


def run_part(part: str, arguments: argparse.Namespace) -> dict:
    """Run a part of this program in a process of its own."""
    words = [sys.executable, __file__, "--part", part, "--nside", str(arguments.nside), "--method", arguments.method]
    words += ["--threads", str(arguments.threads), "--times", str(arguments.times)]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(arguments.threads))
    return json.loads(subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout)


def time_pyilc(arguments: argparse.Namespace) -> list[float]:
    """Clean the same sky with pyilc, through the adapter, each time from a cold start."""
    made, channels = settings(f"pyilc_{arguments.method}")
    observation = observe(arguments.nside, channels)

    def work() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            made.clean(observation, Path(scratch), arguments.threads)

    return repeat(work, 1)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nside", type=int, default=512, help="of the maps")
    parser.add_argument("--method", default="cnilc", help="which config of cfg/method is timed")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of all")
    parser.add_argument("--times", type=int, default=3, help="how often ours is run; the fastest counts")
    parser.add_argument("--pyilc", help="interpreter that has pyilc; left out without one")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Time all, and print the ratios."""
    arguments = parse()
    if arguments.part is not None:
        work = {"ours": time_ours, "transforms": time_transforms}[arguments.part]
        found = work(arguments.nside, arguments.method, arguments.threads, arguments.times)
        found["mebibytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    found = {part: run_part(part, arguments) for part in PARTS}
    ours, transforms = (min(found[part]["seconds"]) for part in PARTS)
    print(f"{arguments.method}, nside {arguments.nside}, {arguments.threads} threads, one sky")
    print(f"  ours        {ours:8.2f} s, at most {found['ours']['mebibytes']:.0f} MiB with the maps and the libraries")
    print(f"  transforms  {transforms:8.2f} s; ours / transforms = {ours / transforms:.2f}")
    if arguments.pyilc:
        os.environ["PYILC_PYTHON"] = arguments.pyilc
        seconds = time_pyilc(arguments)[0]
        print(f"  pyilc, cold {seconds:8.2f} s; pyilc / ours = {seconds / ours:.1f}")


if __name__ == "__main__":
    main()
