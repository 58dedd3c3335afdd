"""Frozen maps are known again, on any machine, and others are not taken for them."""

import numpy as np
import pytest
import yaml

from cmbml.metrics.frozen import HASH, LISTS, compare, probe

RNG = np.random.default_rng(7)
MAPS = {
    f"sim{i:04d}": {part: RNG.normal(0, 80, (1, 768)).astype(np.float32) for part in ("truth", "100")} for i in (0, 1)
}


def probes(maps):
    return {sim: probe(parts) for sim, parts in maps.items()}


def test_the_same_maps_are_the_benchmark():
    agrees, verdict = compare("v1", probes(MAPS), probes(MAPS))
    assert agrees
    assert "byte for byte" in verdict
    assert "all 2 simulations and 4 maps" in verdict


def test_another_machine_s_last_bits_do_not_matter():
    rounded = {s: {p: v * np.float32(1 + 1e-6) for p, v in parts.items()} for s, parts in MAPS.items()}
    agrees, verdict = compare("v1", probes(MAPS), probes(rounded))
    assert agrees
    assert "another machine" in verdict


def test_other_maps_are_told():
    for change in (lambda v: v[:, ::-1], lambda v: -v, lambda v: v * np.float32(1.01), lambda v: v[:, :48]):
        other = MAPS | {"sim0001": {"truth": change(MAPS["sim0001"]["truth"]), "100": MAPS["sim0001"]["100"]}}
        agrees, verdict = compare("v1", probes(MAPS), probes(other))
        assert not agrees
        assert "1 of 4 maps differ, first sim0001/truth" in verdict


def test_more_or_fewer_simulations_are_not_the_benchmark():
    one = {"sim0000": MAPS["sim0000"]}
    assert compare("v1", probes(MAPS), probes(one)) == (
        False,
        "not v1, although it is called so: it lacks sim0001/sha256",
    )
    assert "has sim0001/" in compare("v1", probes(one), probes(MAPS))[1]
    fewer = {sim: {"truth": parts["truth"]} for sim, parts in MAPS.items()}
    assert "lacks sim0000/100" in compare("v1", probes(MAPS), probes(fewer))[1]


@pytest.mark.parametrize("path", sorted(LISTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_kept_is_whole(path):
    """40 test simulations, each with its truth and nine channels, no two alike."""
    (kept,) = yaml.safe_load(path.read_text()).values()
    assert list(kept) == [f"sim{i:04d}" for i in range(40)]
    assert {len(parts) for parts in kept.values()} == {1 + 1 + 9}
    assert len({parts[HASH] for parts in kept.values()}) == 40
    assert compare(path.stem, kept, kept)[0]
