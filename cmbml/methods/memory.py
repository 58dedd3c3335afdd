"""Controls that remember: what is scored by knowing the training skies, and nothing of how to tell a CMB from a sky.

Where all simulations share their foregrounds, whoever stores them needs no other skill. `Memory` stores their mean, and
`PrincipalComponents` the directions in which they differ. A method that scores no better on a dataset has not shown
that it can do more. `FixedWeights` stores their mean covariance: what a network does not beat is linear, and the same
for every sky.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy.ndimage import convolve1d

from cmbml.methods.base import ChannelNames, MethodError
from cmbml.methods.ilc.harmonic import spectra
from cmbml.methods.ilc.needlets import Bands
from cmbml.methods.trained import (
    Arrays,
    Examples,
    Hardware,
    Lesson,
    Reply,
    State,
    Trained,
    TrainedMethod,
    describe,
    known,
    plain,
)
from cmbml.settings import PositiveFloat, settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Answer, Observation, ObservationSpec
from cmbml.sky.harmonics import alm_size, analyse, filter_components, synthesise
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.masks import smooth

Float32 = NDArray[np.float32]
Beams = NDArray[np.float64]
MAD_TO_SIGMA = 1.4826
RIDGE = 1e-9
"""Relative noise that each channel has at least."""


@final
@settings
class Maps(Examples):
    """The maps of some channels as they are.

    Attributes:
        name: where the arrays stand on the axis of arrays.
        channels: which, in this order.
        fwhm_arcmin: beam of the CMB map that is given.
    """

    channels: ChannelNames
    fwhm_arcmin: PositiveFloat

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Look whether the channels are there."""
        spec.require_channels(self.channels)
        return spec.asked.with_(beam="gaussian", fwhm_arcmin=self.fwhm_arcmin)

    def shapes(self, spec: ObservationSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return `(n_channel, n_field, n_pix)` and `(n_field, n_pix)`."""
        field = (len(spec.asked.fields), spec.asked.n_pix)
        return (len(self.channels), *field), field

    def features(self, case: Observation, chosen: None = None) -> Float32:  # noqa: ARG002
        """Stack the maps; one sample."""
        return np.stack([case.shown[name].values for name in self.channels]).astype(np.float32)[np.newaxis]

    def target(self, case: Observation, chosen: None = None) -> Float32:  # noqa: ARG002
        """Return the CMB, without a beam."""
        values: Float32 = known(case).values.astype(np.float32)
        return values[np.newaxis]

    def answer(self, replies: Float32, sigma: Float32 | None, spec: ObservationSpec) -> Answer[SkyMap]:
        """Say what an answer is."""
        del sigma
        return Answer(SkyMap(replies[0], self.accepts(spec)))

    def describe(self, spec: ObservationSpec) -> dict[str, Any]:
        """Say what the observations are."""
        return describe(spec, self.channels)


@settings
class OfForegrounds(TrainedMethod):
    """What learns from the foregrounds and the noise of a few training simulations.

    Attributes:
        examples: the channels, and the beam of the result.
        simulations: how many training simulations: the first ones, or all if there are fewer.
    """

    examples: Maps
    simulations: PositiveInt

    def about(self, spec: ObservationSpec) -> dict[str, Any]:
        """Say what is remembered of which observations."""
        return {
            "settings": plain(self, "name", "examples"),
            "examples": plain(self.examples, "name"),
            "observations": self.examples.describe(spec),
        }

    def _beams(self, spec: ObservationSpec) -> Beams:
        """Return each channel's beam, `(n_channel, n_comp, lmax + 1)`."""
        lmax, n_comp = spec.asked.lmax or 3 * spec.asked.nside - 1, len(spec.asked.fields)
        return np.stack([spec.channels[name].beam(lmax, n_comp) for name in self.examples.channels])

    def _wanted(self, beams: Beams) -> Beams:
        """Return the beam of the result, `(n_comp, lmax + 1)`."""
        lmax, n_comp = beams.shape[-1] - 1, beams.shape[1]
        return np.stack([gaussian_window(self.examples.fwhm_arcmin, lmax, 2 * (i > 0)) for i in range(n_comp)])

    def _learnt(self, arrays: dict[str, Float32], told: dict[str, Any], spec: ObservationSpec) -> Trained:
        """Return what was learnt, with what it holds for."""
        about = {
            "method": self.name,
            "settings": plain(self, "name"),
            "holds_for": self.about(spec),
            "training": told,
        }
        n_parameters = sum(array.size for array in arrays.values())
        return Trained(State(arrays, about), {}, {"n_parameters": n_parameters} | told)


@settings
class Remembering(OfForegrounds):
    """Subtract from each channel what is remembered, and average channels by what is then left in them.

    What is left is measured on validation simulations, robustly, so that the Galactic plane does not count: v_c. The
    CMB's coefficients are sum_c (b_c / v_c) a_c / sum_c (b_c^2 / v_c), brought to the beam of the result.

    Attributes:
        looked_at: on how many validation simulations what is left is measured: the first ones, or all.
    """

    looked_at: PositiveInt = 8

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Remember, and measure what is left."""
        threads, spec = hardware.threads_used, lesson.spec
        beams = self._beams(spec)
        train, valid = (_Foregrounds(*arrays, beams, threads) for arrays in (lesson.train, lesson.valid))
        if not len(valid):
            message = "learn.valid: what is left in the channels is measured there, and the split is empty"
            raise MethodError(message)
        train, valid = train.first(self.simulations), valid.first(self.looked_at)
        arrays, found = self.remember(train, valid, beams, threads)
        spread = np.mean([self._left(arrays, valid, i, beams, threads) for i in range(len(valid))], axis=0)
        lesson.report(
            f"{self.name}: remembers {len(train)} training simulations; what is left in "
            + ", ".join(f"{name}: {row[0]:.2f} uK" for name, row in zip(self.examples.channels, spread, strict=True))
        )
        learnt = arrays | {"left": spread.astype(np.float32), "beams": beams.astype(np.float32)}
        return self._learnt(learnt, {"samples": len(train), **found}, spec)

    def _left(
        self, arrays: Mapping[str, Float32], valid: "_Foregrounds", number: int, beams: Beams, threads: int
    ) -> NDArray[np.float64]:
        """Measure what is left in the channels of one observation, `(n_channel, n_field)`, uK."""
        # Recalled as in a prediction: from the observation, CMB and all.
        error = valid[number] - self.recall(arrays, np.asarray(valid.features[number]), beams, threads)
        found: NDArray[np.float64] = MAD_TO_SIGMA * np.median(np.abs(error), axis=-1)
        return found

    def predict(self, state: State, features: Iterable[Float32], hardware: Hardware) -> Iterator[Reply]:
        """Subtract what is remembered, and average."""
        beams, left = state.arrays["beams"].astype(np.float64), state.arrays["left"].astype(np.float64)
        threads = hardware.threads_used
        weights = beams / left[..., None] ** 2
        weights *= self._wanted(beams) / (beams * weights).sum(axis=0)
        for maps in features:
            yield _combined(maps - self.recall(state.arrays, maps, beams, threads), weights, threads)

    @abstractmethod
    def remember(
        self, train: "_Foregrounds", valid: "_Foregrounds", beams: Beams, threads: int
    ) -> tuple[dict[str, Float32], dict[str, Any]]:
        """Return what is kept of the foregrounds of training simulations, and what is to be told of it.

        Args:
            train: foregrounds and noise of each simulation, `(n_channel, n_field, n_pix)`.
            valid: those of validation simulations.
            beams: of the channels.
            threads: CPU threads.
        """

    @abstractmethod
    def recall(self, arrays: Mapping[str, Float32], maps: Float32, beams: Beams, threads: int) -> Float32:
        """Return what is taken for the foregrounds of one observation, shaped as its maps."""


def _combined(maps: Float32, weights: Beams, threads: int) -> Reply:
    """Add channels `(n_channel, n_field, n_pix)`, each times its function of l, `(n_channel, n_comp, lmax + 1)`."""
    lmax, n_comp = weights.shape[-1] - 1, weights.shape[1]
    alm = np.zeros((n_comp, alm_size(lmax)), np.complex128)
    for channel, weight in zip(maps, weights, strict=True):
        alm += filter_components(analyse(channel.astype(np.float64), lmax, threads), weight)
    return Reply(synthesise(alm, round(np.sqrt(maps.shape[-1] / 12)), threads).astype(np.float32))


class _Foregrounds(Sequence[Float32]):
    """What observations hold beside the CMB: observation less beam times truth, worked out when it is asked for."""

    def __init__(self, features: Arrays, targets: Arrays, beams: Beams, threads: int) -> None:
        self.features, self.targets, self.beams, self.threads = features, targets, beams, threads

    def first(self, number: int) -> "_Foregrounds":
        """Keep to the first simulations."""
        few = range(min(number, len(self)))
        return _Foregrounds([self.features[i] for i in few], [self.targets[i] for i in few], self.beams, self.threads)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, number: Any) -> Any:  # noqa: ANN401
        if number >= len(self):
            raise IndexError(number)
        truth = np.asarray(self.targets[number], dtype=np.float64)
        nside = round(np.sqrt(truth.shape[-1] / 12))
        alm = analyse(truth, self.beams.shape[-1] - 1, self.threads)
        seen = [synthesise(filter_components(alm, beam), nside, self.threads) for beam in self.beams]
        return (np.asarray(self.features[number]) - np.stack(seen)).astype(np.float32)


@final
@settings
class Memory(Remembering):
    """Subtract the mean of the foregrounds of a few training simulations: a look-up."""

    simulations: PositiveInt = 5

    def state_bytes(self, spec: ObservationSpec) -> int:
        """One map for each channel and field."""
        return 4 * int(np.prod(self.examples.shapes(spec)[0]))

    def remember(
        self, train: "_Foregrounds", valid: "_Foregrounds", beams: Beams, threads: int
    ) -> tuple[dict[str, Float32], dict[str, Any]]:
        """Average."""
        del valid, beams, threads
        total = np.zeros(train.features[0].shape)
        for maps in train:
            total += maps
        return {"mean": (total / len(train)).astype(np.float32)}, {}

    def recall(self, arrays: Mapping[str, Float32], maps: Float32, beams: Beams, threads: int) -> Float32:
        """Give the mean."""
        del maps, beams, threads
        mean: Float32 = arrays["mean"]
        return mean


@final
@settings
class PrincipalComponents(Remembering):
    """Fit the leading components of the training foregrounds to every observation, by channel and scale; subtract them.

    Pixels count by the inverse of the standard deviation that foregrounds and CMB have there, so that the plane does
    not decide alone. How many components are fitted is what leaves least in the validation simulations. The scales of
    all that is looked at are held in memory: 4 bytes a pixel, channel and scale of each training simulation, and twice
    that of each validation simulation: 0.2 GB as set at nside 64, 12 GB at 512.

    Attributes:
        bands: the scales.
        components: how many may be fitted, of those that the simulations allow; the best is taken for each channel and
            scale.
        floor_uk: standard deviation that is added to that of the foregrounds in a pixel, about that of the CMB, uK.
    """

    simulations: PositiveInt = 64
    bands: Bands
    components: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0, 1, 2, 4, 8, 16, 32)
    floor_uk: PositiveFloat = 50.0

    def state_bytes(self, spec: ObservationSpec) -> int:
        """The mean, the weights and the components of every channel and scale."""
        return 4 * int(np.prod(self.examples.shapes(spec)[0])) * self._n_scales(spec) * (2 + max(self.components))

    def _n_scales(self, spec: ObservationSpec) -> int:
        return len(self.bands.windows(spec.asked.lmax or 3 * spec.asked.nside - 1, spec.asked.nside))

    def remember(
        self, train: "_Foregrounds", valid: "_Foregrounds", beams: Beams, threads: int
    ) -> tuple[dict[str, Float32], dict[str, Any]]:
        """Find the components of every channel and scale, and how many of them are worth fitting."""
        # As many as the simulations differ in.
        allowed = [k for k in self.components if k < len(train)]
        seen = [self._scales(maps, beams, threads) for maps in train]
        looked_at = [self._scales(maps, beams, threads) for maps in valid]
        # A fit is disturbed by the CMB, which is in an observation and not in its foregrounds.
        observed = [self._scales(np.asarray(maps), beams, threads) for maps in valid.features]
        arrays: dict[str, NDArray[np.floating[Any]]] = {}
        chosen: list[int] = []
        for c in range(seen[0].shape[0]):
            for s in range(seen[0].shape[1]):
                rows = np.stack([maps[c, s].ravel() for maps in seen])
                mean, weight = rows.mean(axis=0), 1 / np.hypot(rows.std(axis=0), self.floor_uk)
                basis = _components((rows - mean) * weight, max(allowed))
                errors = np.zeros(len(allowed))
                for truth, whole in zip(looked_at, observed, strict=True):
                    fitted = basis @ ((whole[c, s].ravel() - mean) * weight)
                    wanted = (truth[c, s].ravel() - mean) * weight
                    for number, k in enumerate(allowed):
                        errors[number] += np.median(np.abs(wanted - fitted[:k] @ basis[:k]))
                best = allowed[int(errors.argmin())]
                chosen.append(best)
                arrays |= {
                    f"mean_{c}_{s}": mean,
                    f"weight_{c}_{s}": weight,
                    f"basis_{c}_{s}": np.ascontiguousarray(basis[:best]),
                }
        told = {"components": " ".join(map(str, chosen))}
        return {name: array.astype(np.float32) for name, array in arrays.items()}, told

    def recall(self, arrays: Mapping[str, Float32], maps: Float32, beams: Beams, threads: int) -> Float32:
        """Fit the components and add them up over scales."""
        scales = self._scales(maps, beams, threads)
        found = np.zeros_like(maps)
        for c in range(scales.shape[0]):
            for s in range(scales.shape[1]):
                mean, weight, basis = (arrays[f"{name}_{c}_{s}"] for name in ("mean", "weight", "basis"))
                fitted = basis @ ((scales[c, s].ravel() - mean) * weight)
                found[c] += (mean + (fitted @ basis) / weight).reshape(found[c].shape)
        return found

    def _scales(self, maps: Float32, beams: Beams, threads: int) -> Float32:
        """Cut maps into scales that add up to them, `(n_channel, n_scale, n_field, n_pix)`."""
        lmax, nside = beams.shape[-1] - 1, round(np.sqrt(maps.shape[-1] / 12))
        windows = self.bands.windows(lmax, nside) ** 2
        out = np.empty((len(maps), len(windows), *maps.shape[1:]), dtype=np.float32)
        for channel, scales in zip(maps, out, strict=True):
            alm = analyse(channel.astype(np.float64), lmax, threads, accuracy=1e-5)
            for scale, window in zip(scales[:-1], windows, strict=False):
                scale[:] = synthesise(filter_components(alm, np.tile(window, (len(alm), 1))), nside, threads)
            # What lies above the band limit stays, too.
            scales[-1] = channel - scales[:-1].sum(axis=0)
        return out


def _components(rows: NDArray[np.floating[Any]], most: int) -> NDArray[np.float64]:
    """Return the leading principal components of rows, orthonormal, `(most, n)`; fewer where rows are alike."""
    values, vectors = np.linalg.eigh(rows.astype(np.float64) @ rows.T)
    order = [k for k in np.argsort(values)[::-1][:most] if values[k] > 1e-10 * values.max()]
    found: NDArray[np.float64] = (vectors[:, order].T @ rows) / np.sqrt(values[order])[:, None]
    return found


@final
@settings
class FixedWeights(OfForegrounds):
    """Combine channels with weights of least variance in the mean of the training skies, the same for every sky.

    Foregrounds and noise of the training simulations are multiplied by 1 / (1 + r), where r is the mean over channels
    of their mean square in a pixel over its median, so that the plane does not decide alone. The weights of each
    multipole are those of an ILC with the mean of their spectra, which holds no CMB: no chance correlation takes any.

    Attributes:
        smoothing_deg: full width at half maximum to which those weights of pixels are smoothed.
        width: over how many multipoles on each side spectra are averaged.
    """

    simulations: PositiveInt = 32
    smoothing_deg: PositiveFloat = 5.0
    width: NonNegativeInt = 5

    def state_bytes(self, spec: ObservationSpec) -> int:
        """A spectrum for each channel and field."""
        return 4 * self._beams(spec).size

    def fit(self, lesson: Lesson, hardware: Hardware) -> Trained:
        """Average the spectra of what is not CMB, and find the weights."""
        threads, beams = hardware.threads_used, self._beams(lesson.spec)
        train = _Foregrounds(*lesson.train, beams, threads).first(self.simulations)
        total = np.zeros(train.features[0].shape)
        for maps in train:
            total += maps.astype(np.float64) ** 2
        ratio = (total / np.median(total, axis=-1, keepdims=True)).mean(axis=0)
        pixels = np.stack([smooth(1 / (1 + row), 60 * self.smoothing_deg, threads) for row in ratio])
        n_channel, n_comp, n_ell = beams.shape
        cross = np.zeros((n_comp, n_channel, n_channel, n_ell))
        for maps in train:
            alm = np.stack([analyse(pixels * channel, n_ell - 1, threads) for channel in maps], axis=1)
            cross += np.stack([spectra(rows) for rows in alm])
        modes, box = 2.0 * np.arange(n_ell) + 1, np.ones(2 * self.width + 1)
        covariance = np.moveaxis(convolve1d(cross * modes, box, mode="constant"), -1, 1)
        # Without noise, channels may be alike to the last digit.
        variances = np.einsum("plcc->plc", covariance)
        variances *= 1 + RIDGE
        response = np.moveaxis(beams, 0, -1)
        weights = np.linalg.solve(covariance, response[..., None])[..., 0]
        weights *= (self._wanted(beams) / (response * weights).sum(axis=-1))[..., None]
        lesson.report(f"{self.name}: weights from {len(train)} training simulations")
        found = {"weights": np.moveaxis(weights, -1, 0).astype(np.float32)}
        return self._learnt(found, {"samples": len(train)}, lesson.spec)

    def predict(self, state: State, features: Iterable[Float32], hardware: Hardware) -> Iterator[Reply]:
        """Combine."""
        weights = state.arrays["weights"].astype(np.float64)
        for maps in features:
            yield _combined(maps, weights, hardware.threads_used)
