"""Cutouts of a cube of velocity channels a second, ours beside healpy's gnomonic projector, in one run and one thread.

python benchmarks/cutouts.py --nside 64 --channels 64
"""

import argparse
import time

import healpy as hp
import numpy as np

from cmbml.sky.cutouts import Cutouts
from cmbml.sky.maps import MapSpec


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
    started = time.perf_counter()
    cutouts.cut(values, mask, centres, maps)
    ours = (time.perf_counter() - started) / len(centres)
    started = time.perf_counter()
    for lon, lat, angle in centres[:3]:
        projector = hp.projector.GnomonicProj(
            rot=(lon, lat, angle), xsize=cutouts.n_pixels, ysize=cutouts.n_pixels, reso=cutouts.pixel_arcmin
        )
        for one in values:
            projector.projmap(one, lambda x, y, z: hp.vec2pix(found.nside, x, y, z))
    theirs = (time.perf_counter() - started) / 3
    print(f"cutouts of {found.channels} channels at nside {found.nside}, a second: {1 / ours:.1f}, masked, bilinear;")
    print(f"healpy's projector, nearest pixels: {1 / theirs:.1f}; ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
