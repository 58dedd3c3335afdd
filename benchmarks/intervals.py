"""How often the 95 % intervals of scores hold the mean, for 3 to 200 simulations.

    python benchmarks/intervals.py --sims 1000 --workers 2
    python benchmarks/intervals.py --bundle datasets/first/summary/test/bundle.json.gz

Simulations with a sky each (nside 32, a fixed cosmology) are made, cleaned and scored; `--keep FOLDER` keeps them.
Their scores stand for all there could be: samples are drawn from them, with replacement, and it is counted how many of
their intervals hold the mean of all. The same for a lognormal of each score's skewness, whose mean is known. Beside
each stands what percentiles of a bootstrap of the same samples would hold.
"""

import argparse
import gzip
import json
import math
import sys
import tempfile
from pathlib import Path

import hydra
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from cmbml.core.app import CONFIG_FOLDER, run
from cmbml.metrics.intervals import mean_interval

METHODS = {"nilc": ["method.uncertainty=false"], "hilc": ["method.uncertainty=false"], "ilc_pixel": []}
SIZES = (3, 4, 5, 6, 8, 10, 20, 50, 100, 200)
FOOTING = "60 arcmin"
NO_FIGURES = ("residual", "band", "predictions", "comparison", "report", "learning", "generalisation", "coupling")

Numbers = NDArray[np.float64]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sims", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--keep", type=Path, help="folder in which the simulations stay")
    parser.add_argument("--bundle", type=Path, help="scores of a dataset that is there")
    options = parser.parse_args()
    if options.bundle:
        scores = read(options.bundle)
    else:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            scores = read(make(options.keep or Path(folder), options.sims, options.workers))
    n_sim = min(map(len, scores.values()))
    sys.stdout.write(
        f"coverage of 95 % intervals, per cent; {n_sim} simulations, {options.trials} samples of each size\n"
    )
    sys.stdout.write(f"{'':34}{'skewness':>9}{''.join(f'{n:>7}' for n in SIZES)}\n")
    for name, values in scores.items():
        rng, skewness = np.random.default_rng(0), float(np.mean(((values - values.mean()) / values.std()) ** 3))
        shape, sign = lognormal_shape(abs(skewness)), math.copysign(1, skewness)
        rows: dict[str, list[float]] = {"": [], "  of a lognormal": [], "  percentiles of a bootstrap": []}
        for n in SIZES:
            drawn = rng.choice(values, (options.trials, n))
            rows[""].append(held(drawn, float(values.mean())))
            like = sign * np.exp(shape * rng.standard_normal((options.trials, n)))
            rows["  of a lognormal"].append(held(like, sign * math.exp(shape**2 / 2)))
            rows["  percentiles of a bootstrap"].append(percentiles_held(drawn[:400], float(values.mean()), rng))
        for what, found in rows.items():
            head = f"{what or name:34}{'' if what else f'{skewness:.2f}':>9}"
            sys.stdout.write(f"{head}{''.join(f'{100 * x:7.1f}' for x in found)}\n")


def make(root: Path, n_sim: int, workers: int) -> Path:
    """Simulate, clean and score; return where the scores are."""
    common = [f"system.root={root}", "dataset=intervals"]
    many = ["runner=processes", f"runner.workers={workers}"] if workers > 1 else []
    splits = ["splits.train=0", "splits.valid=0", f"splits.test={n_sim}"]
    sims = ["scenario=tiny", "cosmology=fixed", "lensing=spectra", *splits, "~stages.figures", "~stages.sky_figures"]
    left_out = [f"~stages.{name}" for name in (*NO_FIGURES, "power_spectra", "gathered_spectra")]
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        run("sims", hydra.compose("sims", [*common, *many, *sims]))
        for method, settings in METHODS.items():
            run("clean", hydra.compose("clean", [*common, *many, f"method={method}", *settings]))
        run("analysis", hydra.compose("analysis", [*common, *many, f"methods=[{','.join(METHODS)}]", *left_out]))
    return root / "intervals/summary/test/bundle.json.gz"


def read(bundle: Path) -> dict[str, Numbers]:
    """Return RMSE and NRMSE of each method, and the differences between methods, `(n_sim,)` each."""
    methods = json.loads(gzip.decompress(bundle.read_bytes()))["methods"]
    scores = {}
    for metric in ("rmse", "nrmse"):
        for method, entry in methods.items():
            columns = (entry["rows"][name] for name in ("footing", "field", "region", "metric"))
            row = list(zip(*columns, strict=True)).index((FOOTING, "I", "mask", metric))
            scores[f"{metric} {method}"] = np.array(entry["scores"]["value"][row])
    names = list(methods)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return scores | {f"rmse {a} - {b}": scores[f"rmse {a}"] - scores[f"rmse {b}"] for a, b in pairs}


def held(samples: Numbers, mean: float) -> float:
    """Return the part of samples `(n_trial, n)` whose intervals hold a mean."""
    return float(np.mean([found.low <= mean <= found.high for found in map(mean_interval, samples)]))


def percentiles_held(samples: Numbers, mean: float, rng: np.random.Generator, n_draws: int = 1000) -> float:
    """Do the same for percentiles of a bootstrap."""
    within = []
    for values in samples:
        low, high = np.percentile(rng.choice(values, (n_draws, len(values))).mean(axis=1), [2.5, 97.5])
        within.append(low <= mean <= high)
    return float(np.mean(within))


def lognormal_shape(skewness: float) -> float:
    """Return sigma of the lognormal of a skewness, (exp(sigma^2) + 2) sqrt(exp(sigma^2) - 1)."""
    if skewness < 1e-3:
        return skewness / 3
    return float(brentq(lambda s: (math.exp(s**2) + 2) * math.sqrt(math.expm1(s**2)) - skewness, 1e-4, 3.0))


if __name__ == "__main__":
    main()
