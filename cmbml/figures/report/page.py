"""The page: what it is made of, and how it is put together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from cmbml.figures.palette import method_styles
from cmbml.figures.report.embed import as_json, gradient, packed_script, picture
from cmbml.figures.report.tables import (
    find_outliers,
    other_sky_rows,
    score_rows,
    shown_simulations,
    simulation_rows,
    spectra_curves,
    training_rows,
)
from cmbml.figures.results import FigureError, PredictionMaps, Section, Stacks, TextTable, TheoryBand, TrainingRun
from cmbml.figures.style import round_to
from cmbml.tables import Columns

PLACE = ("footing", "field", "region", "metric")
PICTURE_WIDTH = 800  # points along the equator
PLAIN_UNITS: Mapping[str, str] = {"uK_CMB": "µK (CMB)"}
PLOT_DASHES: Mapping[str, str] = {"-": "solid", "--": "dash", ":": "dot"}
PLOT_MARKERS: Mapping[str, str] = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
}


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that the page shows.

    Attributes:
        title: of the page.
        methods: in the order of drawing; the place gives the colour.
        summary: SUMMARY: one row per method, footing, field, region and metric.
        scores: of all simulations.
        verdict: heading -> sentences that the page begins with; may be empty.
        parts: what the errors are made of; may be None.
        parts_pictures: the same by multipole: caption -> data URI of a picture; may be empty.
        error_bars: how good the error bars of methods are; may be None.
        parameters: what the errors of their spectra do to cosmological parameters; may be None.
        intervals: what the intervals of differences are, and what they do not hold.
        spectra: of all simulations; may be empty.
        bands: spectrum (`TT`) -> theory over the training cosmologies; may be empty.
        sections: tables that the comparison has beside its scores; may be empty.
        pictures: caption -> data URI of a picture; may be empty.
        maps: what the gallery shows; may be empty. Outliers are linked to their maps where they are among them.
        generalisation: a row per method, place and other split, as `generalisation_figure` takes them; may be empty.
        training: of the methods that have learnt; may be empty.
        metric_labels: metric -> what it is called, with its unit; its name by default.
        descriptions: method -> a sentence on it.
        configuration: the composed configuration, as text.
        provenance: what -> value: versions, seeds, fingerprints, command.
        commands: what to type to make this page again, in order.
        limit: end of the maps' colour scale, in their unit.
        decisive: `footing`, `field`, `region` and `metric` that are shown first; those that there are by default.
        controls: methods that are set apart; others that there are not do not matter.
        headings: of `verdict`: that of the sentence that says it all, and that of a warning; either may be missing.
        most_simulations: whose scores stand in the page one by one.
        most_outliers: that are listed.
    """

    title: str
    methods: Sequence[str]
    summary: Columns
    scores: Stacks
    verdict: Mapping[str, str] = field(default_factory=dict)
    parts: TextTable | None = None
    parts_pictures: Mapping[str, str] = field(default_factory=dict)
    error_bars: TextTable | None = None
    parameters: TextTable | None = None
    intervals: str = ""
    spectra: Stacks = field(default_factory=dict)
    bands: Mapping[str, TheoryBand] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    maps: Sequence[PredictionMaps] = ()
    generalisation: Columns = field(default_factory=dict)
    training: Sequence[TrainingRun] = ()
    metric_labels: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    configuration: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()
    limit: float = 300.0
    decisive: Mapping[str, str] = field(default_factory=dict)
    controls: Collection[str] = ()
    headings: tuple[str, str] = ("In short", "Warning")
    most_simulations: int = 100
    most_outliers: int = 200

    def __post_init__(self) -> None:
        """Refuse methods that nobody named.

        Raises:
            FigureError: there is no method, or a table or map belongs to one that is not listed.
        """
        if not self.methods:
            message = "a report needs one method at least"
            raise FigureError(message)
        found = {*self.scores, *self.spectra, *(maps.method for maps in self.maps)}
        found |= {str(method) for table in (self.summary, self.generalisation) for method in table.get("method", ())}
        found |= {run.method for run in self.training}
        if unknown := sorted(found - set(self.methods)):
            message = f"results of {unknown}, which are not among the report's methods {list(self.methods)}"
            raise FigureError(message)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The methods by what they are called together: methods, and controls where there are some."""
        own = [name for name in self.methods if name not in self.controls]
        return {"Methods": own, "Controls": [name for name in self.methods if name in self.controls]}

    @property
    def first_place(self) -> dict[str, str]:
        """Footing, field, region and metric that every section begins with: what decides, as far as there is that."""
        wanted = {"region": "mask", "metric": "rmse"} | dict(self.decisive)
        found = {name: list(dict.fromkeys(map(str, self.summary[name]))) for name in PLACE}
        return {name: wanted[name] if wanted.get(name) in of else of[0] for name, of in found.items() if of}

    @property
    def best(self) -> str:
        """The method that ranks highest at that place, controls apart; the first one where none has a rank."""
        here = np.ones(len(self.summary["method"]), dtype=bool)
        for name, value in self.first_place.items():
            here &= np.asarray(self.summary[name]).astype(str) == value
        pairs = zip(np.asarray(self.summary["rank"])[here], np.asarray(self.summary["method"])[here], strict=True)
        ranked = sorted((int(rank), str(method)) for rank, method in pairs if rank and method not in self.controls)
        return ranked[0][1] if ranked else (self.groups["Methods"] or list(self.methods))[0]

    @property
    def facts(self) -> dict[str, str]:
        """The verdict without what stands above it."""
        return {heading: text for heading, text in self.verdict.items() if heading not in self.headings}

    @property
    def known_split(self) -> str:
        """The split that others are compared with; empty where there are none."""
        return str(self.generalisation["reference_split"][0]) if self.generalisation else ""

    @property
    def independent(self) -> str:
        """What the intervals of ratios between splits are over."""
        if set(self.generalisation["over"]) == {"skies"}:
            return "the skies of both splits"
        return "the simulations of both splits, and does not hold what another choice of skies would change"

    @property
    def simulations(self) -> list[str]:
        """Names of all simulations, sorted."""
        stacks = [*self.scores.values(), *self.spectra.values()]
        named = {str(sim) for stack in stacks for sim in stack.sims}
        return sorted(named | {maps.simulation for maps in self.maps})


def render_report(data: ReportData) -> str:
    """Write the page: HTML, style, scripts, plotly and pictures in one string, the same for the same data.

    Args:
        data: what it shows.

    Returns:
        HTML that needs no network.
    """
    metrics = list(dict.fromkeys(str(name) for name in data.summary["metric"]))
    styles = method_styles(data.methods)
    images, shown = _gallery(data)
    outliers = find_outliers(data.scores)
    listed = shown_simulations(data.scores, outliers, data.most_simulations)
    content = {
        "methods": {
            name: {
                "colour": style.colour,
                "dash": PLOT_DASHES[style.dashes],
                "symbol": PLOT_MARKERS[style.marker],
            }
            for name, style in styles.items()
        },
        "decisive": data.first_place,
        "best": data.best,
        "controls": data.groups["Controls"],
        "metrics": {name: data.metric_labels.get(name, name) for name in metrics},
        "summary": score_rows(data.summary),
        "generalisation": other_sky_rows(data.generalisation) if data.generalisation else None,
        "training": training_rows(data.training),
        "simulations": simulation_rows(data.scores, listed),
        "outliers": outliers[: data.most_outliers],
        "n_outliers": len(outliers),
        "spectra": spectra_curves(data.spectra, data.bands, data.methods),
        "maps": shown,
        "images": images,
    }
    environment = Environment(
        loader=PackageLoader("cmbml.figures.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.jinja").render(
        data=data,
        styles=styles,
        gradient=gradient(),
        plotly=packed_script(get_plotlyjs()),
        listed=listed,
        content=as_json(content),
    )


def _gallery(data: ReportData) -> tuple[dict[str, str], list[dict[str, object]]]:
    """Draw the maps; return name -> picture, and which pictures belong to what.

    The truth of a simulation on one footing is drawn once, however many methods were given it.
    """
    images: dict[str, str] = {}
    shown: list[dict[str, object]] = []
    for maps in data.maps:
        place = (maps.simulation, maps.footing, maps.field)
        rms = float((maps.difference[maps.kept].astype(float) ** 2).mean() ** 0.5)
        limit = round_to(4 * rms, 1) or 1.0
        names = {
            "truth": "|".join(("truth", *place)),
            "prediction": "|".join(("prediction", maps.method, *place)),
            "difference": "|".join(("difference", maps.method, *place)),
        }
        for kind, name in names.items():
            if name not in images:
                values = getattr(maps, kind)
                images[name] = picture(values, maps.mask, limit if kind == "difference" else data.limit, PICTURE_WIDTH)
        shown.append(
            {
                "method": maps.method,
                "simulation": maps.simulation,
                "footing": maps.footing,
                "field": maps.field,
                "unit": PLAIN_UNITS.get(maps.unit, maps.unit),
                "limit": data.limit,
                "difference_limit": limit,
                "rms": rms,
                "images": names,
            }
        )
    return images, shown
