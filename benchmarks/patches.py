"""Cut patches from three maps, and compare with healpy's projector, in one run on one thread.

python benchmarks/patches.py --nside 512 --patches 1000
"""

import argparse
import resource
import time
from collections.abc import Callable

import healpy as hp
import numpy as np

from cmbml.sky.centres import rings, uniform
from cmbml.sky.harmonics import random_alm, synthesise
from cmbml.sky.maps import MapSpec
from cmbml.sky.patches import Cutter, PatchSpec, Stitcher, cut, cut_exactly

BATCH = 50
SAMPLE = 100
"""Patches that healpy is timed on: it takes the same time for each."""


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def by_projector(maps: np.ndarray, spec: PatchSpec, centre: np.ndarray) -> np.ndarray:
    """Cut one patch as healpy does: the nearest pixels."""
    projector = hp.projector.GnomonicProj(
        rot=tuple(centre), xsize=spec.width, ysize=spec.height, reso=spec.pixel_arcmin[0]
    )
    return np.stack(
        [projector.projmap(values, lambda x, y, z: hp.vec2pix(spec.maps.nside, x, y, z)) for values in maps]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nside", type=int, default=512)
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--pixels", type=int, default=256)
    arguments = parser.parse_args()
    nside, lmax, n = arguments.nside, 2 * arguments.nside, arguments.pixels
    rng = np.random.default_rng(1)
    alm = random_alm(rng, lmax, 3)
    maps = np.concatenate([synthesise(one[np.newaxis], nside) for one in alm]).astype(np.float32)
    spec = PatchSpec(maps=MapSpec(nside=nside, lmax=lmax), height=n, width=n, pixel_arcmin=(1.5, 1.5))
    centres = uniform(arguments.patches, rng)
    grid = rings(spec, 0.25)[: min(BATCH, arguments.patches)]
    theirs = seconds(lambda: [by_projector(maps, spec, centre) for centre in centres[:SAMPLE]]) / SAMPLE
    print(f"nside {nside}, {arguments.patches} patches of {n} x {n} pixels, three maps; ms a patch")
    print(f"healpy's projector, nearest pixel      {1e3 * theirs:7.2f}")
    parts = np.array_split(centres, -(-len(centres) // BATCH))
    repeats = max(1, arguments.patches // len(grid))
    for way in ("nearest", "bilinear"):
        fresh = seconds(lambda way=way: [cut(maps, spec, part, way) for part in parts]) / len(centres)
        cutter = Cutter(spec, grid, way)
        kept = seconds(lambda cutter=cutter: [cutter.cut(maps) for _ in range(repeats)]) / (repeats * len(grid))
        print(f"cut, {way}, fresh centres          {1e3 * fresh:7.2f}   {theirs / fresh:5.1f} x")
        print(f"Cutter, {way}, grid that is kept   {1e3 * kept:7.2f}   {theirs / kept:5.1f} x")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    small, side = min(nside, 128), 64
    pixel = float(np.degrees(hp.nside2resol(small)) * 60)
    spec = PatchSpec(maps=MapSpec(nside=small, lmax=2 * small), height=side, width=side, pixel_arcmin=(pixel, pixel))
    alm = random_alm(rng, 2 * small, 1)
    sky, centres = synthesise(alm, small), rings(spec, 0.4)
    stitcher = Stitcher(spec, centres)
    exact = stitcher.stitch(np.stack(list(cut_exactly(alm, spec, centres))))
    linear = stitcher.stitch(cut(sky, spec, centres), exact=False)
    print(f"there and back, white power up to l = 2 nside, nside {small}, {len(centres)} patches of {side} x {side}:")
    for name, back in (("harmonic", exact), ("bilinear", linear)):
        print(f"  {name}: error {np.std(back - sky) / np.std(sky):.1e} of the rms")


if __name__ == "__main__":
    main()
