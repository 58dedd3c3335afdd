import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from cmbml.core.space import Key
from cmbml.sims.cosmology import (
    BOUNDS,
    ChainError,
    Cosmology,
    EmbeddedCosmology,
    FixedCosmology,
    GetdistChain,
    Wmap9Chain,
)
from cmbml.stages.assets import COSMOLOGY
from cmbml.stages.sims.cosmology import DrawCosmology
from cmbml.stages.space import make_space

WMAP_FILES = {
    "H0": (70.0, 2.0),
    "omegabh2": (0.0226, 0.0005),
    "omegach2": (0.114, 0.004),
    "ns002": (0.97, 0.01),
    "tau": (0.09, 0.01),
    "a002": (2.4, 0.1),
}


@pytest.fixture(scope="module")
def assets() -> Path:
    folder = os.environ.get("CMBML_ASSETS")
    if not folder or not (Path(folder) / "cosmology").is_dir():
        pytest.skip("CMBML_ASSETS does not name a folder with cosmology/")
    return Path(folder) / "cosmology"


def write_column(path, values):
    np.savetxt(path, np.column_stack([np.arange(1, len(values) + 1), values]), fmt="%8d %17.8e")


@pytest.fixture
def wmap_folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, (mean, sigma) in WMAP_FILES.items():
        write_column(tmp_path / name, mean + sigma * rng.standard_normal(60))
    return tmp_path


@pytest.fixture
def getdist_root(tmp_path):
    rng = np.random.default_rng(0)
    names = {"omegabh2": 0.0224, "omegach2": 0.12, "tau": 0.05, "logA": 3.04, "ns": 0.965, "H0*": 67.0}
    (tmp_path / "chain.paramnames").write_text("".join(f"{name}\t{name}\n" for name in names))
    for i in (1, 2):
        columns = [np.full(50, 1.0), np.full(50, 5.0)]
        columns += [mean * (1 + 0.01 * rng.standard_normal(50)) for mean in names.values()]
        np.savetxt(tmp_path / f"chain_{i}.txt", np.column_stack(columns))
    return tmp_path / "chain"


def parameters(cosmologies):
    return np.array([[getattr(cosmology, name) for name in BOUNDS] for cosmology in cosmologies])


def draw_all(source, n, seed=1):
    return [source.draw(number, np.random.default_rng(number), seed) for number in range(n)]


def test_a_cosmology_survives_the_way_through_a_plain_dictionary():
    cosmology = FixedCosmology().draw(0, np.random.default_rng(0), 0)
    plain = cosmology.to_dict()
    assert all(type(value) is float for value in plain.values())
    assert Cosmology(**plain) == cosmology


@pytest.mark.parametrize(
    ("name", "value"),
    [("h0", 0.7), ("ombh2", -0.02), ("a_s", 2.1), ("tau", float("nan")), ("mnu", -0.06), ("ns", "red"), ("w", -1.0)],
)
def test_an_impossible_cosmology_is_refused(name, value):
    good = FixedCosmology().draw(0, np.random.default_rng(0), 0).to_dict()
    with pytest.raises(ValidationError, match=name):
        Cosmology(**good | {name: value})


def test_the_fixed_source_gives_what_it_was_told():
    source = FixedCosmology(h0=70.0)
    assert {cosmology.h0 for cosmology in draw_all(source, 3)} == {70.0}
    source.check(10**6)
    assert source.files() == ()


def test_the_embedded_source_has_the_published_means_and_errors():
    drawn = parameters(draw_all(EmbeddedCosmology(), 4000))
    published = {
        "h0": (70.0, 2.2),
        "ombh2": (0.02264, 0.00050),
        "omch2": (0.1138, 0.0045),
        "ns": (0.972, 0.013),
        "tau": (0.089, 0.014),
        "a_s": (2.41e-9, 0.10e-9),
    }
    for name, (mean, sigma) in published.items():
        column = drawn[:, list(BOUNDS).index(name)]
        # 4 standard errors of a mean and of a standard deviation over 4000 draws.
        assert abs(column.mean() - mean) < 4 * sigma / np.sqrt(4000), name
        assert abs(column.std() / sigma - 1) < 4 / np.sqrt(8000), name


def test_the_embedded_source_follows_the_stream_it_is_given():
    first, again, other = (EmbeddedCosmology().draw(0, np.random.default_rng(i), 0) for i in (1, 1, 2))
    assert first == again != other
    assert first.pivot_per_mpc == 0.002


def test_the_embedded_source_draws_again_what_is_beyond_the_bounds():
    class Extreme:
        calls = 0

        def standard_normal(self, size):
            self.calls += 1
            return np.full(size, -40.0 if self.calls == 1 else 0.0)

    rng = Extreme()
    assert EmbeddedCosmology().draw(0, rng, 0).h0 == pytest.approx(70.0)
    assert rng.calls == 2


def test_the_embedded_source_agrees_with_the_real_chain(assets):
    chain = Wmap9Chain(folder=assets / "wmap9_lcdm_wmaplayout", mnu=0.06)
    table, weights = chain.samples()
    varied = [i for i, name in enumerate(BOUNDS) if name != "mnu"]
    means = np.average(table, axis=0, weights=weights)[varied]
    covariance = np.cov(table[:, varied].T, aweights=weights)
    sigmas = np.sqrt(np.diag(covariance))
    drawn = parameters(draw_all(EmbeddedCosmology(), 4000))[:, varied]
    # The chain is another team's run, with another mass and prior: a third of a sigma, and 10 % in the errors.
    assert (np.abs(drawn.mean(axis=0) - means) < 0.35 * sigmas).all()
    np.testing.assert_allclose(drawn.std(axis=0), sigmas, rtol=0.1)
    correlations = covariance / np.outer(sigmas, sigmas)
    np.testing.assert_allclose(np.corrcoef(drawn.T), correlations, atol=0.07)


def test_a_wmap_chain_is_read_with_its_amplitude_and_pivot(wmap_folder):
    source = Wmap9Chain(folder=wmap_folder, mnu=0.1)
    source.check(60)
    drawn = draw_all(source, 60)
    by_h0 = {cosmology.h0: cosmology for cosmology in drawn}
    columns = {name: np.loadtxt(wmap_folder / name)[:, 1] for name in WMAP_FILES}
    for row in range(60):
        cosmology = by_h0[columns["H0"][row]]
        assert cosmology.a_s == pytest.approx(1e-9 * columns["a002"][row], rel=1e-12)
        assert cosmology.ombh2 == columns["omegabh2"][row]
        assert cosmology.omch2 == columns["omegach2"][row]
        assert cosmology.ns == columns["ns002"][row]
        assert cosmology.tau == columns["tau"][row]
        assert (cosmology.mnu, cosmology.pivot_per_mpc) == (0.1, 0.002)
    assert source.files() == tuple(
        wmap_folder / name for name in ("H0", "omegabh2", "omegach2", "ns002", "tau", "a002")
    )


def test_a_wmap_chain_gives_its_own_neutrino_mass(wmap_folder):
    write_column(wmap_folder / "mnu", np.linspace(0, 1, 60))
    assert sorted(cosmology.mnu for cosmology in draw_all(Wmap9Chain(folder=wmap_folder), 60)) == pytest.approx(
        np.linspace(0, 1, 60)
    )


def test_chain_draws_do_not_repeat_and_depend_on_the_seed_alone(assets):
    source = Wmap9Chain(folder=assets / "wmap9_lcdm_wmaplayout", mnu=0.06)
    source.check(1450)
    drawn = draw_all(source, 1450)
    assert len(np.unique(parameters(drawn), axis=0)) == 1450
    assert draw_all(source, 10) == drawn[:10]
    assert source.draw(1449, np.random.default_rng(99), 1) == drawn[1449]
    assert draw_all(source, 10, seed=2) != drawn[:10]


def test_merged_repeats_still_stand_for_the_posterior(tmp_path):
    # 300 points near H0 = 60 that came once, 300 near 80 that came nine times each.
    h0 = np.concatenate([np.linspace(59, 61, 300), np.repeat(np.linspace(79, 81, 300), 9)])
    for name, (mean, _) in WMAP_FILES.items():
        write_column(tmp_path / name, h0 if name == "H0" else np.full(len(h0), mean))
    source = Wmap9Chain(folder=tmp_path, mnu=0.06)
    first = [source.draw(0, np.random.default_rng(0), seed).h0 for seed in range(400)]
    # Nine in ten, within 4 standard deviations of a binomial of 400.
    assert abs(np.mean(np.array(first) > 70) - 0.9) < 4 * np.sqrt(0.09 / 400)
    source.check(600)
    with pytest.raises(ChainError, match="600 distinct samples, and rows up to 601"):
        source.check(601)
    with pytest.raises(ChainError, match="601"):
        source.draw(600, np.random.default_rng(0), 1)


def test_a_weight_file_counts(tmp_path):
    for name, (mean, _) in WMAP_FILES.items():
        write_column(tmp_path / name, np.linspace(60, 80, 100) if name == "H0" else np.full(100, mean))
    write_column(tmp_path / "weight", np.repeat([0.0, 1.0], 50))
    source = Wmap9Chain(folder=tmp_path, mnu=0.06)
    assert source.files()[-1].name == "weight"
    assert min(cosmology.h0 for cosmology in draw_all(source, 50)) > 70
    with pytest.raises(ChainError, match="50 distinct"):
        source.check(51)


@pytest.mark.parametrize("name", WMAP_FILES)
def test_a_missing_file_is_named(wmap_folder, name):
    (wmap_folder / name).unlink()
    with pytest.raises(ChainError, match=f"there is no file .*{name}"):
        Wmap9Chain(folder=wmap_folder, mnu=0.06).check(1)


def test_a_missing_neutrino_mass_says_how_to_give_it(wmap_folder):
    with pytest.raises(ChainError, match=r"mnu.*cosmology\.mnu=0\.06"):
        Wmap9Chain(folder=wmap_folder).check(1)


def test_unequal_lengths_are_refused(wmap_folder):
    write_column(wmap_folder / "tau", np.full(59, 0.09))
    with pytest.raises(ChainError, match=r"one length.*tau has 59 rows, H0 has 60"):
        Wmap9Chain(folder=wmap_folder, mnu=0.06).check(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.09, 9.0])
def test_an_impossible_value_is_refused_with_its_row(wmap_folder, bad):
    values = np.full(60, 0.09)
    values[16] = bad
    write_column(wmap_folder / "tau", values)
    with pytest.raises(ChainError, match=r"impossible tau.*row 17"):
        Wmap9Chain(folder=wmap_folder, mnu=0.06).check(1)


@pytest.mark.parametrize("text", ["", "1 0.09 3\n", "0.09\n", "1 red\n", "1 0.09\n2\n"])
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_file_that_is_no_column_is_refused(wmap_folder, text):
    (wmap_folder / "tau").write_text(text)
    with pytest.raises(ChainError, match="tau"):
        Wmap9Chain(folder=wmap_folder, mnu=0.06).check(1)


def test_negative_weights_are_refused(wmap_folder):
    write_column(wmap_folder / "weight", np.full(60, -1.0))
    with pytest.raises(ChainError, match="weights"):
        Wmap9Chain(folder=wmap_folder, mnu=0.06).check(1)


def test_a_getdist_chain_is_read_with_its_amplitude_and_pivot(getdist_root):
    source = GetdistChain(root=getdist_root, mnu=0.06)
    source.check(100)
    rows = np.concatenate([np.loadtxt(f"{getdist_root}_{i}.txt") for i in (1, 2)])
    drawn = sorted(draw_all(source, 100), key=lambda cosmology: cosmology.h0)
    rows = rows[np.argsort(rows[:, 7])]
    np.testing.assert_allclose([c.h0 for c in drawn], rows[:, 7])
    np.testing.assert_allclose([c.a_s for c in drawn], 1e-10 * np.exp(rows[:, 5]))
    np.testing.assert_allclose([c.ombh2 for c in drawn], rows[:, 2])
    assert {(c.mnu, c.pivot_per_mpc) for c in drawn} == {(0.06, 0.05)}
    assert [path.name for path in source.files()] == ["chain.paramnames", "chain_1.txt", "chain_2.txt"]


def test_burn_in_leaves_out_the_start_of_each_file(getdist_root):
    source = GetdistChain(root=getdist_root, mnu=0.06, burn_in=0.5)
    late = np.concatenate([np.loadtxt(f"{getdist_root}_{i}.txt")[25:, 7] for i in (1, 2)])
    assert {cosmology.h0 for cosmology in draw_all(source, 50)} == set(late)
    with pytest.raises(ChainError, match="50 distinct"):
        source.check(51)


def test_reading_a_getdist_chain_leaves_nothing_behind(getdist_root, capfd):
    before = sorted(path.name for path in getdist_root.parent.iterdir())
    GetdistChain(root=getdist_root, mnu=0.06).check(1)
    assert sorted(path.name for path in getdist_root.parent.iterdir()) == before
    assert capfd.readouterr().out == ""


def test_the_real_planck_chain_has_plancks_posterior(assets):
    source = GetdistChain(root=assets / "Planck18TTTEEE", mnu=0.06)
    source.check(1450)
    drawn = parameters(draw_all(source, 1450))
    assert len(np.unique(drawn, axis=0)) == 1450
    rows = np.concatenate([np.loadtxt(assets / f"Planck18TTTEEE_{i}.txt") for i in range(1, 9)])
    columns = {"ombh2": 2, "omch2": 3, "tau": 5, "ns": 7, "h0": 8}
    for name, column in columns.items():
        mean = np.average(rows[:, column], weights=rows[:, 0])
        sigma = np.sqrt(np.average((rows[:, column] - mean) ** 2, weights=rows[:, 0]))
        values = drawn[:, list(BOUNDS).index(name)]
        # 4 standard errors over 1450 draws.
        assert abs(values.mean() - mean) < 4 * sigma / np.sqrt(1450), name
        assert abs(values.std() / sigma - 1) < 4 / np.sqrt(2 * 1450), name
    # What the high multipoles fix: A_s exp(-2 tau) = 1.88e-9 (Planck 2018 results VI, Table 2).
    damped = drawn[:, list(BOUNDS).index("a_s")] * np.exp(-2 * drawn[:, list(BOUNDS).index("tau")])
    assert damped.mean() == pytest.approx(1.88e-9, rel=0.01)


@pytest.mark.parametrize("name", ["chain.paramnames", "chain_1.txt"])
def test_a_missing_getdist_file_is_named(getdist_root, name):
    (getdist_root.parent / "chain_2.txt").unlink()
    (getdist_root.parent / name).unlink()
    with pytest.raises(ChainError, match=f"there is no file .*{name}"):
        GetdistChain(root=getdist_root, mnu=0.06).check(1)


def test_a_getdist_chain_without_a_parameter_names_it(getdist_root):
    names = getdist_root.with_name("chain.paramnames")
    names.write_text(names.read_text().replace("logA", "logB"))
    with pytest.raises(ChainError, match="has no logA, but omegabh2"):
        GetdistChain(root=getdist_root, mnu=0.06).check(1)
    with pytest.raises(ChainError, match="mnu"):
        GetdistChain(root=getdist_root).check(1)


@pytest.mark.parametrize("damage", ["cut", "words", "nan", "negative"])
def test_a_damaged_getdist_chain_is_refused(getdist_root, damage):
    path = Path(f"{getdist_root}_1.txt")
    rows = np.loadtxt(path)
    if damage == "cut":
        rows = rows[:, :5]
    elif damage == "nan":
        rows[3, 7] = np.nan
    elif damage == "negative":
        rows[3, 2] *= -1
    np.savetxt(path, rows)
    if damage == "words":
        path.write_text("1.0 five\n")
    with pytest.raises(ChainError, match="chain"):
        GetdistChain(root=getdist_root, mnu=0.06).check(1)


def test_settings_of_chains_are_checked(tmp_path):
    with pytest.raises(ValidationError, match="burn_in"):
        GetdistChain(root=tmp_path, burn_in=1.0)
    with pytest.raises(ValidationError, match="mnu"):
        Wmap9Chain(folder=tmp_path, mnu=-0.1)
    with pytest.raises(ValidationError, match="foldr"):
        Wmap9Chain(folder=tmp_path, foldr=tmp_path)


def test_a_moved_copy_of_a_chain_gives_the_same_cosmologies(wmap_folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "chain"
    shutil.copytree(wmap_folder, copy)
    here, there = (Wmap9Chain(folder=folder, mnu=0.06) for folder in (wmap_folder, copy))
    assert draw_all(here, 20) == draw_all(there, 20)


def test_one_cosmology_serves_every_simulation_of_a_dataset():
    splits = {"train": 3, "test": {"sims": 2, "cosmology": "shared"}}

    def cosmologies(source):
        return [str(key) for key in make_space(splits, ["100"], "all", source=source).keys((COSMOLOGY,))]

    assert cosmologies(FixedCosmology()) == ["all"]
    assert cosmologies(EmbeddedCosmology()) == ["train_sim0000", "train_sim0001", "train_sim0002", "test"]
    stage = DrawCosmology(source=FixedCosmology(), splits=splits)
    stage.check(make_space(splits, ["100"], "all", source=FixedCosmology()))
    assert stage.number(Key.of({COSMOLOGY: "all"})) == 0
