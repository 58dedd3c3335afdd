"""Sums over velocity channels: integrated intensity, channels by their noise, and weights that are learnt."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from cmbml.methods.base import MethodError
from cmbml.methods.hydrogen.examples import HydrogenExamples, cube_of
from cmbml.methods.trained import Hardware, Lesson, Reply, State, Trained, TrainedMethod, plain
from cmbml.settings import NonNegativeFloat, PositiveFloat, settings
from cmbml.sky.case import CaseSpec

Float = NDArray[np.float64]


@final
@settings
class LinearDust(TrainedMethod):
    """Weigh the channels: T = sum_i w_i I_i, with weights that the Fourier modes of the training cutouts give.

    Where they are free they solve sum_i w_i <I_i I_j> = <T I_j>, the means over modes and cutouts (the paper's eq.
    A.6): by least squares, which also makes the correlation of the mean power spectra largest (A.7 to A.13). Where they
    are not, the same gives the one factor by which they are multiplied, on which no correlation depends.

    Attributes:
        examples: cutouts of all channels.
        weights: `integrated`: one for all channels; `inverse_noise`: the inverse variance of each channel's noise;
            `free`: the same for all scales; `per_scale`: others in each bin of l.
        highest_l: multipole above which modes tell nothing.
        ridge: what is added to the diagonal of the covariance, in units of its mean, so that channels without signal
            and noise have no weight.
    """

    examples: HydrogenExamples
    weights: Literal["integrated", "inverse_noise", "free", "per_scale"]
    highest_l: PositiveFloat = 460.0
    ridge: NonNegativeFloat = 1e-9

    def accepts(self, spec: CaseSpec[Any]) -> Any:  # noqa: ANN401
        """Look whether there is a cube, and what its channels are weighed by.

        Raises:
            MethodError: channels are weighed by a noise that is not known, or scale by scale on a whole sky.
        """
        if self.examples.inputs != "channels":
            message = f"method.examples.inputs={self.examples.inputs}: it is channels that are weighed"
            raise MethodError(message)
        if (self.weights == "per_scale") == self.examples.whole_sky:
            message = (
                f"method.weights={self.weights} with method.examples.whole_sky={self.examples.whole_sky}: weights that "
                "depend on scale need cutouts, and others are exact without"
            )
            raise MethodError(message)
        if self.weights == "inverse_noise" and min(cube_of(spec).noise_k) == 0:
            message = "method.weights=inverse_noise: the channels have no noise, so that its inverse is infinite"
            raise MethodError(message)
        return self.examples.accepts(spec)

    def about(self, spec: CaseSpec[Any]) -> dict[str, Any]:
        """Say what the weights are for."""
        return {
            "weights": self.weights,
            "examples": plain(self.examples, "name"),
            "observations": self.examples.describe(spec),
        }

    def _bins(self) -> NDArray[np.int64]:
        """Return the bin of each mode of a cutout, -1 for those that are not looked at, `(height, width // 2 + 1)`."""
        cutouts = self.examples.cutouts
        n, side = cutouts.n_pixels, cutouts.pixel_rad[0]
        ell = 2 * np.pi * np.hypot(np.fft.fftfreq(n, side)[:, None], np.fft.rfftfreq(n, side))
        # The longest mode is in the middle of its bin, where rounding moves it nowhere.
        number = np.floor(ell / cutouts.fundamental - 0.5).astype(np.int64)
        number[(ell > self.highest_l) | (number < 0)] = -1
        return number if self.weights == "per_scale" else np.where(number < 0, -1, 0)

    def state_bytes(self, spec: CaseSpec[Any]) -> int:
        """A weight for each channel and bin."""
        return 8 * self.examples.n_inputs(spec) * int(self._bins().max() + 1)

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Average covariances over the training cutouts, and solve."""
        del hardware
        number = self._bins()
        used = number >= 0
        bins, n_bin = number[used], int(number.max()) + 1
        # A real image has every mode twice but those that are their own mirror images.
        twice = np.full(number.shape, 2.0)
        twice[:, [0, -1]] = 1
        share = np.sqrt(twice[used])
        n = len(lesson.train[0][0]) - 1
        within, across = np.zeros((n_bin, n, n)), np.zeros((n_bin, n))
        for features, target in zip(*lesson.train, strict=True):
            seen, wanted = (np.fft.rfft2(np.asarray(a, np.float64))[:, used] * share for a in (features[:-1], target))
            for k in range(n_bin):
                modes, dust = seen[:, bins == k], wanted[0, bins == k]
                within[k] += (modes @ modes.conj().T).real
                across[k] += (modes @ dust.conj()).real
        weights = np.stack([self._solve(*pair, lesson.spec) for pair in zip(within, across, strict=True)])
        lesson.report(f"{self.name}: {weights.size} weights from {len(lesson.names)} cutouts")
        about = {
            "method": self.name,
            "settings": plain(self, "name"),
            "holds_for": self.about(lesson.spec),
            "training": {"samples": len(lesson.names)},
        }
        return Trained(State({"weights": weights}, about), {}, {"n_parameters": weights.size})

    def _solve(self, within: Float, across: Float, spec: CaseSpec[Any]) -> Float:
        """Return the weights of one bin, `(n_channel,)`."""
        if self.weights in ("integrated", "inverse_noise"):
            noise = np.ones(len(across)) if self.weights == "integrated" else np.array(cube_of(spec).noise_k)
            shape = noise**-2.0 / np.sum(noise**-2.0)
            gain = (shape @ across) / (shape @ within @ shape)
            return np.asarray(gain * shape, dtype=np.float64)
        level = self.ridge * np.trace(within) / len(within)
        solved: Float = np.linalg.solve(within + level * np.eye(len(within)), across)
        return solved

    def predict(self, state: State, features: Iterable[NDArray[Any]], hardware: Hardware) -> Iterator[Reply]:
        """Weigh the channels of a sky, or the modes of cutouts; modes in no bin are weighed as the nearest one."""
        del hardware
        weights = state.arrays["weights"].astype(np.float64)
        nearest = np.clip(self._bins(), 0, None)
        if self.weights == "per_scale":
            # Beyond the last bin, as in it; what is longer than the longest mode is the mean alone.
            nearest[self._bins() < 0] = len(weights) - 1
            nearest[0, 0] = 0
        for sample in features:
            maps, mask = np.asarray(sample[:-1], np.float64), sample[-1]
            if self.weights == "per_scale":
                modes = (np.fft.rfft2(maps) * np.moveaxis(weights[nearest], -1, 0)).sum(axis=0)
                found = np.fft.irfft2(modes, s=mask.shape)
            else:
                found = np.tensordot(weights[0], maps, axes=1)
            yield Reply((found * mask)[None].astype(np.float32))
