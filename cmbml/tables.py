"""Tables of numbers and words, one of each simulation, and many of them on top of one another.

What science and file formats both speak of, so it stands below either.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.str_]
Float = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
"""A table: name -> `(n_row,)`, of words or of numbers."""


@dataclass(frozen=True)
class Stack:
    """Tables of the same rows, one of each simulation, on top of one another.

    Attributes:
        sims: `(n_sim,)`, the names of the simulations.
        words: name -> `(n_row,)`: what the rows are.
        numbers: name -> `(n_sim, n_row)`: what they hold; NaN where a simulation has no such row.
        facts: name -> `(n_sim,)`: what else is known of a simulation; empty where nothing is.

    Example:
        >>> one = {"metric": np.array(["rmse", "mae"]), "value": np.array([2.0, 1.0])}
        >>> stack = Stack.of({"sim0000": one, "sim0001": one}.items())
        >>> stack.where(metric="mae").numbers["value"].tolist()
        [[1.0], [1.0]]
    """

    sims: Words
    words: Mapping[str, Words]
    numbers: Mapping[str, Float]
    facts: Mapping[str, Words] = field(default_factory=dict)

    @classmethod
    def of(cls, tables: Iterable[tuple[str, Columns]], facts: Mapping[str, Collection[str]] | None = None) -> Self:
        """Put tables on top of one another.

        Rows are the same if their words are; of several such rows in a table, if they come in the same order.

        Args:
            tables: name of the simulation and its table, in the order of `sims`.
            facts: name -> one word for each simulation.
        """
        place: dict[tuple[str, ...], int] = {}
        sims: list[str] = []
        found: list[tuple[NDArray[np.intp], dict[str, Float]]] = []
        before: list[list[str]] = []
        names: list[str] = []
        at = np.empty(0, dtype=np.intp)
        for sim, table in tables:
            names = names or [name for name, column in table.items() if np.asarray(column).dtype.kind in "US"]
            own = [np.asarray(table[name]).astype(str).tolist() for name in names]
            if own != before:
                at, before = np.array(_places(own, place), dtype=np.intp), own
            sims.append(sim)
            numbers = {name: np.asarray(column, float) for name, column in table.items() if name not in names}
            found.append((at, numbers))
        words = {name: np.array([row[i] for row in place], dtype=str) for i, name in enumerate(names)}
        stacked: dict[str, Float] = {}
        for name in dict.fromkeys(name for _, numbers in found for name in numbers):
            stacked[name] = np.full((len(sims), len(place)), np.nan)
            for i, (where, numbers) in enumerate(found):
                if name in numbers:
                    stacked[name][i, where] = numbers[name]
        known = {name: np.array(list(of), dtype=str) for name, of in (facts or {}).items()}
        return cls(np.array(sims, dtype=str), words, stacked, known)

    def where(self, **wanted: str) -> Self:
        """Return the rows that have given words in given columns, in the order in which they are."""
        kept = np.ones(self.n_rows, dtype=bool)
        for name, word in wanted.items():
            kept &= self.words[name] == word
        return replace(
            self,
            words={name: column[kept] for name, column in self.words.items()},
            numbers={name: values[:, kept] for name, values in self.numbers.items()},
        )

    def of_sims(self, sims: Collection[str]) -> Self:
        """Return what there is of some simulations."""
        kept = np.isin(self.sims, list(sims))
        return replace(
            self,
            sims=self.sims[kept],
            numbers={name: values[kept] for name, values in self.numbers.items()},
            facts={name: of[kept] for name, of in self.facts.items()},
        )

    def long(self) -> dict[str, NDArray[Any]]:
        """Return all tables as one, a row for each simulation and row, without rows that hold no number at all.

        Returns:
            `sim`, `sky` where it is known, the words and the numbers.

        Example:
            >>> sims, words = np.array(["sim0000", "sim0001"]), {"bin": np.array(["a"])}
            >>> stack = Stack(sims, words, {"d": np.array([[1.0], [2.0]])})
            >>> stack.long()["d"].tolist()
            [1.0, 2.0]
        """
        n_sim, n_row = len(self.sims), self.n_rows
        of_sims = {"sim": self.sims} | {name: of for name, of in self.facts.items() if name == "sky"}
        columns: dict[str, NDArray[Any]] = {name: np.repeat(of, n_row) for name, of in of_sims.items()}
        columns |= {name: np.tile(of, n_sim) for name, of in self.words.items()}
        columns |= {name: values.ravel() for name, values in self.numbers.items()}
        empty = np.logical_and.reduce([np.isnan(values).ravel() for values in self.numbers.values()])
        return {name: column[~empty] for name, column in columns.items()}

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.words.values()))) if self.words else 0


def different(stacks: Iterable[Stack], column: str) -> list[str]:
    """Return the different words in a column of many stacks, in the order of their first appearance."""
    return list(dict.fromkeys(word for stack in stacks for word in stack.words[column].tolist()))


def _places(words: list[list[str]], place: dict[tuple[str, ...], int]) -> list[int]:
    """Return the place of each row among all, and give new ones a place."""
    times: dict[tuple[str, ...], int] = {}
    places = []
    for row in zip(*words, strict=True):
        times[row] = times.get(row, -1) + 1
        places.append(place.setdefault((*row, str(times[row])), len(place)))
    return places
