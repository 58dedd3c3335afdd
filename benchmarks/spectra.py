"""Show what each way of saving CAMB's time gains, and how far it moves the spectra: why it runs as it does.

    python benchmarks/spectra.py                                    two cosmologies of the embedded source, lmax 191, I
    python benchmarks/spectra.py --source wmap9_chain --cosmologies 20 --lmax 191 383 1535 --fields I IQU
    python benchmarks/spectra.py --only tolerance lenses

All ways take turns, cosmology by cosmology, and CPU seconds are counted, so that other programs on the machine blur the
ratios little. What is compared are all spectra that are written, over the multipoles that the maps use.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from unittest import mock

import camb
import hydra
import numpy as np

from cmbml.core.app import CONFIG_FOLDER
from cmbml.sims.cmb import needed_lmax
from cmbml.sims.cosmology import Cosmology
from cmbml.sims.spectrum import theory_spectra
from cmbml.sky.spectra import Spectra

# What is handed to CAMB beside, or in place of, what the spectra are made with; the first is the spectra as they are.
WAYS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "no derived parameters": {"WantDerivedParameters": False},
    "tolerance x 1.6": {"Accuracy.IntTolBoost": 0.5},
    "tolerance x 2.5": {"Accuracy.IntTolBoost": 0.1},
    "lenses to half the wavenumber": {"lens_potential_accuracy": 1},
    "lenses linear, to half of it": {"lens_potential_accuracy": 1, "NonLinear": "NonLinear_none"},
    "multipoles to 2000": {"lmax": 2000},
    "fewer source wavenumbers": {"Accuracy.SourcekAccuracyBoost": 0.8},
    "fewer wavenumbers integrated": {"Accuracy.IntkAccuracyBoost": 0.8},
    "fewer time steps": {"Accuracy.TimeStepBoost": 0.8},
    "shorter hierarchy": {"Accuracy.lAccuracyBoost": 0.8},
    "coarser Bessel functions": {"Accuracy.BesselBoost": 0.8},
    "all of the coarsest": {
        "lmax": 1300,
        "lens_potential_accuracy": 0,
        "NonLinear": "NonLinear_none",
        "Accuracy.IntTolBoost": 0.1,
        "Accuracy.SourcekAccuracyBoost": 0.8,
        "Accuracy.IntkAccuracyBoost": 0.8,
        "Accuracy.lAccuracyBoost": 0.8,
    },
}
SHOWN = (
    "lensed_TT",
    "lensed_EE",
    "lensed_BB",
    "lensed_TE",
    "unlensed_TT",
    "unlensed_EE",
    "unlensed_TE",
    "PP",
    "PT",
    "PE",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--source", default="embedded", help="an option of cosmology=")
    parser.add_argument("--cosmologies", type=int, default=2)
    parser.add_argument("--lmax", type=int, nargs="+", default=[191])
    parser.add_argument("--fields", nargs="+", default=["I"])
    parser.add_argument("--only", nargs="+", default=[""], help="words of the ways to try")
    options = parser.parse_args()
    ways = {name: extra for name, extra in WAYS.items() if not extra or any(word in name for word in options.only)}
    cosmologies = list(draw(options.source, options.cosmologies))
    theory_spectra(cosmologies[0], 500)  # CAMB and its tables are loaded once.
    for fields in options.fields:
        for lmax in options.lmax:
            reach = needed_lmax(lmax, fields, "remap")
            sys.stdout.write(
                f"{fields}, lmax {lmax}, lensing=remap, l <= {reach}: {len(cosmologies)} of {options.source}\n"
            )
            report(cosmologies, reach, ways)


def draw(source: str, n: int) -> Iterator[Cosmology]:
    """Draw the first cosmologies of a source, as a dataset whose seed is 0 has them."""
    with hydra.initialize_config_dir(version_base=None, config_dir=str(CONFIG_FOLDER)):
        node = hydra.compose("sims", [f"cosmology={source}"])["cosmology"]
    made = hydra.utils.instantiate(node)
    return (made.draw(number, np.random.default_rng(number), 0) for number in range(n))


def report(cosmologies: list[Cosmology], reach: int, ways: Mapping[str, Mapping[str, Any]]) -> None:
    """Compute every cosmology in every way; print CPU seconds, ratios and the largest deviation of each spectrum."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    worst = {name: dict.fromkeys(SHOWN, 0.0) for name in ways}
    for cosmology in cosmologies:
        reference = None
        for name, extra in ways.items():
            with mock.patch.object(camb, "set_params", partial(_with, camb.set_params, extra)):
                started = time.process_time()
                spectra = theory_spectra(cosmology, reach if "lmax" not in extra else min(reach, extra["lmax"]))
                seconds[name].append(time.process_time() - started)
            reference = spectra if reference is None else reference
            for shown in SHOWN:
                worst[name][shown] = max(worst[name][shown], deviation(spectra, reference, shown))
    first = np.median(seconds["as it is"])
    for name, times in seconds.items():
        found = " ".join(
            f"{shown.replace('unlensed_', 'u').replace('lensed_', 'l')}:{value:.0e}"
            for shown, value in worst[name].items()
        )
        sys.stdout.write(f"  {name:<30}{np.median(times):6.2f} s{np.median(times) / first:6.2f}  {found}\n")
    sys.stdout.flush()


def _with(set_params: Any, extra: Mapping[str, Any], **settings: Any) -> Any:  # noqa: ANN401 (CAMB has no types)
    return set_params(**(settings | extra))


def deviation(spectra: Spectra, reference: Spectra, name: str) -> float:
    """Return the largest deviation of a spectrum at any l that both reach.

    It is relative to the spectrum itself, and that of a cross-spectrum to the root of the product of the two powers.
    """
    kind, _, (first, second) = name.rpartition("_")
    powers = [reference["PP" if letter == "P" else f"{kind or 'unlensed'}_{letter * 2}"] for letter in (first, second)]
    ours = spectra[name][2:]
    return float(
        np.max(np.abs(ours - reference[name][2:][: ours.size]) / np.sqrt(powers[0] * powers[1])[2:][: ours.size])
    )


if __name__ == "__main__":
    main()
