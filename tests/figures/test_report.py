import base64
import dataclasses
import gzip
import itertools
import json
import re
import shlex
import shutil
import time

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cmbml.core.handler import Stamp
from cmbml.figures.report import render_report
from cmbml.figures.report.index import Entry, render_index
from cmbml.figures.report.tables import find_outliers
from cmbml.figures.results import FigureError, robust_z
from cmbml.handlers.html_file import HtmlFile

METHODS = ["control_truth", "nilc", "cmbnncs", "control_channel"]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def page(comparison):
    return render_report(comparison.report)


@pytest.fixture(scope="module")
def content(page):
    (text,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def own(page):
    """Return the page without plotly's script, which is not ours."""
    return page.replace(packed(page), "")


def packed(page):
    """Return plotly's script, as it stands in the page."""
    (text,) = re.findall(r'<script type="application/gzip" id="plotly">(.*?)</script>', page, re.DOTALL)
    return text


def test_the_same_data_give_the_same_bytes(comparison, page):
    assert render_report(comparison.report) == page


def test_it_asks_nothing_of_a_network(page):
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:|")', own(page))
    assert not re.findall("https?:", own(page))
    assert "url(" not in own(page)
    assert "@import" not in own(page)


def test_text_from_outside_cannot_become_markup(page):
    assert "</script><b>" not in page
    assert "&lt;/script&gt;&lt;b&gt;" in page
    assert "&lt;f7&gt;" in page


def test_it_weighs_little_more_than_plotly_and_its_maps(page, content):
    assert gzip.decompress(base64.b64decode(packed(page))).count(b"plotly.js v") == 1
    assert len(packed(page)) < 2.5e6
    pictures = sum(map(len, content["images"].values()))
    assert len(own(page)) - pictures < 3e5
    assert pictures / len(content["images"]) < 3e5


def test_the_truth_of_a_simulation_is_embedded_once(comparison, content):
    simulations = {maps.simulation for maps in comparison.maps}
    assert sum(name.startswith("truth") for name in content["images"]) == len(simulations)
    assert len(content["images"]) == len(simulations) + 2 * len(comparison.maps)


def test_numbers_are_those_of_the_tables(comparison, content):
    packed, given = content["summary"], comparison.report.summary
    for name in ("mean", "std", "ci_low"):
        found = [{"inf": np.inf, "-inf": -np.inf, None: np.nan}.get(x, x) for x in packed["columns"][name]]
        assert np.allclose(np.array(found, dtype=float), given[name], rtol=1e-5, equal_nan=True)
    words = [packed["words"]["metric"][i] for i in packed["columns"]["metric"]]
    assert words == list(given["metric"])


def test_the_odd_simulation_is_found_and_leads_the_outliers(comparison):
    found = [row for row in find_outliers(comparison.scores) if row["metric"] == "rmse"]
    assert {(row["method"], row["simulation"]) for row in found[:12]} == {("cmbnncs", "sim0003")}
    place = {"footing": "60 arcmin", "region": "mask", "metric": "rmse"}
    values = comparison.scores["cmbnncs"].where(**place).numbers["value"][:, 0]
    (row,) = (r for r in found if r["method"] == "cmbnncs" and (r["footing"], r["region"]) == ("60 arcmin", "mask"))
    assert row["z"] == pytest.approx(robust_z(values)[3])


def test_text_has_contrast(page):
    """Every colour of text has a contrast of 4.5 with white (WCAG 2.1, 1.4.3)."""
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)

    def luminance(colour):
        rgb = np.array(to_rgb(colour))
        return float(np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    colours = set(re.findall(r"(?<![-\w])color: (#\w+)", style))
    grounds = set(re.findall(r"background: (#\w+)", style))
    assert colours
    for colour in colours:
        for ground in grounds:
            assert (luminance(ground) + 0.05) / (luminance(colour) + 0.05) >= 4.5, (colour, ground)


def test_results_of_a_method_that_is_not_listed_are_refused(comparison):
    with pytest.raises(FigureError, match="nilc"):
        dataclasses.replace(comparison.report, methods=("control_truth", "cmbnncs", "control_channel"))
    with pytest.raises(FigureError, match="one method at least"):
        dataclasses.replace(comparison.report, methods=())


def test_the_file_holds_the_page_and_its_stamp(page, tmp_path):
    handler, paths = HtmlFile(), [tmp_path / "a.html", tmp_path / "b.html"]
    for path in paths:
        handler.write(path, page, Stamp("report", "f" * 64))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert handler.read(paths[0]) == page
    assert paths[0].read_text(encoding="utf-8").splitlines()[1] == f"<!-- cmbml report {'f' * 32} -->"


@pytest.mark.parametrize(("written", "message"), [(b"\xff\xfe", "not UTF-8"), (b"<p>no page", "does not start with")])
def test_what_is_no_page_is_refused(written, message, tmp_path):
    (tmp_path / "a.html").write_bytes(written)
    with pytest.raises(ValueError, match=message):
        HtmlFile().read(tmp_path / "a.html")
    with pytest.raises(ValueError, match="must start with"):
        HtmlFile().write(tmp_path / "b.html", "<p>", Stamp("report", "f" * 64))


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Give a headless Chromium with a profile of its own."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e '.[test]'")
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    service = shutil.which("chromedriver")
    if not binary or not service:
        pytest.skip("needs a browser: install chromium and chromium-driver to look at the report")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield made
    made.quit()


def width(driver, pixels):
    metrics = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def opened(driver, text, folder):
    """Open a page, and wait until its figures are drawn."""
    path = folder / "report.html"
    HtmlFile().write(path, text, Stamp("report", "f" * 64))
    driver.get(path.as_uri())
    end = time.monotonic() + PATIENCE_SECONDS
    script = (
        "return [...document.querySelectorAll('.plot')].every((p) => !p.offsetParent || p.querySelector('.main-svg'))"
    )
    while not driver.execute_script(script):
        assert time.monotonic() < end, "the figures were not drawn in time"
        time.sleep(0.05)
    return driver


@pytest.fixture
def browser(driver, page, tmp_path):
    width(driver, 1280)
    return opened(driver, page, tmp_path)


def find(browser, css):
    return browser.find_element("css selector", css)


def choose(browser, select, value):
    browser.execute_script(
        "const it = document.getElementById(arguments[0]);"
        "it.value = arguments[1]; it.dispatchEvent(new Event('change'));",
        select,
        value,
    )


def column(browser, table, place):
    cells = "return [...document.getElementById(arguments[0]).tBodies[0].rows].map((row) => row.cells[arguments[1]]"
    return browser.execute_script(f"{cells}.innerText.trim())", table, place)


def traces(browser, plot):
    """Return name -> whether its lines are drawn."""
    script = "return document.getElementById(arguments[0]).data.map((t) => [t.name, t.visible !== false])"
    found = {}
    for name, shown in browser.execute_script(script, plot):
        found[name] = found.get(name, False) or shown
    return found


SAID = {"In short": "nilc is best <b>.", "Warning": "5 simulations are few.", "Data": "nside 64; seed 1."}
FULL = {"footing": "60 arcmin", "field": "I", "region": "b5-30", "metric": "mae"}
COMMANDS = (
    "python main_sims.py system.root=ROOT dataset=demo 'splits.test={sims: 5}'",
    "python main_analysis.py system.root=ROOT dataset=demo 'methods=[nilc,cmbnncs]'",
)


@pytest.fixture(scope="module")
def decided(comparison):
    """Give a page with a verdict, controls, a place that decides, and commands."""
    controls = ("control_truth", "control_channel", "control_memory")
    return dataclasses.replace(comparison.report, verdict=SAID, controls=controls, decisive=FULL, commands=COMMANDS)


def test_the_first_screen_says_what_it_comes_to_before_any_number(decided):
    page = render_report(decided)
    body = page[page.index("<body>") :]
    places = [body.index(text) for text in ("nilc is best &lt;b&gt;.", "5 simulations are few.", "nside 64; seed 1.")]
    assert places == sorted(places)
    assert places[-1] < body.index('id="scores"')
    assert body.count("nilc is best") == 1
    assert 'class="note">5 simulations' in body
    assert 'class="headline"' not in render_report(dataclasses.replace(decided, verdict={}))


def test_methods_come_before_controls_and_the_best_of_them_is_known(decided):
    assert decided.groups == {"Methods": ["nilc", "cmbnncs"], "Controls": ["control_truth", "control_channel"]}
    assert decided.first_place == FULL
    assert decided.best == "nilc"
    # Where the place that decides was not scored, the page begins with what there is.
    assert dataclasses.replace(decided, decisive={"footing": "none"}).first_place["footing"] == "deconvolved"


def test_the_list_of_comparisons_names_stale_ones_and_leads_to_all():
    entries = [
        Entry("a+b", ("a", "b"), {"test": "a+b/test/report.html"}, {"test": "a is best <i>."}, (), "python x"),
        Entry("c", ("c",), {"test": "c/test/report.html"}, {}, ("c_test",)),
    ]
    page = render_index("demo", entries)
    assert 'href="a%2Bb/test/report.html"' in page
    assert "a is best &lt;i&gt;." in page
    first, second = page.split('id="c2"')
    assert "Stale" not in first.split("<main>")[1]
    assert "c_test is not as when this was written" in second
    assert "default-src 'none'" in page
    assert not re.findall("https?:", page)


def test_no_error_reaches_the_console(browser):
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map((r) => r.name)") == []


@pytest.mark.parametrize("pixels", [1280, 400, 320])
def test_no_window_is_too_narrow(driver, page, tmp_path, pixels):
    width(driver, pixels)
    opened(driver, page, tmp_path)
    choose(driver, "score-region", "(all)")
    assert driver.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    wide = "return [...document.querySelectorAll('.plot .main-svg')].map((s) => s.getBoundingClientRect().right)"
    assert max(driver.execute_script(wide)) <= pixels


def test_all_sections_begin_at_the_place_that_decides_with_the_best_method(driver, decided, tmp_path):
    width(driver, 1280)
    browser = opened(driver, render_report(decided), tmp_path)
    for section, names in {"score": FULL, "sim": FULL}.items():
        for name in names:
            assert find(browser, f"#{section}-{name}").get_property("value") == FULL[name]
    assert find(browser, "#map-method").get_property("value") == "nilc"
    assert column(browser, "score-table", 0) == ["nilc", "cmbnncs", "control_truth", "control_channel"]
    # Controls stand below, however the rows are sorted.
    for _ in range(2):
        find(browser, "#score-table [data-key=mean]").click()
        assert {*column(browser, "score-table", 0)[2:]} == {"control_truth", "control_channel"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d, by the time of the file", find(browser, "#written").text)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("folder", ["data", "it's ours"])
def test_commands_name_the_folder_that_the_page_lies_in(driver, decided, tmp_path, folder):
    """They can be pasted into a shell as they stand."""
    place = tmp_path / folder / "demo" / "report" / "test"
    place.mkdir(parents=True)
    width(driver, 1280)
    browser = opened(driver, render_report(dataclasses.replace(decided, maps=())), place)
    lines = find(browser, "#commands").text.strip().splitlines()
    assert [shlex.split(line)[2] for line in lines] == [f"system.root={tmp_path / folder}"] * 2
    assert [shlex.split(line)[4] for line in lines] == ["splits.test={sims: 5}", "methods=[nilc,cmbnncs]"]


def test_spectra_beyond_the_axes_are_marked_and_controls_set_none(driver, decided, comparison, tmp_path):
    width(driver, 400)
    browser = opened(driver, render_report(dataclasses.replace(decided, maps=())), tmp_path)
    script = (
        "return document.getElementById('plot-spectra').data.filter((t) => t.mode === 'markers' && t.name === "
        "'control_channel' && t.yaxis === 'y2').map((t) => t.x)[0]"
    )
    low, high = browser.execute_script("return document.getElementById('plot-spectra').layout.yaxis2.range")
    columns = comparison.spectra["control_channel"].where(kind="master", field="TT").numbers
    ratio = (columns["d_prediction"] / columns["d_theory"]).mean(axis=0)
    beyond = (ratio > high) | (ratio < low)
    assert beyond.any()
    assert browser.execute_script(script) == columns["l_eff"][0][beyond].tolist()


def test_paper_shows_all_that_a_window_scrolls(driver, decided, tmp_path):
    """No table or figure is wider than the paper, and what one clicks on is left out."""
    browser = opened(driver, render_report(decided), tmp_path)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    width(driver, 680)
    try:
        browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        assert not find(browser, "nav").is_displayed()
        assert not find(browser, "#score-metric").is_displayed()
        script = (
            "return [...document.querySelectorAll('.scroll > *, .plot .main-svg')].filter((e) => e.offsetParent "
            "|| e.tagName === 'svg').map((e) => e.getBoundingClientRect().right)"
        )
        assert max(browser.execute_script(script)) <= 680
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_table_sorts_where_one_clicks(browser, comparison):
    assert column(browser, "score-table", 1) == ["1", "2", "3", "4"]
    find(browser, "#score-table [data-key=method]").click()
    assert column(browser, "score-table", 0) == sorted(METHODS)
    assert find(browser, "#score-table th[aria-sort=ascending]").text.startswith("Method")
    find(browser, "#score-table [data-key=method]").send_keys("\ue007")  # the Enter key, where the focus has stayed
    assert column(browser, "score-table", 0) == sorted(METHODS, reverse=True)
    assert find(browser, "#score-table th[aria-sort=descending]").text.startswith("Method")
    assert "sorted by Method, descending" in find(browser, "#score-status").text
    find(browser, "#score-table [data-key=mean]").click()
    place = {"footing": "deconvolved", "region": "mask", "metric": "rmse"}
    means = {m: comparison.scores[m].where(**place).numbers["value"].mean() for m in METHODS}
    assert column(browser, "score-table", 0) == sorted(METHODS, key=means.get)


def test_what_has_no_value_stands_last_both_ways(browser):
    for _ in range(2):
        find(browser, "#score-table [data-key=train_seconds]").click()
        assert column(browser, "score-table", 7)[2:] == ["–", "–"]


def test_all_places_can_be_seen_at_once(browser, comparison):
    for name in ("footing", "field", "region", "metric"):
        choose(browser, f"score-{name}", "(all)")
    assert len(column(browser, "score-table", 0)) == len(comparison.report.summary["mean"])
    choose(browser, "score-footing", "60 arcmin")
    choose(browser, "score-region", "b0-5")
    choose(browser, "score-metric", "mae")
    assert len(column(browser, "score-table", 0)) == len(METHODS)


def test_methods_are_switched_on_and_off_in_all_figures(browser):
    assert all(traces(browser, "plot-spectra").values())
    find(browser, "input[name=method][value=nilc]").click()
    for plot in ("plot-spectra", "plot-transfer"):
        found = traces(browser, plot)
        assert not found["nilc"]
        assert found["cmbnncs"]
    assert "nilc" not in traces(browser, "plot-scores")
    find(browser, "input[name=method][value=nilc]").click()
    assert all(traces(browser, "plot-spectra").values())
    find(browser, "#show-truth").click()
    assert not traces(browser, "plot-spectra")["truth"]
    find(browser, "#no-methods").click()
    assert not any(traces(browser, "plot-transfer").values())
    assert browser.get_log("browser") == []


def test_spectra_can_be_read_as_numbers(browser):
    choose(browser, "spectra-set", "TT, pseudo")
    find(browser, "#spectra-numbers summary").click()
    end = time.monotonic() + PATIENCE_SECONDS
    while not (rows := browser.execute_script("return document.querySelectorAll('#spectra-numbers tbody tr').length")):
        assert time.monotonic() < end
    assert rows == 12 * len(METHODS)


def test_an_outlier_leads_to_its_maps(browser):
    assert column(browser, "outlier-table", 0)[0] == "cmbnncs"
    assert column(browser, "outlier-table", 1)[0] == "sim0003"
    find(browser, "#outlier-table tbody tr:first-child a").click()
    chosen = [find(browser, f"#map-{name}").get_property("value") for name in ("simulation", "method")]
    assert chosen == ["sim0003", "cmbnncs"]
    alternative = find(browser, "#map-prediction").get_attribute("alt")
    assert "prediction of cmbnncs, sim0003, footing 20.6 arcmin" in alternative


def test_a_map_opens_large_and_changes_into_the_others(browser):
    find(browser, "button.zoom[data-kind=prediction]").click()
    assert find(browser, "#zoom").get_property("open")
    pictures = {}
    for kind in ("truth", "prediction", "difference"):
        find(browser, f"input[name=zoom-kind][value={kind}]").click()
        pictures[kind] = find(browser, "#zoom-below").get_attribute("src")
        assert browser.execute_script("return document.getElementById('zoom-below').decode().then(() => true)")
    assert len(set(pictures.values())) == 3
    find(browser, "input[name=zoom-kind][value=both]").click()
    assert find(browser, "#zoom-above").is_displayed()
    before = find(browser, "#zoom-stack").size["width"]
    find(browser, "#zoom-stack").click()
    assert find(browser, "#zoom-stack").size["width"] == pytest.approx(3 * before, rel=0.05)
    find(browser, "#zoom-close").click()
    assert not find(browser, "#zoom").get_property("open")


def test_everything_has_a_name_for_those_who_cannot_see(browser):
    unnamed = """
        const named = (e) => e.alt || e.innerText.trim() || e.ariaLabel || (e.labels && e.labels.length)
            || e.querySelector('img[alt]:not([alt=""])');
        const all = [...document.querySelectorAll('main button, main select, main input, main img')];
        return all.filter((e) => e.offsetParent && !named(e)).map((e) => e.outerHTML.slice(0, 80));
    """
    assert browser.execute_script(unnamed) == []
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert find(browser, "html").get_attribute("lang") == "en"


def test_a_comparison_with_the_least_data_opens(driver, comparison, tmp_path):
    few = {name: column[:1] for name, column in comparison.report.summary.items()}
    least = dataclasses.replace(comparison.report, summary=few, scores={}, spectra={}, maps=(), bands={})
    opened(driver, render_report(least), tmp_path)
    assert driver.get_log("browser") == []
    assert find(driver, "#maps-none").is_displayed()
    assert find(driver, "#spectra-none").is_displayed()


def test_the_page_does_not_grow_with_the_simulations(comparison, page):
    """A hundred are listed, those that lie farthest out among them, and the page says so."""
    rng = np.random.default_rng(3)
    scores = {}
    for method, stack in comparison.scores.items():
        numbers = {name: np.repeat(values[:1], 3000, axis=0) for name, values in stack.numbers.items()}
        numbers["value"] = numbers["value"] * rng.normal(1, 0.1, numbers["value"].shape)
        numbers["value"][2500] *= 9
        scores[method] = dataclasses.replace(
            stack, sims=np.array([f"sim{i:04d}" for i in range(3000)]), numbers=numbers, facts={}
        )
    large = render_report(dataclasses.replace(comparison.report, scores=scores))
    assert len(large) < len(page) + 1.5e6
    (text,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', large, re.DOTALL)
    found = json.loads(text)
    assert {len(row["names"]) for row in found["simulations"]} == {100}
    assert all({"sim2500", "sim0000"} <= set(row["names"]) for row in found["simulations"])
    assert len(found["outliers"]) == 200 < found["n_outliers"]
    assert "of 100 of the 3000: the first ones" in " ".join(large.split())
