"""Write what is kept of a benchmark's maps, so that a report can say whether a dataset is it.

python main_sims.py dataset=frozen splits=benchmark_v1 splits.train=0 splits.valid=0
python benchmarks/freeze.py datasets/frozen > cmbml/metrics/frozen_lists/benchmark_v1.yaml
"""

import argparse
import sys
from pathlib import Path

import healpy as hp
import numpy as np

from cmbml.metrics.frozen import probe
from cmbml.stages.analysis.benchmark import TRUTH


def main() -> None:
    """Probe every simulation of a split, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    sys.stdout.write(f"{options.split}:\n")
    for folder in sorted((options.dataset / "observe" / options.split).iterdir()):
        maps = {path.stem.removeprefix("obs_map_"): read(path) for path in folder.glob("obs_map_*.fits")}
        truth = read(options.dataset / "cmb" / options.split / folder.name / "cmb_map.fits")
        sys.stdout.write(f"  {folder.name}:\n")
        for name, found in probe(maps | {TRUTH: truth}).items():
            sys.stdout.write(f'    "{name}": {found}\n')


def read(path: Path) -> np.ndarray:
    """Read all fields of a map, `(n_field, n_pix)`, as they stand in the file."""
    return np.atleast_2d(hp.read_map(path, field=None, dtype=np.float32))


if __name__ == "__main__":
    main()
