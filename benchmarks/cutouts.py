"""Cutouts of a cube of velocity channels a second, ours beside healpy's gnomonic projector, in one run and one thread.

python benchmarks/cutouts.py --nside 64 --channels 64

Both take turns, and the best of five counts, in CPU time, which other work on the machine moves least.
"""

import argparse
import time
from collections.abc import Callable

import healpy as hp
import numpy as np

from cmbml.sky.cutouts import Cutouts
from cmbml.sky.maps import MapSpec


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time that it takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Time both, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--cutouts", type=int, default=20)
    found = parser.parse_args()
    maps, cutouts, rng = MapSpec(nside=found.nside, unit="K"), Cutouts(), np.random.default_rng(1)
    values = rng.random((found.channels, maps.n_pix), dtype=np.float32)
    mask = np.ones(maps.n_pix)
    centres = cutouts.centres(found.cutouts, "north", maps, rng)
    cutouts.cut(values, mask, centres[:2], maps)
    projectors = [
        hp.projector.GnomonicProj(rot=centre, xsize=cutouts.n_pixels, ysize=cutouts.n_pixels, reso=cutouts.pixel_arcmin)
        for centre in centres[:3].tolist()
    ]

    def projected() -> None:
        for projector in projectors:
            for one in values:
                projector.projmap(one, lambda x, y, z: hp.vec2pix(found.nside, x, y, z))

    ours, theirs = [], []
    for _ in range(5):
        ours.append(seconds(lambda: cutouts.cut(values, mask, centres, maps)) / len(centres))
        theirs.append(seconds(projected) / len(projectors))
    mine, its = min(ours), min(theirs)
    print(f"cutouts of {found.channels} channels at nside {found.nside}, a second: {1 / mine:.1f}, masked, bilinear;")
    print(f"healpy's projector, nearest pixels: {1 / its:.1f}; ratio {its / mine:.1f}")


if __name__ == "__main__":
    main()
