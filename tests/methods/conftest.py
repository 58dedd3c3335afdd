"""The arrays and the lesson of a tiny training."""

from pathlib import Path

import numpy as np
import pytest
from learning import N_TRAIN, N_VALID, NSIDE, RISE, spec_of

from cmbml.handlers.mapped_array import MappedArrays
from cmbml.methods.normalisation import Moments
from cmbml.methods.trained import Lesson


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """A signal in both channels, and something brighter that rises with frequency."""
    folder, rng = tmp_path_factory.mktemp("arrays"), np.random.default_rng(7)
    found: dict[str, list[Path]] = {"features": [], "target": []}
    for number in range(N_TRAIN + N_VALID):
        signal, dust = rng.normal(size=(2, 1, 4 * NSIDE, 3 * NSIDE)) * np.array([100.0, 300.0])[:, None, None, None]
        pair = {"features": signal + RISE * dust + rng.normal(size=(2, 4 * NSIDE, 3 * NSIDE)), "target": signal + 2.0}
        for name, values in pair.items():
            found[name].append(folder / f"{name}{number}.npy")
            np.save(found[name][-1], values.astype(np.float32)[np.newaxis])
    return found


@pytest.fixture
def lesson(arrays: dict[str, list[Path]], tmp_path: Path) -> Lesson:
    (tmp_path / "logs").mkdir()
    parts = [
        tuple(MappedArrays(arrays[name][part], [1] * len(arrays[name][part])) for name in ("features", "target"))
        for part in (slice(N_TRAIN), slice(N_TRAIN, None))
    ]
    return Lesson(
        spec=spec_of(),
        train=parts[0],
        valid=parts[1],
        names=[f"train/sim{number:04d}" for number in range(N_TRAIN)],
        moments=tuple(Moments.of_all(map(Moments.of, part)) for part in parts[0]),
        seed=2026,
        workdir=tmp_path / "work",
        logdir=tmp_path / "logs",
        report=[].append,
    )
