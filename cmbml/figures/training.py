"""How a network has learnt."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from cmbml.figures.palette import COLOURS, COLUMN_WIDTH_INCH
from cmbml.figures.style import GREY, SMALL_TEXT_SIZE, TEXT_SIZE


def draw_training(curve: Mapping[str, Sequence[float]], method: str) -> Figure:
    """Draw losses, error and learning rate over epochs.

    Args:
        curve: `epoch`, `learning_rate`, `train_loss`, `valid_loss`, `valid_rmse_uk`: a value per epoch.
        method: whose they are.

    Returns:
        The figure, as wide as a journal's column.
    """
    epochs = np.asarray(curve["epoch"]) + 1
    best = int(np.argmin(curve["valid_loss"]))
    figure = Figure(figsize=(COLUMN_WIDTH_INCH, 5.2), layout="constrained")
    losses, errors, rates = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.4))
    losses.plot(epochs, curve["train_loss"], color=COLOURS[0], label="training simulations")
    losses.plot(epochs, curve["valid_loss"], color=COLOURS[1], dashes=(4, 1.5), label="validation simulations")
    losses.set_ylabel("loss (normalised)", fontsize=TEXT_SIZE)
    errors.plot(epochs, curve["valid_rmse_uk"], color=COLOURS[1], dashes=(4, 1.5))
    errors.set_ylabel("RMSE, validation,\nwhole sky [µK]", fontsize=TEXT_SIZE)
    for axes in (losses, errors):
        axes.set_yscale("log")
        axes.axvline(epochs[best], color=GREY, linewidth=0.8, zorder=0)
    errors.annotate(
        f"least validation loss: epoch {epochs[best]}, {curve['valid_rmse_uk'][best]:.3g} µK",
        (0.98, 0.94), xycoords="axes fraction", ha="right", va="top", fontsize=SMALL_TEXT_SIZE,
    )  # fmt: skip
    losses.legend(fontsize=SMALL_TEXT_SIZE, frameon=False)
    losses.set_title(f"training of {method}", fontsize=TEXT_SIZE)
    rates.semilogy(epochs, curve["learning_rate"], color=GREY)
    rates.set_ylabel("learning rate", fontsize=TEXT_SIZE)
    rates.set_xlabel("epoch", fontsize=TEXT_SIZE)
    for axes in (losses, errors, rates):
        axes.tick_params(labelsize=SMALL_TEXT_SIZE)
    return figure
