"""Frozen maps are known again, on any machine, and others are not taken for them."""

import numpy as np

from cmbml.metrics.frozen import compare, probe

RNG = np.random.default_rng(7)
MAPS = {
    f"sim{i:04d}": {part: RNG.normal(0, 80, (1, 768)).astype(np.float32) for part in ("truth", "100")} for i in (0, 1)
}


def probes(maps):
    return {sim: {part: probe(values) for part, values in parts.items()} for sim, parts in maps.items()}


def test_the_same_maps_are_the_benchmark():
    agrees, verdict = compare("v1", probes(MAPS), probes(MAPS))
    assert agrees
    assert "byte for byte" in verdict
    assert "2 simulations, 4 maps" in verdict


def test_another_machine_s_last_bits_do_not_matter():
    rounded = {s: {p: v * np.float32(1 + 1e-6) for p, v in parts.items()} for s, parts in MAPS.items()}
    agrees, verdict = compare("v1", probes(MAPS), probes(rounded))
    assert agrees
    assert "another machine" in verdict


def test_other_maps_are_told():
    for change in (lambda v: v[:, ::-1], lambda v: -v, lambda v: v * np.float32(1.01)):
        other = MAPS | {"sim0001": {"truth": change(MAPS["sim0001"]["truth"]), "100": MAPS["sim0001"]["100"]}}
        agrees, verdict = compare("v1", probes(MAPS), probes(other))
        assert not agrees
        assert "1 of 4 maps differ, first sim0001/truth" in verdict


def test_more_or_fewer_simulations_are_not_the_benchmark():
    one = {"sim0000": MAPS["sim0000"]}
    assert compare("v1", probes(MAPS), probes(one)) == (
        False,
        "not v1, although it is called so: it lacks sim0001/truth",
    )
    assert "has sim0001, which is not in it" in compare("v1", probes(one), probes(MAPS))[1]
