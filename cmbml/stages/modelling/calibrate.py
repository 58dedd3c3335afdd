"""Measure, where the truth is known, by what a method's standard deviations are too short or too long."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Any, ClassVar

import numpy as np

from cmbml.core.errors import ConfigError, nearest
from cmbml.core.space import Axis, Space
from cmbml.core.unit_io import UnitIO
from cmbml.methods.recalibration import Ratios, Recalibration, brightness, gather
from cmbml.methods.trained import Hardware, State, TrainedMethod
from cmbml.metrics.bandpowers import true_bandpowers
from cmbml.metrics.pixel import MonopoleDipole
from cmbml.settings import settings
from cmbml.sky.beams import gaussian_window
from cmbml.sky.case import Answer, Bandpowers
from cmbml.sky.harmonics import analyse, filter_components, synthesise
from cmbml.sky.maps import MapSpec, SkyMap
from cmbml.sky.patches import Patches, PatchSpec
from cmbml.stages.assets import CALIBRATION, METHOD, SIM, SPLIT, STATE
from cmbml.stages.modelling.predict import asked_one_by_one, sigmas, spectra
from cmbml.stages.tasks.cases import CaseStage

log = logging.getLogger(f"cmbml.{__name__}")
FAINT = 0.8
"""Part of the sky in which monopole and dipole are fitted."""


@settings
class Calibrate(CaseStage):
    """Answer the validation split, and compare errors with standard deviations.

    Attributes:
        method: what answers.
        valid: the split, which the method has not learnt from, and which is not the one that is judged.
        recalibration: how.
        hardware: what it runs on.
    """

    method: TrainedMethod
    valid: str
    recalibration: Recalibration
    hardware: Hardware = field(metadata={"matters": False})
    looks_at: ClassVar = ("shown", "asked")
    reads: ClassVar = (STATE,)
    writes: ClassVar = (CALIBRATION,)
    per: ClassVar = (METHOD,)
    reproducible: ClassVar = False

    def restricts(self) -> Mapping[Axis, Collection[str]]:
        """Look at one split alone."""
        return {SPLIT: (self.valid,)}

    def check(self, space: Space) -> None:
        """Look whether there is such a split, and such a tracer.

        Raises:
            ConfigError: there is none.
        """
        spec = self.cases.spec()
        self.method.accepts(spec)
        self.recalibration.tracer_of(spec)
        splits = dict.fromkeys(key[SPLIT] for key in space.keys((SPLIT, SIM)))
        if self.valid not in splits:
            message = (
                f"learn.valid={self.valid}: error bars are recalibrated there, and the dataset has no simulation of "
                f"such a split; {nearest(self.valid, splits)}"
            )
            raise ConfigError(message)

    def process(self, io: UnitIO) -> None:
        """Sort pixels, answer simulation after simulation, compare, write."""
        spec, state = self.cases.spec(), State(*io.read(STATE))
        self.method.require_fit(state, spec)
        sims = list(dict.fromkeys(io.along(self.cases.asked, SIM)))[: self.recalibration.simulations]
        places = [{SPLIT: self.valid, SIM: sim} for sim in sims]
        tracer = self.recalibration.tracer_of(spec)
        found = [self.recalibration.edges(brightness(self.cases.read(io, at).shown[tracer])) for at in places]
        edges = np.mean(found, axis=0)
        pixels = Ratios.none(len(self._fields(spec.asked)), self.recalibration.classes)
        bands: Ratios | None = None
        for at, replies, _ in asked_one_by_one(io, places, self.method, state, self.cases, self.hardware):
            value = np.stack([reply.value for reply in replies])
            case = self.cases.read(io, at)
            answer = self.method.examples.completed(value, sigmas(replies), case)
            truth = seen_as(self.cases.read_asked(io, at), answer, io.threads)
            sorting = case.shown[tracer]
            gather(pixels, *without_dipole(answer, truth, sorting), sorting, edges)
            if (told := spectra(replies)) is not None:
                told = placed(told, self.method.examples.places(spec))
                bands = bands or Ratios.none(told.d_ell.shape[1])
                errors = told.d_ell - true_bandpowers(told, truth, io.threads)
                for k in range(errors.shape[1]):
                    bands.add((k,), errors[:, k], told.sigma[:, k])
        factors = self.recalibration.factors(pixels)
        log.info(
            "%s: standard deviations times %s, from faint to bright", self.method.name, np.round(factors, 2).tolist()
        )
        io.write(
            CALIBRATION,
            {
                "split": self.valid,
                "simulations": len(sims),
                "tracer": tracer,
                "edges": edges.tolist(),
                "factors": factors.tolist(),
                "bandpowers": None if bands is None else self.recalibration.factors(bands).tolist(),
            },
        )

    @staticmethod
    def _fields(asked: Any) -> str:  # noqa: ANN401
        fields: str = getattr(asked, "maps", asked).fields
        return fields


def placed(told: Bandpowers, places: Any) -> Bandpowers:  # noqa: ANN401
    """Say of which patches spectra are.

    Args:
        told: a row for each sample of a case.
        places: what `Examples.places` says of them.
    """
    patch, centres = places
    return replace(told, patch=patch, centres=np.full((len(told.d_ell), 3), np.nan) if centres is None else centres)


def without_dipole(
    answer: Answer[Any], truth: SkyMap | Patches, tracer: SkyMap | Patches
) -> tuple[Answer[Any], SkyMap | Patches]:
    """Remove monopole and dipole from the intensity of maps of the whole sky: nobody judges these.

    They are fitted where the tracer is faint, for there is no mask yet, and the Galactic plane would decide alone.
    """
    if not (isinstance(truth, SkyMap) and isinstance(tracer, SkyMap)):
        return answer, truth
    faint = brightness(tracer)
    fit = MonopoleDipole.outside(faint < np.quantile(faint, FAINT))
    removed = [
        replace(field, values=np.concatenate([fit.remove(field.values[0])[np.newaxis], field.values[1:]]))
        for field in (answer.value, truth)
    ]
    return replace(answer, value=removed[0]), removed[1]


def seen_as(asked: SkyMap | Patches, answer: Answer[Any], threads: int) -> SkyMap | Patches:
    """Return the truth under the beam of an answer."""
    promised: MapSpec | PatchSpec = answer.value.spec
    if isinstance(promised, PatchSpec) or isinstance(asked, Patches) or promised.beam == "none":
        return asked
    lmax = asked.spec.lmax or 3 * asked.spec.nside - 1
    beam = np.stack([gaussian_window(promised.fwhm_arcmin, lmax, spin) for spin in (0, 2, 2)[: len(asked.values)]])
    alm = filter_components(analyse(asked.values.astype(np.float64), lmax, threads), beam)
    return SkyMap(synthesise(alm, asked.spec.nside, threads), promised)
