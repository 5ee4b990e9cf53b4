"""The explorer page in headless Chromium: every control, by mouse and keyboard, at every width."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("statsmodels")
pytest.importorskip("typer")
pytest.importorskip("selenium")

from matplotlib.colors import to_rgb
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from analysis.core.read import load
from analysis.explorer import page
from tests.browser import look, skip_without, start, visit

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), skip_without]

SUMMARIES = Path(__file__).parents[1] / "analysis" / "summaries"
VIEWS = ["plane", "curve", "response", "ranking"]
#: a cell that has response curves
START = "#law=Normal&m=16&N=128"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the address of each summary's page."""
    folder, addresses = tmp_path_factory.mktemp("pages"), {}
    for name in ("paper", "league"):
        file = folder / f"{name}.html"
        file.write_text(page.page(load(SUMMARIES / name)), encoding="utf-8")
        addresses[name] = file.as_uri()
    return addresses


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Return one browser with an empty profile, for all tests."""
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """Return the browser, light and wide; whatever a test does, the console stays silent."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    look(chromium, 1280)
    yield chromium
    assert chromium.get_log("browser") == []


def ask(browser, expression):
    """Evaluate an expression of JavaScript."""
    return browser.execute_script(f"return {expression}")


def picture(browser, view):
    """Return what a view draws, captions apart."""
    inner = ".table" if view == "ranking" else ".picture"
    return ask(browser, f"document.querySelector('#{view} {inner}').innerHTML")


def pictures(browser):
    """Return what all views draw, by name."""
    return {view: picture(browser, view) for view in VIEWS}


def named(browser, name):
    """Return an estimator's button in the legend."""
    return browser.find_element(By.CSS_SELECTOR, f'#legend [data-estimator="{name}"]')


def focused(browser):
    """Return the id, sort key or estimator of what has the focus."""
    own = "document.activeElement"
    return ask(
        browser, f"{own}.id || {own}.dataset.sort || {own}.dataset.estimator || {own}.tagName"
    )


def press(browser, *keys):
    """Press keys, one after the other, wherever the focus is."""
    ActionChains(browser).send_keys(*keys).perform()


def back(browser):
    """Press Shift and Tab."""
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()


# --- loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["paper", "league"])
def test_drawn_in_two_seconds(browser, pages, name):
    visit(browser, pages[name])
    # milliseconds from the start of navigation until everything is drawn
    assert 0 < int(ask(browser, "document.documentElement.dataset.ready")) < 2000
    assert all(picture(browser, view) for view in VIEWS if (name, view) != ("league", "response"))
    # the file itself is all that was read
    assert ask(browser, "performance.getEntriesByType('resource').length") == 0


def test_table_shows_the_numbers_of_the_grid(browser, pages):
    visit(browser, pages["paper"] + START)
    cells = load(SUMMARIES / "paper").cells.query("law == 'Normal' and m == 16 and N == 128")
    lines = browser.find_elements(By.CSS_SELECTOR, "#ranking tbody tr")
    assert len(lines) == len(cells)
    for line in lines:
        row = cells[cells["estimator"] == line.get_attribute("data-estimator")].iloc[0]
        texts = [cell.text for cell in line.find_elements(By.TAG_NAME, "td")]
        if row["status"]:
            assert len(texts) == 1 and texts[0].startswith(row["status"])
            continue
        for text, column in zip(texts, ("batch_nmse", "relative_bias"), strict=False):
            value, error = (float(x.replace("−", "-")) for x in text.split(" ± "))
            # both are written to the error's first digit
            assert abs(value - row[column]) <= 0.51 * error
            assert 0.66 * error <= row[f"{column}_mcse"] <= 1.5 * error
    errors = [float(x.find_element(By.TAG_NAME, "td").text.split()[0]) for x in lines[:-1]]
    assert errors == sorted(errors) and lines[-1].text.startswith("Prefix-TEA cross")


def test_saturated_and_infinite_cells_are_named(browser, pages):
    visit(browser, pages["paper"] + "#law=frequent+verifier&m=64&N=1024&show=all")
    assert "saturated" in browser.find_element(By.CSS_SELECTOR, "#ranking tbody th").text
    assert "Saturated" in browser.find_element(By.CSS_SELECTOR, "#plane figcaption").text
    visit(browser, pages["paper"] + "#law=Normal&m=32&N=128&show=all")
    line = browser.find_element(By.CSS_SELECTOR, '#ranking [data-estimator="Prefix-TEA cross"]')
    assert "infinite variance" in line.text
    assert "infinite variance" in browser.find_element(By.CSS_SELECTOR, "#plane figcaption").text


# --- controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "choice", "views"),
    [
        ("law", "Gumbel", VIEWS),
        ("m", "64", VIEWS),
        ("N", "512", VIEWS),
        ("metric", "Cosine with the exact gradient", ["curve"]),
        ("metric", "Efficiency", ["curve"]),
        ("against", "N, at this m", ["curve"]),
        ("against", "m, at this N/m", ["curve"]),
        ("variants", "all", ["plane", "curve", "response"]),
        ("variants", "tea: TEA .25, TEA .5, TEA 1, TEA .1", ["plane", "curve", "response"]),
    ],
)
def test_control_changes_the_picture(browser, pages, control, choice, views):
    visit(browser, pages["paper"] + START)
    before = pictures(browser)
    Select(browser.find_element(By.ID, control)).select_by_visible_text(choice)
    after = pictures(browser)
    assert [view for view in VIEWS if before[view] != after[view]] == views
    # the address now leads to the same pictures
    address = browser.current_url
    visit(browser, "about:blank")
    visit(browser, address)
    assert pictures(browser) == after


def test_legend_shows_and_hides(browser, pages):
    visit(browser, pages["paper"] + START)
    before = pictures(browser)
    drawn = '.picture [data-estimator="TEA .25"]'
    assert len(browser.find_elements(By.CSS_SELECTOR, drawn)) == 3
    named(browser, "TEA .25").click()
    assert named(browser, "TEA .25").get_attribute("aria-pressed") == "false"
    assert browser.find_elements(By.CSS_SELECTOR, drawn) == []
    assert browser.find_element(By.ID, "variants").get_attribute("value") == "own"
    # the table keeps every estimator
    assert pictures(browser)["ranking"] == before["ranking"]
    address = browser.current_url
    visit(browser, "about:blank")
    visit(browser, address)
    assert browser.find_elements(By.CSS_SELECTOR, drawn) == []
    named(browser, "TEA .25").click()
    # under the pointer its marks stand out from the others
    lit = "document.querySelectorAll('.faint .lit[data-estimator=\"TEA .25\"]').length"
    assert ask(browser, lit) == 3 == ask(browser, "document.querySelectorAll('.lit').length")
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()
    browser.execute_script("document.activeElement.blur()")
    assert pictures(browser) == before


def test_only_pairs_of_the_grid_are_offered(browser, pages):
    visit(browser, pages["league"] + "#m=16&N=256")
    cells = load(SUMMARIES / "league").cells
    for m in sorted(cells["m"].unique()):
        Select(browser.find_element(By.ID, "m")).select_by_visible_text(str(m))
        offered = Select(browser.find_element(By.ID, "N"))
        expected = sorted(cells.loc[cells["m"] == m, "N"].unique())
        assert [int(option.text) for option in offered.options] == expected
        assert int(offered.first_selected_option.text) in expected
        assert picture(browser, "plane")


def test_without_response_curves_a_sentence_and_a_way_to_them(browser, pages):
    visit(browser, pages["paper"] + "#law=Normal&m=64&N=512")
    caption = browser.find_element(By.CSS_SELECTOR, "#response figcaption")
    assert picture(browser, "response") == "" and caption.text.startswith("No response curves")
    browser.find_element(By.ID, "to-response").click()
    assert "m=16&N=128" in browser.current_url and picture(browser, "response")
    assert not browser.find_element(By.ID, "to-response").is_displayed()
    visit(browser, pages["league"])
    assert "this grid has none" in caption_of(browser, "response")
    assert not browser.find_element(By.ID, "to-response").is_displayed()


def caption_of(browser, view):
    """Return a view's caption."""
    return browser.find_element(By.CSS_SELECTOR, f"#{view} figcaption").text


def test_back_and_forward_follow_the_address(browser, pages):
    visit(browser, pages["paper"] + START + "&metric=cosine&show=all&sort=-sd")
    before = pictures(browser)
    browser.execute_script("location.hash = '#law=Gumbel&m=8&N=64'")
    ActionChains(browser).pause(0.2).perform()
    assert Select(browser.find_element(By.ID, "law")).first_selected_option.text == "Gumbel"
    after = pictures(browser)
    assert all(after[view] != before[view] for view in VIEWS)
    # what an address omits has its initial value, whatever was chosen before
    address = browser.current_url
    assert "metric=error" in address and "show=main" in address and "sort=error" in address


# --- keyboard alone -----------------------------------------------------------------------------


def test_tab_reaches_everything_once_and_shows_where(browser, pages):
    visit(browser, pages["paper"] + "#law=Normal&m=64&N=512")
    order = []
    for _ in range(14):
        press(browser, Keys.TAB)
        order.append(focused(browser))
        assert ask(browser, "getComputedStyle(document.activeElement).outlineStyle") == "solid"
    sorts = ["name", *(metric.key for metric in page.METRICS)]
    controls = ["law", "m", "N", "metric", "against", "variants"]
    assert order == [*controls, "TEA .25", "to-response", *sorts]


@pytest.mark.parametrize("control", ["law", "metric"])
def test_arrows_choose(browser, pages, control):
    visit(browser, pages["paper"] + START)
    before = pictures(browser)
    browser.execute_script(f"document.getElementById('{control}').focus()")
    press(browser, Keys.ARROW_DOWN)
    assert pictures(browser) != before
    assert focused(browser) == control
    press(browser, Keys.ARROW_UP)
    assert pictures(browser) == before


def test_arrows_and_space_in_the_legend(browser, pages):
    visit(browser, pages["paper"] + START)
    # from behind: one stop, at the first estimator
    browser.execute_script("document.querySelector('[data-sort=name]').focus()")
    back(browser)
    order = [button.text for button in browser.find_elements(By.CSS_SELECTOR, "#legend button")]
    seen = [focused(browser)]
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.END, Keys.ARROW_RIGHT):
        press(browser, key)
        seen.append(focused(browser))
    assert seen == [order[0], order[1], order[2], order[1], order[-1], order[0]]
    press(browser, Keys.SPACE)
    assert named(browser, order[0]).get_attribute("aria-pressed") == "false"
    press(browser, Keys.ARROW_UP, Keys.HOME, Keys.ENTER)
    assert named(browser, order[0]).get_attribute("aria-pressed") == "true"
    # leaving and coming back finds the same place
    press(browser, Keys.ARROW_RIGHT, Keys.TAB)
    back(browser)
    assert focused(browser) == order[1]
    back(browser)
    assert focused(browser) == "variants"


def test_enter_sorts_both_ways(browser, pages):
    visit(browser, pages["paper"] + START)

    def column(place):
        cells = browser.find_elements(By.CSS_SELECTOR, f"#ranking td:nth-child({place})")
        return [float(cell.text.split()[0].replace("−", "-")) for cell in cells if cell.text]

    browser.execute_script("document.querySelector('[data-sort=sd]').focus()")
    for order, reverse in (("ascending", False), ("descending", True)):
        press(browser, Keys.ENTER)
        assert focused(browser) == "sd"
        head = browser.find_element(By.CSS_SELECTOR, "th:has([data-sort=sd])")
        assert head.get_attribute("aria-sort") == order
        assert column(4) == sorted(column(4), reverse=reverse)
    # what has no number comes last both ways
    last = browser.find_elements(By.CSS_SELECTOR, "#ranking tbody tr")[-1]
    assert last.text.startswith("Prefix-TEA cross")
    # more is better: the greatest first
    browser.find_element(By.CSS_SELECTOR, "[data-sort=cosine]").click()
    assert column(5) == sorted(column(5), reverse=True)


def test_everything_has_a_name(browser, pages):
    visit(browser, pages["paper"] + START)
    named_ones = browser.find_elements(By.CSS_SELECTOR, "select, button, [role=img], table")
    shown = [element for element in named_ones if element.is_displayed()]
    assert len(shown) > 30
    assert all(element.accessible_name.strip() for element in shown)


# --- widths, darkness, paper --------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 800, 1280])
def test_no_horizontal_scroll(browser, pages, width):
    look(browser, width)
    for name, place in (
        ("paper", START + "&show=all"),
        ("paper", "#law=softmax bandit&m=32&N=128"),
        ("paper", "#law=frequent+verifier&m=64&N=1024&show=all"),
        ("league", "#law=Normal&m=16&N=64&show=all"),
    ):
        visit(browser, "about:blank")
        visit(browser, pages[name] + place)
        assert ask(browser, "document.documentElement.scrollWidth") <= width
        lefts = {round(ask(browser, f"{view}.getBoundingClientRect().left")) for view in VIEWS}
        assert len(lefts) == (1 if width < 700 else 2 if width < 1000 else 3)


def luminance(colour):
    """Return the relative luminance of "rgb(r, g, b)" or "#rrggbb" (WCAG 2.2)."""
    if colour.startswith("rgb"):
        parts = [float(x) / 255 for x in colour[4:-1].split(",")]
    else:
        parts = to_rgb(colour)
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_dark_mode_and_paper(browser, pages):
    visit(browser, pages["paper"] + START + "&show=all")
    paper, ink = (f"getComputedStyle(document.body).{x}" for x in ("backgroundColor", "color"))
    marks = "[...document.querySelectorAll('.mark')].map(x => getComputedStyle(x).color)"
    assert luminance(ask(browser, paper)) > 0.9
    by_day = ask(browser, marks)
    look(browser, 1280, "dark")
    # colours change gradually
    ActionChains(browser).pause(0.3).perform()
    background = luminance(ask(browser, paper)) + 0.05
    assert background < 0.07
    assert (luminance(ask(browser, ink)) + 0.05) / background >= 7.0
    by_night = ask(browser, marks)
    assert by_night != by_day
    assert all((luminance(colour) + 0.05) / background >= 3.0 for colour in by_night)
    # paper is white whatever the screen is, and has no controls
    look(browser, 1280, "dark", "print")
    ActionChains(browser).pause(0.3).perform()
    assert luminance(ask(browser, paper)) > 0.9
    assert ask(browser, marks) == by_day
    assert not browser.find_element(By.ID, "controls").is_displayed()
