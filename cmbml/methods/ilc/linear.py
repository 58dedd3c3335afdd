"""What the methods that combine channels in harmonic space share: channels, a common beam, the parts of a sky.

Each component (T; or T, E, B) is cleaned by itself, with weights of its own.

Templates from elsewhere are rows beside the channels that hold no CMB: its entry in the mixing vector is 0 there, so
that weights are free to take them away, and the response to the CMB is that of the channels alone. They are maps of
intensity, and take part in T.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from cmbml.methods.base import ChannelNames, MethodError, WeighingMethod
from cmbml.methods.external import External
from cmbml.methods.ilc.covariance import upsampled
from cmbml.methods.ilc.sed import Emission, mixing_matrix
from cmbml.methods.ilc.transforms import analysed
from cmbml.methods.ilc.uncertainty import spread, sum_on_grid, surrogates
from cmbml.settings import Fraction, PositiveFloat, later, settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Answer, ChannelWeights, Observation, ObservationSpec
from cmbml.sky.harmonics import cut_alm, filter_alm, synthesise
from cmbml.sky.maps import MapError, MapSpec, SkyMap

Coefficients = NDArray[np.complex128]
Maps = NDArray[np.float64]

ARCMIN_PER_RAD = 60 * 180 / np.pi

Plan = TypeVar("Plan")
"""How one component is cleaned, as far as it can be settled without data."""
Weights = TypeVar("Weights")
"""What a method finds in the data, and may apply to other data."""


@settings
class LinearMethod(WeighingMethod, Generic[Plan, Weights]):
    """A method that brings channels to one beam and combines their coefficients.

    Attributes:
        channels: the channels that are combined.
        fwhm_arcmin: the beam that all are brought to, and that the result has.
        lmax_per_nside: highest multipole of the result, over its nside; never above that of the signal.
        nulled: components that come out as zero whatever the data.
        beam_criterion: value of its beam at which a channel is taken to end.
        iterations: of the analysis of maps, as healpy counts them; None: by least squares, which is better near
            3 nside.
        uncertainty: whether to estimate the standard deviation of the result's error.
        draws: how many random skies its part from chance correlations is found from; each takes as long as cleaning.
        external: maps of foregrounds, without any CMB, that are combined with the channels.
    """

    channels: ChannelNames
    fwhm_arcmin: PositiveFloat
    lmax_per_nside: Annotated[float, Field(gt=0, le=3)] = 2.0
    nulled: tuple[Emission, ...] = ()
    beam_criterion: Fraction = 1e-3
    iterations: Annotated[int, Field(ge=0, le=100)] | None = None
    uncertainty: bool = True
    draws: PositiveInt = 2
    external: tuple[External, ...] = later(())
    linear: ClassVar[bool] = True
    left_out: ClassVar[float]
    """By what the squares of the moves from `simpler` methods are multiplied for the foregrounds' part of the error."""

    def files(self) -> tuple[Path, ...]:
        """Return the templates."""
        return tuple(entry.file for entry in self.external)

    def rows(self, spec: ObservationSpec) -> tuple[str, ...]:
        """Return what is combined: the channels, and after them the templates."""
        return (*self.channels, *spec.templates)

    def response(self, spec: ObservationSpec) -> Maps:
        """Return what the rows hold of the CMB, `(n_row, 1)`: channels all of it, templates nothing."""
        return np.array([name not in spec.templates for name in self.rows(spec)], dtype=np.float64)[:, None]

    @abstractmethod
    def plan(self, spec: ObservationSpec, component: int) -> Plan:
        """Settle, without data, how one component is cleaned; raise a MethodError if it cannot be."""

    @abstractmethod
    def find(self, alm: Coefficients, plan: Plan, threads: int) -> tuple[Coefficients, Weights]:
        """Clean coefficients `(n_row, n_alm)`; return `(n_alm,)` and the weights."""

    @abstractmethod
    def apply(self, alm: Coefficients, plan: Plan, weights: Weights, threads: int) -> Coefficients:
        """Combine other coefficients with weights that were found before."""

    @abstractmethod
    def noise_variance(self, plan: Plan, weights: Weights, noise: Maps) -> Maps:
        """Propagate the channels' noise.

        Args:
            plan: of the component.
            weights: as found.
            noise: `(n_row, lmax + 1)`, noise spectra at the common beam, uK^2; zero for templates.

        Returns:
            `(n_pix,)` at any nside up to the result's, uK^2.
        """

    def told(self, rows: tuple[str, ...], plan: Plan, weights: Weights) -> ChannelWeights | None:  # noqa: ARG002
        """Return weights in the form in which they can be shown; None where a method has no such form.

        Args:
            rows: what was combined.
            plan: of I.
            weights: as found.
        """
        return None

    def simpler(self, spec: ObservationSpec) -> tuple[Self, ...]:
        """Return methods that know less of the foregrounds: without the lowest, and without the highest frequency."""
        by_freq = sorted(self.channels, key=lambda name: spec.channels[name].freq_ghz)
        return tuple(
            replace(self, channels=tuple(name for name in self.channels if name != end))
            for end in (by_freq[0], by_freq[-1])
        )

    def prepared(self, maps: Mapping[str, SkyMap]) -> Mapping[str, SkyMap]:
        """Return maps as they are to be analysed."""
        return maps

    def accepts(self, spec: ObservationSpec) -> MapSpec:
        """Accept an observation that can be cleaned with these settings.

        Raises:
            MethodError: channels are too few, their units differ, or beams do not allow it.
        """
        spec.require_channels(self.channels)
        if len(self.channels) < max(2, len(self.nulled) + 1):
            message = (
                f"{self.name} needs at least {max(2, len(self.nulled) + 1)} channels to combine, one more than it "
                f"nulls, and method.channels has {len(self.channels)}"
            )
            raise MethodError(message)
        for name in self.channels:
            if wrong := spec.shown[name].difference(spec.asked, "unit", "frame", "polconv"):
                message = (
                    f"the map of channel {name} is not in what the CMB is wanted in: its {wrong}; convert it first"
                )
                raise MethodError(message)
        self._require_beam(spec)
        for component in range(len(spec.asked.fields)):
            self.plan(spec, component)
        beam = {"beam": "gaussian", "fwhm_arcmin": self.fwhm_arcmin}
        return spec.asked.with_(lmax=self.lmax(spec), **beam)

    def _require_beam(self, spec: ObservationSpec) -> None:
        """Refuse a common beam that the pixels cannot hold.

        Where the signal is band-limited, a narrow beam is but a window near one, and harmless.
        """
        pixel = ARCMIN_PER_RAD * np.sqrt(4 * np.pi / spec.asked.n_pix)
        if spec.asked.lmax is None and self.fwhm_arcmin < pixel:
            message = (
                f"method.fwhm_arcmin={self.fwhm_arcmin:g} is narrower than a pixel of nside {spec.asked.nside} "
                f"({pixel:.1f} arcmin), and the signal has no band limit; widen it, or give scenario.lmax"
            )
            raise MethodError(message)

    def lmax(self, spec: ObservationSpec) -> int:
        """Return the highest multipole of the result."""
        nside = spec.asked.nside
        return min(int(self.lmax_per_nside * nside), spec.asked.lmax or 3 * nside - 1, 3 * nside - 1)

    def beams(self, spec: ObservationSpec, component: int) -> Maps:
        """Return the window of each row, zero beyond what its map can hold, `(n_row, lmax + 1)`."""
        lmax = self.lmax(spec)
        n_comp = len(spec.asked.fields)
        windows = [spec.channels[name].beam(lmax, n_comp)[component] for name in self.channels]
        # Maps of intensity tell nothing of E and B.
        windows += [window[: lmax + 1] * (component == 0) for window in spec.templates.values()]
        beams = np.stack(windows)
        for window, name in zip(beams, self.rows(spec), strict=True):
            window[3 * spec.shown[name].nside :] = 0
        return beams

    def mixing(self, spec: ObservationSpec) -> Maps:
        """Return what rows hold of the CMB and of each nulled component, `(n_row, 1 + n_nulled)`.

        What a template holds of a component is not known: components are nulled in what channels see.
        """
        seen = mixing_matrix(np.array([spec.channels[name].freq_ghz for name in self.channels]), self.nulled)
        return np.concatenate([seen, np.zeros((len(spec.templates), seen.shape[1]))])

    def rebeaming(self, spec: ObservationSpec, component: int) -> Maps:
        """Return what brings rows to the common beam, `(n_row, lmax + 1)`; zero where one has ended."""
        beams = self.beams(spec, component)
        common = gaussian_window(self.fwhm_arcmin, self.lmax(spec), spin=2 * (component > 0))
        # Channels end at the criterion; what lies a little beyond is kept for the scales that reach over it.
        floor = 1e-3 * self.beam_criterion
        return np.where(beams > floor, common / np.maximum(beams, floor), 0.0)

    def clean_alike(
        self,
        observation: Observation,
        others: Sequence[Mapping[str, SkyMap]],
        scratch: Path,  # noqa: ARG002
        threads: int,
    ) -> tuple[Answer[SkyMap], tuple[SkyMap, ...]]:
        """Clean each component, evaluate the result, and apply its weights to the others."""
        spec = self.accepts(observation.spec)
        alm = self._coefficients(observation.shown, observation.spec, threads)
        others_alm = [self._coefficients(maps, observation.spec, threads) for maps in others]
        cleaned, variances, told = [], [], None
        alike: list[list[Coefficients]] = [[] for _ in others]
        for component, channels in enumerate(alm):
            plan = self.plan(observation.spec, component)
            found, weights = self.find(channels, plan, threads)
            told = told or self.told(self.rows(observation.spec), plan, weights)
            cleaned.append(found)
            for combined, other in zip(alike, others_alm, strict=True):
                combined.append(self.apply(other[component], plan, weights, threads))
            if self.uncertainty:
                noise = self.noise_variance(plan, weights, self._noise(observation.spec, component))
                rest = self.rest_variance(observation.spec, component, channels, found, weights, threads)
                variances.append(sum_on_grid(noise, rest))
        sigma = SkyMap(self._sigma(variances, spec.nside, threads), spec) if self.uncertainty else None
        notes = {
            f"TEMPL{i}": text for i, text in enumerate(map(observation.spec.described, observation.spec.templates))
        }
        answer = Answer(self._evaluate(np.stack(cleaned), spec, threads), sigma, weights=told, notes=notes)
        return answer, tuple(self._evaluate(np.stack(combined), spec, threads) for combined in alike)

    def combined(self, observation: Observation, threads: int) -> tuple[Coefficients, Coefficients]:
        """Return the channels at the common beam, `(n_comp, n_channel, n_alm)`, and the result, `(n_comp, n_alm)`.

        Raises:
            MethodError, MapError: it cannot be.
        """
        spec = observation.spec
        alm = self._coefficients(observation.shown, spec, threads)
        found = [self.find(channels, self.plan(spec, component), threads)[0] for component, channels in enumerate(alm)]
        return alm, np.stack(found)

    def rest_variance(
        self,
        spec: ObservationSpec,
        component: int,
        alm: Coefficients,
        cleaned: Coefficients,
        weights: Weights,  # noqa: ARG002
        threads: int,
    ) -> Maps:
        """Estimate what chance correlations and foregrounds add to the noise's variance.

        Args:
            spec: of the observation.
            component: which.
            alm: `(n_row, n_alm)`, what is combined.
            cleaned: `(n_alm,)`, the result.
            weights: as found.
            threads: CPU threads.

        Returns:
            `(n_pix,)` at any nside up to the result's, uK^2.
        """
        nside = spec.asked.nside
        chance = spread(self._chance(spec, component, alm, cleaned, threads), nside, threads)
        moves = self._moves(spec, component, alm, cleaned, threads)
        return chance + self.left_out * len(moves) * spread(moves, nside, threads)

    def _chance(
        self, spec: ObservationSpec, component: int, alm: Coefficients, cleaned: Coefficients, threads: int
    ) -> list[Coefficients]:
        """Find out how far the result moves when weights are found with another CMB, `(n_alm,)` for each draw."""
        plan, response = self.plan(spec, component), self.response(spec)
        rest = alm - response * cleaned
        drawn = surrogates(cleaned, spec.asked.nside, self.draws, component, threads)
        return [self.find(rest + response * other, plan, threads)[0] - other for other in drawn]

    def _moves(
        self, spec: ObservationSpec, component: int, alm: Coefficients, cleaned: Coefficients, threads: int
    ) -> list[Coefficients]:
        """Find out how far the result is from that of each simpler method that is possible, `(n_alm,)` each."""
        moves = []
        for other in self.simpler(spec):
            with suppress(MethodError):
                rows = [self.rows(spec).index(name) for name in other.rows(spec)]
                moves.append(other.find(alm[rows], other.plan(spec, component), threads)[0] - cleaned)
        return moves

    def decompose(
        self,
        observation: Observation,
        foregrounds: Mapping[str, SkyMap],
        noise: Mapping[str, SkyMap],
        scratch: Path,  # noqa: ARG002
        threads: int,
    ) -> dict[str, SkyMap]:
        """Apply the weights of foregrounds and noise to each part, and both these and the real ones to the whole."""
        spec = self.accepts(observation.spec)
        observed, foreign, noisy = (
            self._coefficients(part, observation.spec, threads) for part in (observation.shown, foregrounds, noise)
        )
        parts = {"signal": observed - foreign - noisy, "foregrounds": foreign, "noise": noisy}
        found: dict[str, list[Coefficients]] = {name: [] for name in (*parts, "chance")}
        for component, channels in enumerate(observed):
            plan = self.plan(observation.spec, component)
            cleaned, _ = self.find(channels, plan, threads)
            _, weights = self.find(foreign[component] + noisy[component], plan, threads)
            for name, part in parts.items():
                found[name].append(self.apply(part[component], plan, weights, threads))
            found["chance"].append(cleaned - self.apply(channels, plan, weights, threads))
        return {name: self._evaluate(np.stack(alm), spec, threads) for name, alm in found.items()}

    def _coefficients(self, maps: Mapping[str, SkyMap], spec: ObservationSpec, threads: int) -> Coefficients:
        """Analyse the rows and bring them to the common beam, `(n_comp, n_row, n_alm)`."""
        missing = [name for name in self.rows(spec) if name not in maps]
        if missing:
            message = f"there are no maps of channel {', '.join(missing)}; there are of {', '.join(maps)}"
            raise MapError(message)
        maps, lmax, n_comp = self.prepared(maps), self.lmax(spec), len(spec.asked.fields)
        factors = np.stack([self.rebeaming(spec, component) for component in range(n_comp)])
        alm = []
        for i, name in enumerate(self.rows(spec)):
            values = maps[name].values[: 1 if name in spec.templates else n_comp].astype(np.float64)
            found = cut_alm(analysed(values, min(lmax, 3 * maps[name].spec.nside - 1), threads, self.iterations), lmax)
            row = np.zeros((n_comp, found.shape[1]), dtype=found.dtype)
            row[: len(found)] = found
            alm.append(np.stack([filter_alm(a, w) for a, w in zip(row, factors[:, i], strict=True)]))
        return np.stack(alm, axis=1)

    def _noise(self, spec: ObservationSpec, component: int) -> Maps:
        """Return the white noise of each row at the common beam, `(n_row, lmax + 1)`, uK^2.

        That of templates is not known, and taken for none: what it does to the map is found with the foregrounds.
        """
        depth = [spec.channels[name].depth("Q" if component else "I") for name in self.channels]
        depth += [0.0] * len(spec.templates)
        return (np.array(depth)[:, None] / ARCMIN_PER_RAD) ** 2 * self.rebeaming(spec, component) ** 2

    def _evaluate(self, alm: Coefficients, spec: MapSpec, threads: int) -> SkyMap:
        return SkyMap(synthesise(alm, spec.nside, threads).astype(np.float32), spec)

    def _sigma(self, variances: list[Maps], nside: int, threads: int) -> NDArray[np.float32]:
        """Bring variances to the result's grid; Q and U each have half of those of E and B."""
        floor = np.finfo(np.float32).tiny
        logs = [upsampled(0.5 * np.log(np.maximum(v, floor))[None], nside, threads)[0] for v in variances]
        sigma = np.exp(np.stack(logs))
        if len(sigma) == 3:
            sigma[1:] = np.sqrt(0.5 * (sigma[1] ** 2 + sigma[2] ** 2))
        single: NDArray[np.float32] = sigma.astype(np.float32)
        return single
