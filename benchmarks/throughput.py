"""Simulations per second with two processes against one, and the memory that a worker needs as simulations grow.

    python benchmarks/throughput.py --nside 512 --simulations 8

Every worker has one thread. The sky and the noise model are made beforehand; what is timed is the whole run of the
simulations, the start of the workers included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAIN = Path(__file__).resolve().parents[1] / "main_sims.py"
MEASURE = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.stdout.write(f"peak {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}\\n")
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--simulations", type=int, default=8)
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for workers, n in ((1, options.simulations), (2, options.simulations), (2, 2 * options.simulations)):
            root = Path(folder) / f"w{workers}n{n}"
            run(root, options.nside, workers, 1)
            started = time.perf_counter()
            peak = run(root, options.nside, workers, 1 + n)
            rows[workers, n] = (n / (time.perf_counter() - started), peak)
            sys.stdout.write(
                f"nside {options.nside}, {workers} workers, {n:3d} simulations: {rows[workers, n][0]:.3f} per second, "
                f"peak memory of a worker {peak / 1e6:.2f} GB\n"
            )
            sys.stdout.flush()
    n = options.simulations
    sys.stdout.write(f"two workers / one: {rows[2, n][0] / rows[1, n][0]:.2f}\n")
    sys.stdout.write(f"memory with twice the simulations / with {n}: {rows[2, 2 * n][1] / rows[2, n][1]:.2f}\n")


def run(root: Path, nside: int, workers: int, n: int) -> int:
    """Bring a dataset to `n` simulations; return the peak memory of a worker, kB."""
    overrides = {
        "system.root": root.parent,
        "dataset": root.name,
        "scenario.nside": nside,
        "scenario.nside_sky": nside,
        "scenario.lmax": 3 * nside - 1,
        "splits.train": n,
        "splits.valid": 0,
        "splits.test": 0,
        "runner": "processes",
        "runner.workers": workers,
        "runner.threads": 1,
    }
    words = [f"{key}={value}" for key, value in overrides.items()]
    command = [
        sys.executable,
        "-c",
        MEASURE,
        str(MAIN),
        *words,
        "~stages.mask",
        "~stages.figures",
        "~stages.sky_figures",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    manifest = max((root / "runs").glob("*/manifest.json"))
    if json.loads(manifest.read_text())["plan"]["observe"]["todo"] == 0:
        message = "the run had nothing to do"
        raise RuntimeError(message)
    return int(done.stdout.rsplit("peak ", 1)[1])


if __name__ == "__main__":
    main()
