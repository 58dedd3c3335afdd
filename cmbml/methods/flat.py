"""Linear methods on flat patches, mode by mode: the Wiener filter, and the internal linear combination.

They are what a network on such patches is to be held against. Patches are not periodic, so that modes are those of the
cosine transform: a patch that goes on as its mirror image has no jumps, and filters that depend on l alone are the
same. The Wiener filter is the best that is linear and the same for all patches: it has
learnt all covariances from as many patches as the network. The ILC knows nothing but the beams and each patch's own
covariance.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.fft import dctn, idctn

from cmbml.methods.base import BlindMethod, ChannelNames
from cmbml.methods.patches import WholePatches
from cmbml.methods.trained import Hardware, Lesson, Reply, State, Trained, TrainedMethod, plain
from cmbml.settings import settings
from cmbml.sky.case import Answer, Case, CaseSpec
from cmbml.sky.patches import Patches, PatchSpec

Float = NDArray[np.float64]


def pixel_rad(spec: PatchSpec) -> tuple[float, float]:
    """Return the sides of a pixel, rad."""
    rows, columns = np.radians(np.array(spec.pixel_arcmin) / 60)
    return float(rows), float(columns)


def cosine_multipoles(shape: tuple[int, int], pixel_rad: tuple[float, float]) -> Float:
    """Return l of the modes of the cosine transform, `shape`."""
    rows, columns = (np.pi * np.arange(n) / (n * pixel) for n, pixel in zip(shape, pixel_rad, strict=True))
    found: Float = np.hypot(rows[:, None], columns)
    return found


def mean_in_rings(values: Float, rings: NDArray[np.int64]) -> Float:
    """Average `(..., height, width)` over rings of modes, `(..., n_ring)`."""
    count = np.bincount(rings.ravel())
    rows = [np.bincount(rings.ravel(), row) for row in values.reshape(-1, rings.size)]
    found: Float = (np.stack(rows) / count).reshape(*values.shape[:-2], -1)
    return found


@final
@settings
class FlatWiener(TrainedMethod):
    """Weigh the channels of each mode as minimises the squared error over the training patches.

    In each ring of l the weights are C^-1 c, with C the channels' covariance and c their covariance with what is asked
    for, both means over all training patches. The mean of a patch is a mode like the others.

    Attributes:
        examples: the patches.
        ring_width: of the rings in which covariances are averaged, in l.
        samples: of how many training patches: the first ones; all where None.
    """

    examples: WholePatches
    ring_width: PositiveInt = 60
    samples: PositiveInt | None = None

    def about(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say what the weights are for."""
        return {
            "ring_width": self.ring_width,
            "examples": plain(self.examples, "name"),
            "observations": self.examples.describe(spec),
        }

    def state_bytes(self, spec: CaseSpec[Any]) -> int:
        """A weight for each channel and ring."""
        return 4 * len(self.examples.channels) * int(self._rings(spec.asked).max() + 1)

    def _rings(self, spec: PatchSpec) -> NDArray[np.int64]:
        ell = cosine_multipoles((spec.height, spec.width), pixel_rad(spec))
        return (ell / self.ring_width).astype(np.int64)

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Average covariances, and solve."""
        del hardware
        rings = self._rings(lesson.spec.asked)
        within: Any = 0.0
        across: Any = 0.0
        n = min(len(lesson.train[0]), self.samples or len(lesson.train[0]))
        for number in range(n):
            seen, wanted = (_modes(arrays[number]) for arrays in lesson.train)
            within = within + mean_in_rings(seen[:, None] * seen, rings)
            across = across + mean_in_rings(seen * wanted[0], rings)
        weights = np.linalg.solve(np.moveaxis(within, -1, 0), np.moveaxis(across, -1, 0)[..., None])[..., 0].T
        lesson.report(f"{self.name}: covariances of {n} patches in {weights.shape[1]} rings")
        about = {
            "method": self.name,
            "settings": plain(self, "name"),
            "holds_for": self.about(lesson.spec),
            "training": {"samples": n},
        }
        return Trained(State({"weights": weights.astype(np.float32)}, about), {}, {"n_parameters": weights.size})

    def predict(self, state: State, features: Iterable[NDArray[Any]], hardware: Hardware) -> Iterator[Reply]:
        """Weigh the channels of each mode."""
        del hardware
        pixel = state.about["holds_for"]["observations"]["pixel_arcmin"]
        for images in features:
            shape = images.shape[-2:]
            sides = tuple(np.radians(side / 60) for side in pixel)
            rings = (cosine_multipoles(shape, sides) / self.ring_width).astype(np.int64)
            cleaned = (_modes(images) * state.arrays["weights"].astype(np.float64)[:, rings]).sum(axis=0)
            yield Reply(idctn(cleaned, norm="ortho")[np.newaxis].astype(np.float32))


@final
@settings
class FlatIlc(BlindMethod):
    """Combine the channels of each patch so that the CMB stays, at the beam asked for, and the variance is least.

    In each ring of l the weights are C^-1 b / (b C^-1 b), with C the patch's own covariance between channels and b
    their beams, times the beam of what is asked for. Rings are wide enough for chance correlations of the CMB with the
    rest to cost little: about (channels - 1) / modes of its power.

    Attributes:
        name: where its results stand on the method axis.
        channels: which channels are combined.
        ring_width: of the rings in which the covariance is measured, in l.
    """

    channels: ChannelNames
    ring_width: PositiveInt = 200

    def accepts(self, spec: CaseSpec[Any]) -> Any:  # noqa: ANN401
        """Look whether the channels are there."""
        spec.require_channels(self.channels)
        return spec.asked

    def clean(self, observation: Case[Any], scratch: Path, threads: int) -> Answer[Any]:
        """Combine patch after patch."""
        del scratch, threads
        spec: PatchSpec = observation.spec.asked
        ell = cosine_multipoles((spec.height, spec.width), pixel_rad(spec))
        rings = (ell / self.ring_width).astype(np.int64)
        lmax = int(ell.max()) + 1
        beams = {
            name: np.interp(ell, np.arange(lmax + 1), observation.spec.channels[name].beam(lmax, 1)[0])
            for name in self.channels
        }
        fwhm = spec.maps.fwhm_arcmin
        out = next(
            np.interp(ell, np.arange(lmax + 1), channel.beam(lmax, 1)[0])
            for channel in observation.spec.channels.values()
            if channel.fwhm_arcmin == fwhm
        )
        response = np.stack([beams[name] for name in self.channels]) / np.maximum(out, 1e-30)
        shown = [observation.shown[name].values[:, 0] for name in self.channels]
        centres = observation.shown[self.channels[0]].centres
        values = np.stack([self._combined(np.stack(one), response, rings) for one in zip(*shown, strict=True)])
        return Answer(Patches(values[:, np.newaxis].astype(np.float32), spec, centres))

    def _combined(self, images: NDArray[Any], response: Float, rings: NDArray[np.int64]) -> Float:
        modes = _modes(images)
        covariance = np.moveaxis(mean_in_rings(modes[:, None] * modes, rings), -1, 0)[rings]
        ahead = np.moveaxis(response, 0, -1)[..., None]
        # Scaled to unit diagonal: channels differ by orders of magnitude.
        scale = np.sqrt(np.einsum("hwii->hwi", covariance))
        unit = covariance / (scale[..., :, None] * scale[..., None, :])
        solved = np.linalg.solve(unit + 1e-9 * np.eye(len(images)), ahead / scale[..., None])[..., 0] / scale
        weights = solved / (solved * ahead[..., 0]).sum(axis=-1, keepdims=True)
        found: Float = idctn((np.moveaxis(modes, 0, -1) * weights).sum(axis=-1), norm="ortho")
        return found


def _modes(images: NDArray[Any]) -> Float:
    """Return the cosine transforms of images, `(n, height, width)`."""
    found: Float = dctn(np.asarray(images, np.float64), axes=(-2, -1), norm="ortho")
    return found
