"""Who foretells dust best from the 21 cm line, over a grid of what the generator takes for granted.

python benchmarks/hydrogen_anchors.py --nside 64 --learnt 60 --judged 100 --epochs 6

Each row is a sky whose gas differs from the frozen one in one anchor, or in all. Everything learns in the north
and is judged in the south, on the same cutouts: r50 and r150 of the integrated intensity, and of others the gain over
it with in how many cutouts they are ahead.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cmbml.methods.hydrogen.examples import CUBE, MASK, HydrogenExamples
from cmbml.methods.hydrogen.linear import LinearDust
from cmbml.methods.hydrogen.network import Emissivity
from cmbml.methods.hydrogen.objective import CorrelateModes
from cmbml.methods.trained import Hardware, Lesson
from cmbml.metrics.correlation import correlations, over_tiles, wins
from cmbml.sims.hydrogen import CoDark, Hydrogen, draw_hydrogen
from cmbml.sky.case import Case, CaseSpec
from cmbml.sky.cutouts import Cutouts
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.masks import galactic_mask
from cmbml.sky.velocity import CubeSpec, VelocityAxis, VelocityCube

UK_RJ_PER_MAG = 1258.0
CPU = Hardware(device="cpu", threads=1)
FROZEN = Hydrogen()
NONE = {"phase_ratio": None, "spin_temperature_k": None, "co_dark": None}
MORE = {"phase_ratio": (2.4, 0.8, 0.33), "spin_temperature_k": (30.0, 60.0), "co_dark": CoDark(strength=3.0)}
GRID = {
    "as frozen": {},
    "none of the three": NONE,
    "more of all three": MORE,
    "phases: one dust ratio": {"phase_ratio": NONE["phase_ratio"]},
    "phases: 2.4, .8, .33": {"phase_ratio": MORE["phase_ratio"]},
    "optically thin": {"spin_temperature_k": NONE["spin_temperature_k"]},
    "spin 30 to 60 K": {"spin_temperature_k": MORE["spin_temperature_k"]},
    "no CO-dark gas": {"co_dark": NONE["co_dark"]},
    "twice the CO-dark gas": {"co_dark": MORE["co_dark"]},
}
WEIGHTS = {"hi_integrated": "integrated", "hi_linear": "free", "hi_linear_scales": "per_scale"}


def main() -> None:
    """Draw, learn, judge, and print a line for each sky."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name, value in (("nside", 64), ("channels", 32), ("learnt", 60), ("judged", 100), ("epochs", 6), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = ("hi_linear", "hi_linear_scales", "hi_emissivity")
    say("| gas | r50 / r150 of integrated | " + " | ".join(f"{name}: gain, ahead" for name in names) + " |")
    say("|" + "---|" * (len(names) + 2))
    for title, changes in GRID.items():
        started = time.perf_counter()
        found = judged(replace(FROZEN, **changes), options)
        base = found["hi_integrated"]
        cells = [title, " / ".join(f"{value:.3f}" for value in base[0].mean(axis=0))]
        for name in names:
            gain = over_tiles(found[name][0] - base[0], found[name][1], np.random.default_rng(0))
            ahead = wins(found[name][0], base[0]).sum(axis=0)
            texts = [
                f"{value:+.3f} ± {sigma:.3f}, {number}"
                for value, sigma, number in zip(gain.value, gain.sigma, ahead, strict=True)
            ]
            cells.append(" / ".join(texts))
        say(f"| {' | '.join(cells)} |")
        sys.stderr.write(f"{title}: {time.perf_counter() - started:.0f} s\n")


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def judged(gas: Hydrogen, options: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each method r50 and r150 of every cutout of the south, `(n, 2)`, and the tile that it lies in."""
    case, cutouts = sky_of(gas, options), Cutouts()
    shown = HydrogenExamples(name="cutouts", cutouts=cutouts, per_simulation=options.learnt)
    north = shown.choose(case.spec, np.random.default_rng(options.seed))
    learnt = (shown.features(case, north), shown.target(case, north))
    mask = case.shown[MASK].values[0]
    candidates = cutouts.centres(3 * options.judged, "south", case.spec.asked, np.random.default_rng(options.seed + 1))
    south = cutouts.visible(options.judged, candidates, mask, case.spec.asked)
    maps = np.concatenate([case.shown[CUBE].values, case.asked.values])
    images, kept = cutouts.cut(maps, mask, south, case.spec.asked)
    features, truth = np.concatenate([images[:, :-1], kept.astype(np.float32)], axis=1), images[:, -1]
    tiles = np.floor(south[:, 0] / 30).astype(int) + 100 * np.floor(south[:, 1] / 30).astype(int)
    found = {name: linear(kind, case.spec, shown, learnt, features) for name, kind in WEIGHTS.items()}
    found["hi_emissivity"] = emissivity(learnt, features, options)
    width = cutouts.fundamental
    return {
        name: (correlations(truth.astype(float), answer.astype(float), cutouts.pixel_rad, width).broad, tiles)
        for name, answer in found.items()
    }


def sky_of(gas: Hydrogen, options: argparse.Namespace) -> Case:
    """Draw a sky as `RealiseHydrogen` does; at nside 64 its filter does nothing."""
    axis = VelocityAxis(number=options.channels)
    sky = draw_hydrogen(gas, axis, options.nside, options.seed)
    dust = (sky.reddening * UK_RJ_PER_MAG).astype(np.float32)
    kept = galactic_mask([dust.astype(float)], np.ones(dust.size, dtype=bool), 0.72, 5.0, 1).astype(np.float32)
    asked = MapSpec(nside=options.nside, unit="uK_RJ")
    cube = CubeSpec(maps=asked.with_(unit="K"), axis=axis, noise_k=gas.noise(axis))
    mask = SkyMap(kept[None], asked.with_(unit=""))
    spec = CaseSpec({CUBE: cube, MASK: mask.spec}, asked)
    return Case(spec, {CUBE: VelocityCube(sky.cube, cube), MASK: mask}, SkyMap(dust[None], asked))


def linear(
    kind: str, spec: CaseSpec, shown: HydrogenExamples, learnt: tuple[np.ndarray, np.ndarray], features: np.ndarray
) -> np.ndarray:
    """Fit weights, and answer cutouts, `(n, height, width)`."""
    method = LinearDust(name=kind, examples=replace(shown, whole_sky=kind != "per_scale"), weights=kind)
    with tempfile.TemporaryDirectory() as folder:
        lesson = Lesson(
            spec=spec, train=learnt, valid=learnt, names=[""] * len(learnt[0]), moments=None, seed=0,
            workdir=Path(folder), logdir=Path(folder), report=lambda _: None,
        )  # fmt: skip
        state = method.fit(lesson, CPU).state
    return np.stack([reply.value[0] for reply in method.predict(state, features, CPU)])


def emissivity(learnt: tuple[np.ndarray, np.ndarray], features: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Train `hi_emissivity` with its own loss and rates for a few epochs, and answer cutouts, `(n, height, width)`."""
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    start = 0.36 * 64 / options.channels  # of wider channels, each stands for more gas
    network = Emissivity(emissivity=start).build(features.shape[1], 1)
    loss = CorrelateModes(pixel_arcmin=Cutouts().pixel_arcmin)
    steps = options.epochs * -(-len(learnt[0]) // 8)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=1e-5)
    for images, dust in batches(learnt, options.epochs, rng):
        optimiser.zero_grad()
        reply = network(images)
        value = loss.strength * (1 - loss.correlations(reply, dust)).sum() + (reply - dust).abs().mean()
        value.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        parts = [network(torch.as_tensor(features[i : i + 8])).numpy()[:, 0] for i in range(0, len(features), 8)]
    return np.concatenate(parts)


def batches(
    learnt: tuple[np.ndarray, np.ndarray], epochs: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give batches of eight cutouts, in another order each epoch."""
    for _ in range(epochs):
        order = rng.permutation(len(learnt[0]))
        for first in range(0, len(order), 8):
            chosen = np.sort(order[first : first + 8])
            yield tuple(torch.as_tensor(part[chosen]) for part in learnt)


if __name__ == "__main__":
    main()
