"""What a comparison says, in sentences: on which data, who wins by how much, how sure that is, and what limits it."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cmbml.metrics.intervals import ENOUGH, FEWEST, LEAST_HELD, Interval
from cmbml.metrics.scores import Metric, Numbers, Place, ScoreBook
from cmbml.metrics.summary import Grid, mean_and_std, paired_interval, plus_minus

UNKNOWN_MEMORY = (
    "What memory alone would score is not known: no method that only remembers its training was compared "
    "(main_clean.py method=control_memory, where there is a training split)."
)

HEADLINE, WARNING = "In short", "Warning"
"""Headings of the sentence that says it all, and of what keeps one from believing it."""

WHOLE = "residual"
"""What the table of parts calls the error that the parts add up to."""


@dataclass(frozen=True)
class About:
    """What the numbers hold for.

    Attributes:
        maps: what its maps are, such as `nside 64`.
        channels: of its observations.
        sky: what its sky is, in words, such as `foregrounds EmbeddedSky`; empty where nobody knows.
        seed: root of its randomness.
        split: which was scored.
        benchmark: how it compares with the frozen one that it is called after; None where it is called after none.
    """

    maps: str
    channels: Sequence[str]
    sky: str
    seed: int
    split: str
    benchmark: str | None = None


@dataclass(frozen=True)
class Resampled:
    """How sure scores of few skies are, from pieces of these skies that were drawn again.

    Attributes:
        pieces: how many of what, such as `23 tiles of the sky`.
        means: method -> its score, and where it may lie.
        worse: method and another -> by how much the first is worse than the second.
    """

    pieces: str
    means: Mapping[str, Interval]
    worse: Mapping[tuple[str, str], Interval]


@dataclass(frozen=True)
class PartRow:
    """How large one part of a method's error is at a footing, over simulations.

    Attributes:
        part: its name, or `residual` for the whole error.
        n: simulations.
        rms: mean over them, uK_CMB.
        std: their sample standard deviation; NaN for one.
    """

    method: str
    footing: str
    part: str
    n: int
    rms: float
    std: float


def part_rows(found: Iterable[tuple[str, str, str, Numbers]]) -> list[PartRow]:
    """Average the parts of errors over simulations.

    Args:
        found: method, footing, part, and `(n_sim,)` its rms in each simulation, uK_CMB.

    Returns:
        A row for each, without those that no simulation has.
    """
    moments = ((where, mean_and_std(rms)) for *where, rms in found)
    return [PartRow(where[0], where[1], where[2], *of) for where, of in moments if of[0]]


def part_grid(rows: Sequence[PartRow], footings: Sequence[str]) -> Grid:
    """Lay out a table of methods and parts, the largest part of each line marked.

    Args:
        rows: of `part_rows`.
        footings: in the order of the table; others are left out.
    """
    parts = sorted({row.part for row in rows} - {WHOLE}, key=[row.part for row in rows].index)
    cells = {(row.footing, row.method, row.part): row for row in rows}
    heads = ["Beam", "Method", *[f"{readable(part)} (µK_CMB)" for part in parts], "whole error (µK_CMB)"]
    lines, marks = [], []
    for footing in footings:
        for i, method in enumerate(sorted({row.method for row in rows if row.footing == footing})):
            own = [cells.get((footing, method, part)) for part in (*parts, WHOLE)]
            texts = [plus_minus(math.nan, math.nan) if row is None else plus_minus(row.rms, row.std) for row in own]
            largest = max((row.rms for row in own[:-1] if row is not None), default=math.nan)
            lines.append(["" if i else footing, method, *texts])
            marks.append([False, False, *[row is not None and row.rms == largest for row in own[:-1]], False])
    return Grid(heads, lines, marks)


def readable(part: str) -> str:
    """Return what a part is called in a sentence.

    Example:
        >>> readable("signal_loss")
        'signal loss'
    """
    return part.replace("_", " ")


@dataclass(frozen=True)
class Contest:
    """The scores of all methods at one place, and what may be said of them.

    Attributes:
        book: of all methods.
        place: that decides.
        controls: methods that are shown apart, and cannot win.
        memory: of these, those that only remember what they were trained on.
        resampled: what pieces of the skies say, where the skies are too few to say anything.
    """

    book: ScoreBook
    place: Place
    controls: Collection[str] = ()
    memory: Collection[str] = ()
    resampled: Resampled | None = None

    @property
    def by_pieces(self) -> Resampled | None:
        """What intervals are taken from, if not from simulations."""
        return self.resampled if len(set(self.skies or ())) < FEWEST else None

    @property
    def sims(self) -> list[str]:
        """The simulations, sorted."""
        return self.book.sims

    @property
    def skies(self) -> list[str] | None:
        """The sky of each simulation; None where nobody knows."""
        return self.book.skies

    @cached_property
    def metric(self) -> Metric:
        """The metric that decides."""
        return self.book.metrics[self.place.metric]

    @cached_property
    def unit(self) -> str:
        """A space and the unit of the metric; nothing for a pure number."""
        return f" {self.metric.unit.partition('_')[0].replace('u', 'µ', 1)}" if self.metric.unit else ""

    @cached_property
    def values(self) -> dict[str, Numbers]:
        """Method -> its score of each simulation, best mean first; NaN where it has none."""
        found = self.book.at(self.place)
        return dict(sorted(found.items(), key=lambda item: self.metric.badness(self.mean(item[1]))))

    @cached_property
    def ranked(self) -> list[str]:
        """The methods that may win, best first."""
        return [name for name in self.values if name not in {*self.controls, *self.memory}]

    @staticmethod
    def mean(values: Numbers) -> float:
        """Return the mean of the scores that there are."""
        return mean_and_std(values)[1]

    def noise_floor(self, method: str) -> float:
        """Return what noise alone allows a method, uK_CMB."""
        return mean_and_std(self.book.at(self.place, "noise_floor")[method])[1]

    def between(self, method: str, other: str) -> Interval:
        """Return by how much a method's score is worse than another's."""
        if self.by_pieces is not None:
            return self.by_pieces.worse[method, other]
        worse, better = (self.metric.badness(self.values[name]) for name in (method, other))
        return paired_interval(worse, better, self.skies)

    def score(self, method: str) -> str:
        """Write a method and its score."""
        _, mean, std = mean_and_std(self.values[method])
        if self.by_pieces is not None:
            low, high = self.by_pieces.means[method].low, self.by_pieces.means[method].high
            return f"{method} {mean:.3g} [{low:.3g}, {high:.3g}]{self.unit}"
        return f"{method} {plus_minus(mean, std)}{self.unit}"


def verdict(
    book: ScoreBook,
    about: About,
    place: Place,
    controls: Collection[str] = (),
    memory: Collection[str] = (),
    parts: Sequence[PartRow] = (),
    resampled: Resampled | None = None,
) -> dict[str, str]:
    """Say in a few sentences what the scores of a comparison come to.

    Args:
        book: the scores of all methods.
        about: what they hold for.
        place: the score that decides.
        controls: methods that are shown apart, and cannot win.
        memory: controls that only remember their training: what all others must beat; none where there are none of
            such a task.
        parts: of the methods' errors, where they were scored.
        resampled: what pieces of the skies say of the score that decides, where they were drawn again.

    Returns:
        Heading -> sentences, in the order in which they are to be read.
    """
    contest = Contest(book, place, controls, memory, resampled)
    known = place in book.places and contest.ranked
    lines = {HEADLINE: headline(contest) if known else f"No method but controls was scored at {place.footing}."}
    if warning := warning_line(contest, about.split):
        lines[WARNING] = warning
    lines |= {"Data": data_line(about, contest), "Benchmark": benchmark_line(about.benchmark)}
    if known:
        lines["Winner"] = f"{contest.metric.label} at {place.footing}, {inside(place.region)}: {winner_line(contest)}"
        lines["Certainty"] = certainty_line(contest)
        if limit := limit_line(contest, [row for row in parts if row.footing == place.footing]):
            lines["What limits it"] = limit
    if place not in book.places:
        return lines
    if found := [contest.score(name) for name in contest.values if name in {*controls, *memory}]:
        lines["Controls"] = f"Not in the running: {', '.join(found)}."
    remembered = [name for name in contest.values if name in memory]
    if remembered or memory:
        lines["Memory"] = memory_line(contest, remembered[0]) if remembered else UNKNOWN_MEMORY
    return lines


def headline(contest: Contest) -> str:
    """Say in one sentence who is best, by how much, and how sure that is."""
    best, *others = contest.ranked
    at = f"{contest.metric.label} at {contest.place.footing}, {inside(contest.place.region)}"
    score = f"{contest.mean(contest.values[best]):.3g}{contest.unit}"
    if not others:
        return f"{best} was compared with no other method: {at} {score}."
    found = {name: contest.between(name, best) for name in others}
    alike = [name for name in others if not found[name].low > 0]
    if not alike:
        return (
            f"{best} is best: its {at} is {score}, {ahead(contest, others[0], best)} that of the next, {others[0]}; "
            f"{these(contest)} tell{'s' * single(contest)} them apart."
        )
    scores = ", ".join(f"{name} {contest.mean(contest.values[name]):.3g}" for name in (best, *alike))
    return f"{capital(these(contest))} cannot tell {best} from {' or '.join(alike)}: {at} {scores}{contest.unit}."


def ahead(contest: Contest, method: str, best: str) -> str:
    """Say by how much the best is ahead of a method: in per cent where the score is one that ends at zero."""
    found, mean = contest.between(method, best), contest.mean(contest.values[method])
    part = contest.metric.best == -math.inf and mean > 0
    by, low, high = (f"{value * (100 / mean if part else 1):.2g}" for value in (found.value, found.low, found.high))
    below = (
        "below" if contest.metric.best == -math.inf else "above" if contest.metric.best == math.inf else "nearer than"
    )
    return f"{by}{' %' if part else contest.unit} [{low}, {high}] {below}"


def these(contest: Contest) -> str:
    """Name what the comparison stands on."""
    if contest.by_pieces is not None:
        return f"the {contest.by_pieces.pieces}"
    return f"th{'is' if single(contest) else 'ese'} {count(len(contest.sims), 'simulation')}"


def single(contest: Contest) -> bool:
    """Say whether the comparison stands on one simulation alone."""
    return contest.by_pieces is None and len(contest.sims) == 1


def capital(text: str) -> str:
    """Begin a sentence with a capital letter."""
    return text[:1].upper() + text[1:]


def warning_line(contest: Contest, split: str) -> str:
    """Say what so few simulations are worth; nothing where there are enough.

    The standard deviation of n normal values is known to 1 / sqrt(2 (n - 1)) of itself.
    """
    n = len(contest.sims)
    if n >= ENOUGH or contest.by_pieces is not None:
        return ""
    if n == 1:
        text = "One simulation tells nothing of the scatter of the next"
    else:
        text = f"{n} simulations are few: their scatter is itself known to {100 / math.sqrt(2 * (n - 1)):.0f} % only"
    return f"{text}. Take splits.{split}={ENOUGH} or more before a method is chosen by this."


def inside(region: str) -> str:
    """Say in which part of the sky.

    Example:
        >>> inside("mask"), inside("b5-30")
        ('inside the mask', 'in b5-30')
    """
    return "inside the mask" if region == "mask" else f"in {region}"


def data_line(about: About, contest: Contest) -> str:
    """Say what the dataset is."""
    n_skies = len(set(contest.skies or ()))
    skies = "how many skies is not known" if not n_skies else "one sky for all" if n_skies == 1 else f"{n_skies} skies"
    if 1 < n_skies == len(contest.sims):
        skies += ", one for each simulation"
    channels = f"channels {', '.join(about.channels)}; " if about.channels else ""
    return (
        f"{about.maps}; {channels}{about.sky or 'foregrounds made elsewhere'}, "
        f"{skies}; seed {about.seed}; {count(len(contest.sims), 'simulation')} of split {about.split}."
    )


def benchmark_line(benchmark: str | None) -> str:
    """Say whether others have scores on the same data."""
    if benchmark is None:
        return "None of the frozen benchmarks: these numbers compare with one another, and with no one else's."
    return f"{capital(benchmark)}."


def winner_line(contest: Contest) -> str:
    """Say who wins, and by how much."""
    best, *others = contest.ranked
    if not others:
        return f"{contest.score(best)}; there is no other method to compare it with."
    return f"{contest.score(best)}. Next is {contest.score(others[0])}, {difference(contest, others[0], best)}."


def difference(contest: Contest, method: str, best: str) -> str:
    """Write by how much a method is behind the best, and the interval."""
    found = contest.between(method, best)
    interval = "" if math.isnan(found.low) else f" [{found.low:.3g}, {found.high:.3g}]"
    more = "more" if contest.metric.best == -math.inf else "less" if contest.metric.best == math.inf else "farther off"
    return f"{found.value:.3g}{interval}{contest.unit} {more}"


def certainty_line(contest: Contest) -> str:
    """Say which methods the simulations cannot tell from the winner, and what the intervals do not hold."""
    best, *others = contest.ranked
    n, pieces, those = len(contest.sims), contest.by_pieces, capital(these(contest))
    found = {name: contest.between(name, best) for name in others}
    alike = [name for name, interval in found.items() if not interval.low > 0]
    if not others:
        text = "A method alone is neither better nor worse."
    elif n < FEWEST and pieces is None:
        text = f"{those} cannot tell {best} from any other method: there is no interval below {FEWEST} simulations."
    elif alike:
        text = f"{those} cannot tell {best} from {' or '.join(alike)} (95 % intervals of the paired differences)."
    else:
        text = f"{those} tell {best} from every other method (95 % intervals of the paired differences)."
    if pieces is not None:
        return f"{text} {by_pieces_note(contest)}"
    skies = dict(zip(contest.sims, contest.skies or [""] * n, strict=True))
    return f"{text} {intervals_note(skies)}" if n >= FEWEST else text


def by_pieces_note(contest: Contest) -> str:
    """Say what intervals of pieces of few skies leave out."""
    n_skies = len(set(contest.skies or ()))
    some = "one sky" if n_skies == 1 else f"{n_skies} skies"
    return f"Intervals are those of a bootstrap over these tiles of {some}: the scatter over skies is not in them."


def intervals_note(skies: Mapping[str, str]) -> str:
    """Say what intervals stand on, what they leave out, and what they are worth.

    Args:
        skies: simulation -> the sky that it sees; empty where nobody knows.
    """
    n_skies, independent = len(set(skies.values())), len(skies)
    if not all(skies.values()):
        text = "Which sky each simulation sees is not known: the scatter over skies may not be in these intervals."
    elif n_skies < FEWEST:
        one = "one sky" if n_skies == 1 else f"{n_skies} skies"
        text = f"All on {one}: the scatter over skies is not in these intervals."
    else:
        text, independent = f"The intervals are over {n_skies} skies.", n_skies
    if FEWEST <= independent < ENOUGH:
        text += f" Of {independent} values, 95 % intervals hold the truth in {LEAST_HELD} to 95 of 100 cases."
    return text


def limit_line(contest: Contest, parts: Sequence[PartRow]) -> str:
    """Say what the winner's error is mostly made of, or how far it is from what noise allows.

    Nothing, where neither is known.
    """
    best = contest.ranked[0]
    own = sorted((row for row in parts if row.method == best and row.part != WHOLE), key=lambda row: -row.rms)
    if own:
        first, *rest = [f"{readable(row.part)} ({plus_minus(row.rms, row.std)} µK)" for row in own]
        return f"Most of the error of {best} is {first}" + (f"; then {', '.join(rest)}." if rest else ".")
    mean, floor = contest.mean(contest.values[best]), contest.noise_floor(best)
    if not (floor > 0 and math.isfinite(floor)):
        return ""
    return (
        f"The noise of the channels that {best} was shown allows {floor:.3g}{contest.unit}: its error is "
        f"{mean / floor:.3g} times that. Its parts have not been scored (stages=clean_with_parts, analysis_with_parts)."
    )


def memory_line(contest: Contest, control: str) -> str:
    """Say which methods do no better than one that only remembers."""
    found = {name: contest.between(name, control) for name in contest.ranked}
    beaten = [name for name, of in found.items() if not (of.value if math.isnan(of.high) else of.high) < 0]
    what = f"On this dataset, memory alone scores {contest.mean(contest.values[control]):.3g}{contest.unit} ({control})"
    return f"{what}; methods that do no better have shown nothing: {', '.join(beaten) or 'none'}."


def count(number: int, thing: str) -> str:
    """Write a number of things.

    Example:
        >>> count(1, "simulation"), count(3, "simulation")
        ('1 simulation', '3 simulations')
    """
    return f"{number} {thing}{'s' * (number != 1)}"


def markdown(lines: Mapping[str, str]) -> str:
    """Return a verdict as a list in Markdown."""
    return "".join(f"- **{heading}**: {text}\n" for heading, text in lines.items())
