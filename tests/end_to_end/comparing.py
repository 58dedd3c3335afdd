"""The dataset `sky` with four methods compared on it (the fixture `compared`): names, tables, predictions."""

from pathlib import Path

import healpy as hp
import numpy as np
from astropy.table import Table

NSIDE = 16
N_PIX = 12 * NSIDE**2
SIMS = ("sim0000", "sim0001", "sim0002")
METHODS = ("control_truth", "control_channel", "control_zero", "ilc_pixel")
FOOTINGS = {"deconvolved": 0.0, "20.6 arcmin": 20.6, "60 arcmin": 60.0}


def table(root: Path, stage: str, method: str, sim: str = "sim0000") -> Table:
    folder = root / "sky" / stage / method / "test" / sim
    return wide(folder / "scores.csv") if stage == "metrics" else Table.read(folder / "spectra_scores.csv")


def wide(path: Path) -> Table:
    """Return a table of scores with a column for each metric and each floor, and a row for each place."""
    rows: dict[tuple[str, ...], dict[str, str | float]] = {}
    for row in Table.read(path):
        where = {name: str(row[name]) for name in ("footing", "field", "region")}
        mine = rows.setdefault(tuple(where.values()), where | {"n_pix": int(row["count"])})
        mine |= {row["metric"]: float(row["value"]), f"floor_{row['metric']}": float(row["floor"])}
        mine |= {f"noise_{row['metric']}": float(row["noise_floor"])}
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return Table({name: [row.get(name, np.nan) for row in rows.values()] for name in names})


def scores(root: Path, method: str, metric: str, footing: str, region: str = "mask") -> np.ndarray:
    """Return a metric of each simulation."""
    rows = [table(root, "metrics", method, sim) for sim in SIMS]
    return np.array([found[(found["footing"] == footing) & (found["region"] == region)][metric][0] for found in rows])


def predict(folder: Path, values: dict[str, np.ndarray]) -> Path:
    """Write predictions, simulation -> `(n_pix,)` uK_CMB."""
    (folder / "test").mkdir(parents=True)
    for sim, sky in values.items():
        hp.write_map(folder / "test" / f"{sim}.fits", sky, column_units="uK_CMB", dtype=np.float64)
    return folder
