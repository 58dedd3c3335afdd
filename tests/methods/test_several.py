"""Networks that are asked several times: what their replies come to, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from learning import CPU, TINY, Forgetful, Mixture, method, said, spec_of

from cmbml.methods.base import MethodError
from cmbml.methods.trained import Lesson, State
from cmbml.methods.training.method import NetworkMethod
from cmbml.methods.training.several import DeepEnsemble, DropoutPasses
from cmbml.sky.flat import flat_spectra, ring_edges


def passes(one: NetworkMethod, number: int = 20) -> DropoutPasses:
    return DropoutPasses(name=one.name, examples=one.examples, method=one, passes=number)


def ensemble(one: NetworkMethod, members: int = 2) -> DeepEnsemble:
    return DeepEnsemble(name=one.name, examples=one.examples, method=one, members=members)


def learnt(one: NetworkMethod, lesson: Lesson) -> State:
    lesson.workdir.mkdir()
    return one.fit(lesson, CPU).state


def by_hand(one: NetworkMethod, state: State, sample: np.ndarray, number: int) -> np.ndarray:
    """Draw what single passes say, without the class."""
    model = one.rebuilt(state)
    model.network.train()
    torch.manual_seed(1)
    with torch.no_grad():
        return model(torch.from_numpy(np.array(sample)).expand(number, *sample.shape)).numpy()


def test_passes_have_the_mean_and_the_scatter_of_the_network_with_dropout(lesson: Lesson) -> None:
    one = method(Forgetful(), epochs=1)
    state = learnt(one, lesson)
    sample = lesson.valid[0][0]
    (reply,) = passes(one, 400).predict(state, [sample], CPU)
    drawn = by_hand(one, state, sample, 400)
    scatter = drawn.std(axis=0)
    # Means of 400 draws each differ by sqrt(2 / 400) of the scatter: five sigma of it, in each of 768 pixels. The
    # scatter itself is known to 1 / sqrt(800) for a Gaussian; half a network that is dropped has shorter tails.
    assert np.abs((reply.value - drawn.mean(axis=0)) / scatter).max() < 5 * math.sqrt(2 / 400)
    assert np.abs(reply.sigma / scatter - 1).max() < 5 * math.sqrt(2 / 800)
    assert reply.value.dtype == reply.sigma.dtype == np.float32
    assert reply.bandpowers is None  # a plane of faces has no flat spectrum


def test_passes_hang_on_neither_batches_nor_company(lesson: Lesson) -> None:
    one = method(Forgetful(), epochs=1)
    state = learnt(one, lesson)
    samples = [np.array(sample) for sample in lesson.valid[0]]
    together = list(passes(one).predict(state, samples, replace(CPU, predict_batch=1)))
    (alone,) = passes(one).predict(state, samples[1:2], replace(CPU, predict_batch=8))
    np.testing.assert_array_equal(together[1].value, alone.value)
    np.testing.assert_array_equal(together[1].sigma, alone.sigma)


def test_more_passes_go_on_where_fewer_ended(lesson: Lesson) -> None:
    """Sixteen are the eight of before and eight more, so that their number can be raised until nothing changes."""
    one = method(Forgetful(), epochs=1)
    state = learnt(one, lesson)
    values = [next(passes(one, n).predict(state, lesson.valid[0], CPU)).value for n in (8, 16)]
    model = one.rebuilt(state)
    assert not np.array_equal(*values)
    assert np.abs(values[0] - values[1]).max() < np.abs(values[0]).max()
    assert not model.training


def test_a_network_without_dropout_is_refused_before_work(lesson: Lesson) -> None:
    with pytest.raises(MethodError, match=r"tiny: the network has no dropout.* take uncertainty=ensemble"):
        passes(method(TINY)).accepts(spec_of())
    assert passes(method(Forgetful())).accepts(spec_of()) == spec_of().asked


def test_passes_use_the_weights_of_the_network(lesson: Lesson) -> None:
    one = method(Forgetful(), epochs=1)
    several = passes(one)
    assert several.about(spec_of()) == one.about(spec_of())
    assert several.state_bytes(spec_of()) == one.state_bytes(spec_of())
    state = learnt(one, lesson)
    several.require_fit(state, spec_of())
    with pytest.raises(MethodError, match="nside is 8, not 16"):
        several.require_fit(state, spec_of(16))


def test_an_ensemble_is_its_members(lesson: Lesson) -> None:
    one = method(Mixture(), epochs=2)
    both = ensemble(one)
    state = learnt(both, lesson)
    both.require_fit(state, spec_of())
    both.require_score(state, lesson, CPU)
    assert both.state_bytes(spec_of()) == sum(array.nbytes for array in state.arrays.values())
    values = []
    for seed in (0, 1):
        alone = replace(one, train=replace(one.train, seed=seed))
        workdir = lesson.workdir / f"alone{seed}"
        workdir.mkdir()
        single = alone.fit(replace(lesson, workdir=workdir), CPU).state
        values.append([reply.value for reply in alone.predict(single, lesson.valid[0], CPU)])
    replies = list(both.predict(state, lesson.valid[0], CPU))
    np.testing.assert_allclose([reply.value for reply in replies], np.mean(values, axis=0), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose([reply.sigma for reply in replies], np.std(values, axis=0, ddof=1), rtol=1e-3, atol=1e-3)
    assert [line for line in said(lesson) if "member" in line][:2] == ["tiny: member 1 of 2", "tiny: member 2 of 2"]


def test_an_ensemble_that_was_killed_ends_with_the_same_weights(lesson: Lesson) -> None:
    """What was trained is read from its checkpoints: the second `fit` finds all of the first member."""
    both = ensemble(method(Mixture(), epochs=2))
    lesson.workdir.mkdir()
    first = both.fit(lesson, CPU)
    again = both.fit(lesson, CPU)
    assert all(first.state.arrays[name].tobytes() == again.state.arrays[name].tobytes() for name in first.state.arrays)


def test_weights_of_another_number_of_members_are_refused(lesson: Lesson) -> None:
    one = method(Mixture(), epochs=1)
    state = learnt(ensemble(one), lesson)
    with pytest.raises(MethodError, match="members is 2, not 3"):
        ensemble(one, 3).require_fit(state, spec_of())
    with pytest.raises(MethodError, match="these weights are of 2 members, and tiny has 3"):
        next(ensemble(one, 3).predict(state, lesson.valid[0], CPU))
    with pytest.raises(MethodError, match="members is 2, not asked for"):
        one.require_fit(state, spec_of())


def test_own_variances_are_added_to_the_scatter(lesson: Lesson) -> None:
    """Kendall & Gal (2017), eq. 9."""
    both = ensemble(method(Mixture(), epochs=1))
    values, sigmas = torch.tensor([[[1.0]], [[3.0]]]), torch.tensor([[[3.0]], [[4.0]]])
    reply = both._reply(values, sigmas, {})
    assert reply.value.item() == 2
    assert reply.sigma.item() == pytest.approx(math.sqrt(2 + (9 + 16) / 2))


def test_spectra_of_replies_are_told_of_flat_patches() -> None:
    both = ensemble(method(Mixture(), epochs=1))
    values = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    told = both._reply(values, None, {"pixel_arcmin": 30.0}).bandpowers
    pixel = (math.radians(0.5),) * 2
    wanted = flat_spectra(values.numpy()[:, 0], ring_edges((16, 16), pixel, 2.0), pixel).d_ell
    np.testing.assert_allclose(told.d_ell[0], wanted.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(told.sigma[0], wanted.std(axis=0, ddof=1), rtol=1e-6)
    assert told.l_edges[0] == pytest.approx(360 / 8 / 2)


def test_what_is_slow_is_said_before_it_starts(lesson: Lesson) -> None:
    lesson.workdir.mkdir()
    long = method(TINY, epochs=10**9)
    long._say_what_is_slow(lesson, CPU)
    assert any("hours on a CPU" in line and "a GPU" in line for line in said(lesson))
    said(lesson).clear()
    method(TINY)._say_what_is_slow(lesson, CPU)
    assert not said(lesson)
