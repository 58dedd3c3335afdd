"""Biases of cosmological parameters, from the command line to the scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from outcomes import done, refused

import cmbml

Command = Callable[..., "Outcome"]  # noqa: F821 (of conftest.py)
METHODS = "methods=[control_truth,control_channel]"


def test_biases_are_scored_beside_the_truth(sky: Path, command: Command, scoring: tuple[str, ...]) -> None:
    words = [word for word in scoring if word != "~stages.derivatives"]
    quick = ("stages.derivatives.camb.margin=150", "spectra.bin_width=10")
    done(command("analysis", sky, "dataset=sky", METHODS, *quick, *words))
    table = cmbml.open_dataset(sky / "sky").scores()
    found = table[[name.startswith("bias_") for name in table["metric"]]]
    assert set(found["metric"]) == {"bias_logA", "bias_ns", "bias_all"}
    assert set(found["footing"]) == {"auto-spectrum", "cross-spectrum with the truth"}
    assert set(found["unit"]) == {"sigma"}
    truth = found["method"] == "control_truth"
    assert np.allclose(found["value"][truth], 0, atol=1e-6)
    channel = found[~truth & (found["metric"] == "bias_all")]
    auto = channel["footing"] == "auto-spectrum"
    assert channel["value"][auto].mean() > channel["value"][~auto].mean() > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("parameters=[nss]", "parameters: there is no 'nss'; did you mean 'ns'?"),
        ("parameters=[ns,ns]", "parameters=[ns,ns]: name each once"),
        ("stages.metrics.judges.parameters.noise=all", "stages.metrics.judges.parameters.noise"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    cleaned: Path, command: Command, scoring: tuple[str, ...], words: str, message: str
) -> None:
    refused(command("analysis", cleaned, "dataset=sky", METHODS, *scoring, words, "plan_only=true"), message)


def test_too_few_bins_are_said(cleaned: Path, command: Command, scoring: tuple[str, ...]) -> None:
    words = ("spectra.bin_width=30", "plan_only=true")
    assert "no biases of parameters: 2 of them need" in done(
        command("analysis", cleaned, "dataset=sky", METHODS, *scoring, *words)
    )
