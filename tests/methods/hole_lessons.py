"""Toy patches with holes whose fields are Gaussian and known, and trainings on them."""

from pathlib import Path
from typing import Any

import numpy as np

from cmbml.handlers.mapped_array import MappedArrays
from cmbml.methods.holes.case import HOLED, MASK, NOISE
from cmbml.methods.holes.patches import HolePatches
from cmbml.methods.normalisation import Moments, Normalisation
from cmbml.methods.trained import Lesson
from cmbml.methods.training.method import NetworkMethod
from cmbml.methods.training.network import Network
from cmbml.methods.training.objective import Objective
from cmbml.methods.training.settings import Training
from cmbml.sky.case import CaseSpec
from cmbml.sky.maps import MapSpec

SIDE, CORRELATION, NOISE_STD = 20, 3.0, 0.05
SPEC = MapSpec(nside=16, lmax=32)
HUNDRED = Normalisation(kind="fixed", by=100.0)


def covariance(side: int = SIDE) -> np.ndarray:
    """A rough Gaussian field that falls off over three pixels, on a plane: `(n_pix, n_pix)`, variance one."""
    rows, columns = np.divmod(np.arange(side**2), side)
    square = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    return np.exp(-np.sqrt(square) / CORRELATION)


def holed(number: int, rng: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Draw features and targets of patches with a round hole each, in uK of a hundredth."""
    root = np.linalg.cholesky(covariance(side) + 1e-6 * np.eye(side**2))
    fields = (rng.standard_normal((number, side**2)) @ root.T).reshape(number, 1, side, side)
    place = np.arange(side)
    known = np.ones((number, 1, side, side))
    for patch, (y, x, radius) in zip(known, rng.uniform([6, 6, 2.5], [14, 14, 4.5], (number, 3)), strict=True):
        patch[0][(place[:, None] - y) ** 2 + (place - x) ** 2 < radius**2] = 0
    seen = (fields + NOISE_STD * rng.standard_normal(fields.shape)) * known
    return np.concatenate([100 * seen, known], axis=1).astype(np.float32), (100 * fields).astype(np.float32)


def lesson_of(folder: Path, n_train: int, n_valid: int, seed: int = 1) -> Lesson:
    """Write toy patches, a simulation for the training and one for the validation."""
    rng, parts, moments = np.random.default_rng(seed), [], []
    for name, number in (("train", n_train), ("valid", n_valid)):
        arrays = holed(number, rng)
        paths = [folder / f"{name}_{kind}.npy" for kind in ("features", "target")]
        for path, values in zip(paths, arrays, strict=True):
            np.save(path, values)
        parts.append(tuple(MappedArrays([path], [number]) for path in paths))
        moments.append(tuple(Moments.of(np.moveaxis(values, 1, 0)) for values in arrays))
    (folder / "logs").mkdir()
    (folder / "work").mkdir()
    return Lesson(
        spec=CaseSpec({HOLED: SPEC, MASK: SPEC, NOISE: SPEC}, SPEC),
        train=parts[0],
        valid=parts[1],
        names=[f"sample {number}" for number in range(n_train)],
        moments=moments[0],
        seed=5,
        workdir=folder / "work",
        logdir=folder / "logs",
        report=[].append,
    )


def method_of(network: Network, objective: Objective, **train: Any) -> NetworkMethod:
    chosen = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "final_learning_rate": 3e-4} | train
    return NetworkMethod(
        name="tiny",
        examples=HolePatches(name="patches", height=SIDE, width=SIDE, pixel_arcmin=(90.0, 90.0)),
        network=network,
        features=HUNDRED,
        target=HUNDRED,
        objective=objective,
        train=Training(**chosen),
    )
