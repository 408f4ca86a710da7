"""The page of a run in a real browser: every view opened, everything that can be pressed pressed."""

import json

import pytest
from tests.report.browser import eventually, opened_browser, opened_page, skip_without_one
from tests.report.conftest import HOSTILE, made

from isoflop.core import Stop
from isoflop.report.answer import Pairs, answers
from isoflop.report.budget import Prices, axes
from isoflop.report.page import write_report
from isoflop.report.table import Table

skip_without_one()

PRICES = Prices(output=0.5)


@pytest.fixture(scope="module")
def browser():
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(hostile, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(hostile, path, prices=PRICES).path.as_uri()


@pytest.fixture(scope="module")
def shared(browser, address):
    with opened_page(browser, address, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture
def page(shared):
    shared.evaluate("location.hash = ''")
    shared.evaluate("for (const one of document.querySelectorAll('dialog')) one.close()")
    eventually(lambda: shared.evaluate("location.hash"), "")  # wait_for_function would evaluate, which is forbidden
    eventually(shared.locator("dialog[open]").count, 0)
    return shared


@pytest.fixture(scope="module")
def told(hostile):
    """The answers, axis by axis, as Python works them out."""
    table = Table.of(hostile)
    pairs = Pairs(table)
    return {axis.key: answers(table, axis, pairs) for axis in axes(PRICES, table.arms)}


def plain(text):
    return text.replace("\u00a0", " ")


def the_sentence(page):
    return plain(page.locator("#sentence").inner_text())


def sees(page, problem, place):
    """Open a problem and wait for its own cards: what another one showed is gone by then."""
    page.evaluate(f"location.hash = '#problem/{place}'")
    page.locator("#problem h1", has_text=problem.id).wait_for()
    page.locator("#problem .card").first.wait_for()


def test_it_loads_and_sends_nothing_and_lets_nothing_run(page, address):
    for chart in page.query_selector_all(".chart"):
        chart.scroll_into_view_if_needed()
    page.wait_for_selector("#evidence .main-svg")
    assert page.asked == [address]
    assert page.errors == []
    blocked = page.evaluate("""async () => {
      const tried = [];
      await new Promise((done) => setTimeout(done)); // what a debugger starts may break the policy until here
      try { eval('1'); tried.push('eval'); } catch {}
      try { new Function('return 1')(); tried.push('Function'); } catch {}
      try { await fetch('http://127.0.0.1:9/'); tried.push('fetch'); } catch {}
      const script = document.createElement('script');
      script.textContent = 'window.injected = true';
      document.body.append(script);
      if (window.injected) tried.push('script');
      return tried;
    }""")
    assert blocked == []
    page.errors.clear()  # what was blocked on purpose


def test_the_slider_says_what_was_worked_out_for_its_budget(page, told):
    slider = page.locator("#budget")
    page.get_by_role("button", name="FLOPs", exact=True).click()
    slider.focus()
    slider.press("End")
    eventually(lambda: the_sentence(page), told["flops"][-1].sentence)
    slider.press("Home")
    eventually(lambda: the_sentence(page), lambda text: "No arm is within" in text)
    slider.press("ArrowRight")
    seen = page.evaluate("""() => {
      const input = document.getElementById('budget');
      return Array.from({ length: 1001 }, (_, place) => {
        input.value = place;
        input.dispatchEvent(new Event('input'));
        return document.getElementById('sentence').textContent;
      });
    }""")
    said = [text for text in dict.fromkeys(map(plain, seen)) if not text.startswith("No arm is within")]
    budgets = {answer.sentence: answer.budget for answer in told["flops"]}
    assert said == [sentence for sentence in budgets if sentence in said]
    for missing in budgets.keys() - set(said):  # between two steps of the slider: less than a thousandth of its range
        assert any(0 < budget / budgets[missing] - 1 < 1e-3 for budget in budgets.values())
    assert "FLOPs" in slider.get_attribute("aria-valuetext")


@pytest.mark.parametrize(("name", "key"), [("Tokens", "tokens"), ("Money", "money"), ("FLOPs", "flops")])
def test_a_budget_can_be_counted_otherwise(page, told, name, key):
    page.get_by_role("button", name=name, exact=True).click()
    eventually(lambda: the_sentence(page), told[key][-1].sentence)
    details = page.locator("#details p")
    eventually(lambda: [plain(line) for line in details.all_inner_texts()], list(told[key][-1].details))


def test_arms_can_be_left_out_and_the_scale_changed(page, hostile):
    page.locator("[data-chart=curve] .main-svg").first.wait_for()

    def traces():
        return page.evaluate("document.querySelector('[data-chart=curve]').data.length")

    def scale():
        return page.evaluate("document.querySelector('[data-chart=curve]').layout.xaxis.type")

    before = traces()
    [label] = [label for label in hostile.study.labels if label.startswith("beam")]
    box = page.get_by_role("checkbox", name=label)
    box.uncheck()
    eventually(traces, before - 1)
    box.check()
    eventually(traces, before)
    page.get_by_role("button", name="Linear").click()
    eventually(scale, "linear")
    page.get_by_role("button", name="Log", exact=True).click()
    eventually(scale, "log")


def test_a_point_says_what_it_is_when_it_is_pointed_at(page, hostile):
    curve = page.locator("[data-chart=curve]")
    curve.scroll_into_view_if_needed()
    said = set()
    for point in curve.locator(".scatterlayer .points path").all():
        page.mouse.move(0, 0)
        eventually(curve.locator(".hovertext").count, 0)
        box = point.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        curve.locator(".hovertext").first.wait_for()
        text = curve.locator(".hoverlayer").text_content()
        assert "FLOPs" in text
        said |= {label for label in hostile.study.labels if label in text}
    assert len(said) > 1  # arms that stand on one another speak as one
    page.mouse.move(0, 0)


def test_the_table_sorts_and_is_copied_as_shown(page, hostile):
    table = page.locator("#table .table").first
    table.get_by_role("button", name="tokens", exact=True).click()
    table.locator("th[aria-sort=descending]", has_text="tokens").wait_for()
    column = table.locator("thead th").all_inner_texts().index("tokens")
    cells = table.locator("tbody").evaluate(
        "(body, column) => [...body.rows].map((row) => Number(row.cells[column].textContent.replaceAll(',', '')))",
        column,
    )
    assert cells == sorted(cells, reverse=True)
    copied = {}
    for name in ("CSV", "Markdown", "LaTeX"):
        table.get_by_role("button", name=name).click()
        table.get_by_text(f"copied as {name}").wait_for()
        copied[name] = page.evaluate("navigator.clipboard.readText()")
    arms = len(hostile.study.labels)
    assert len(copied["CSV"].split("\n")) == arms + 1
    assert copied["Markdown"].startswith("| strategy |")
    assert copied["Markdown"].count("\n") == arms + 1
    assert "self\\_consistency" in copied["LaTeX"]
    assert copied["LaTeX"].rstrip().endswith("\\end{tabular}")


def test_problems_are_filtered_sorted_and_found(page, hostile):
    first, last = hostile.study.labels[0], hostile.study.labels[-1]
    right = {label: {r.problem.id for r in hostile.attempts if r.arm == label and r.correct} for label in (first, last)}
    wanted = {problem.id for problem in hostile.problems} & right[last] - right[first]
    page.get_by_label(f"{last}: show").select_option("right")
    page.get_by_label(f"{first}: show").select_option("wrong")
    ids, rows = page.locator("#problems .rows .id"), page.locator("#problems .rows .row")
    ends = {name.rpartition("/")[2] for name in wanted}  # what all ids begin with is left out
    eventually(lambda: set(ids.all_inner_texts()), ends)
    page.get_by_role("button", name="Clear").click()
    eventually(rows.count, len(hostile.problems))
    page.get_by_role("searchbox").fill("RIGHT TO LEFT")
    eventually(rows.count, 1)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Order of problems").select_option("hardest")
    solved = "(rows) => rows.map((row) => row.querySelectorAll('.cell.right').length)"
    eventually(lambda: rows.evaluate_all(solved), sorted(rows.evaluate_all(solved)))


def test_what_failed_or_was_cut_short_is_found(browser, tmp_path):
    questions = [f"How much is {n} and 0?" for n in range(4)]
    model, budgets = "scripted(steps=3, broken=['questions/test/1'])", [{"tokens": 60}, {"tokens": 120}]
    run = made(tmp_path, questions, model=model, strategies=["self_consistency(n=4)"], budget=budgets)
    short, whole = run.study.labels
    cut = sum(record.arm == short and record.stop is Stop.BUDGET for record in run.attempts)
    failed = sum(record.arm == whole and record.failed for record in run.attempts)
    assert (cut, failed) == (4, 1)
    with opened_page(browser, write_report(run, tmp_path / "report.html").path.as_uri()) as page:
        rows = page.locator("#problems .rows .row")
        page.get_by_label(f"{whole}: show").select_option("unscored")
        eventually(rows.count, failed)
        page.get_by_label(f"{short}: show").select_option("stopped")
        eventually(rows.count, failed)  # both at once
        page.get_by_label(f"{whole}: show").select_option("")
        eventually(rows.count, cut)


def test_a_problem_shows_its_arms_side_by_side(page, hostile):
    page.locator("#problems .rows .row").first.click()
    dialog = page.locator("#problem")
    dialog.locator(".card").first.wait_for()
    eventually(dialog.locator(".card").count, len(hostile.study.labels))
    title = dialog.locator("h1").inner_text()
    dialog.get_by_label("Next problem").click()
    dialog.locator(f"h1:not(:text-is('{title}'))").wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    eventually(lambda: page.evaluate("location.hash"), "")  # the address follows a moment later


def test_a_tree_is_walked_with_the_keyboard(page, hostile):
    label = next(label for label in hostile.study.labels if label.startswith("beam"))
    [record] = [r for r in hostile.attempts if r.arm == label and r.problem.id == hostile.problems[7].id]
    page.evaluate(f"location.hash = '#tree/7/{hostile.study.labels.index(label)}'")
    panel = page.locator("#node")
    panel.get_by_text("on the chosen path").wait_for()

    def facts():
        return dict(zip(panel.locator("dt").all_inner_texts(), panel.locator("dd").all_inner_texts(), strict=True))

    def depth():
        return facts()["Depth"]

    node = record.nodes[record.candidates[record.chosen].node]
    eventually(depth, str(node.depth))
    assert facts()["Reward"] == f"{node.reward:.3f}"
    assert facts()["Tokens"] == str(len(node.step.tokens))
    assert "before token 0, weight 0.250: <b> became mixed" in panel.locator(".thoughts").inner_text()
    for _ in range(node.depth - 1):
        page.keyboard.press("ArrowLeft")
    top = node
    while top.parent is not None:
        top = record.nodes[top.parent]
    eventually(depth, "1")
    width = sum(each.parent == record.nodes.index(top) for each in record.nodes)
    assert facts()["Width below"] == str(width)
    page.keyboard.press("Enter")  # fold, and unfold by walking on
    page.keyboard.press("ArrowRight")
    page.keyboard.press("w")
    eventually(depth, str(node.depth))
    page.keyboard.press("+")
    colours = """() => {
      const canvas = document.querySelector('#tree canvas');
      return new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size;
    }"""
    eventually(lambda: page.evaluate(colours), lambda found: found > 10)  # not blank
    page.get_by_label("Search shown").select_option(index=0)
    page.locator("#tree canvas[aria-label*='self_consistency']").wait_for()
    page.keyboard.press("Escape")
    page.locator("#tree").wait_for(state="hidden")


def test_who_goes_on_while_a_dialog_closes_arrives(page, hostile):
    page.evaluate("location.hash = '#tree/0/4'")
    page.locator("#tree #node dl").wait_for()
    page.evaluate("""() => {
      const tree = document.getElementById('tree');
      tree.addEventListener('close', () => { location.hash = '#tree/1/4'; }, { capture: true, once: true });
      tree.close();
    }""")  # the address changes just before the page hears that the dialog was closed
    page.locator("#tree h1", has_text=hostile.problems[1].id).wait_for()
    assert page.evaluate("location.hash") == "#tree/1/4"


def test_a_tree_of_two_thousand_nodes_is_drawn_whole(browser, tmp_path):
    run = made(tmp_path, ["How much is 0 and 0?"], model="scripted(steps=4)", strategies=["self_consistency(n=400)"])
    report = write_report(run, tmp_path / "report.html").path.as_uri()
    with opened_page(browser, f"{report}#tree/0/0", viewport={"width": 1280, "height": 900}) as page:
        page.locator("#tree canvas[data-drawn='2000']").wait_for()
        page.locator("#tree canvas").press("ArrowLeft")
        for _ in range(20):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("+")
        page.locator("#node dl").wait_for()
        eventually(page.locator("#node dd").nth(1).inner_text, "1")
        assert page.errors == []


def test_hostile_text_is_shown_and_never_run(page, hostile, address):
    shown = ""
    for place, problem in enumerate(hostile.problems):
        sees(page, problem, place)
        shown += page.locator("#problem").inner_text()
        page.evaluate(f"location.hash = '#tree/{place}/4'")
        page.locator("#tree #node .thoughts").wait_for()
        page.evaluate("document.getElementById('tree').close()")
        eventually(lambda: page.evaluate("location.hash"), f"#problem/{place}")
    assert HOSTILE[0].strip() in shown
    assert "onerror=" in shown
    assert "⟨U+202E⟩" in shown
    assert "⟨U+0007⟩" in shown
    assert "show all" in shown
    assert not any(character in shown for character in "\u202e\x07\x00\x1b")
    assert page.title() != "owned"
    assert page.locator("#owned").count() == 0
    assert page.locator("img").count() == 0
    assert page.asked == [address]
    assert page.errors == []


def test_dark_phone_and_print(browser, address):
    colour = "getComputedStyle(document.body).backgroundColor"
    with opened_page(browser, address, color_scheme="dark", viewport={"width": 390, "height": 844}) as page:

        def light():
            return sum(map(int, page.evaluate(colour)[4:-1].split(", ")))

        eventually(light, lambda found: found < 150)
        sticking = "document.documentElement.scrollWidth - 390"
        eventually(lambda: page.evaluate(sticking), lambda pixels: pixels <= 0)  # nothing sticks out
        page.get_by_label("Change between light and dark").click()
        eventually(light, lambda found: found > 600)
        page.evaluate("location.hash = '#tree/0/4'")
        page.locator("#node dl").wait_for()
        box = page.locator("#node").bounding_box()
        assert box["width"] <= 390
        page.evaluate("document.getElementById('tree').close()")
        page.emulate_media(media="print")
        page.locator("header.bar").wait_for(state="hidden")
        page.locator("#sentence").wait_for()
        assert page.errors == []


def test_everything_has_a_name_and_stands_out(page):
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, a, input, select, canvas, [role=img]')]
      .filter((one) => !(one.textContent.trim() || one.getAttribute('aria-label') || one.title || one.labels?.length))
      .map((one) => one.outerHTML.slice(0, 100))""")
    assert nameless == []
    contrast = """() => {
      const of = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      const light = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
      const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      return ['--ink', '--soft', '--accent']
        .flatMap((ink) => ['--paper', '--raised'].map((on) => ratio(of(ink), of(on))));
    }"""
    for _ in range(2):  # light and dark
        assert min(page.evaluate(contrast)) >= 4.5
        page.get_by_label("Change between light and dark").click()


def test_the_scripts_parse_no_text_as_html():
    from isoflop.report.page import own_script

    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "http:"):
        assert word not in own_script().replace(json.dumps("http://www.w3.org/2000/svg"), "")
