// The grid of problems: one row a problem, one cell an arm; filtered, sorted and searched here, a hundred rows at a time.

const AT_ONCE = 100;
const OUTCOMES = {
  c: ["right", "●"], w: ["wrong", "○"], n: ["no answer", "∅"], u: ["not verifiable", "?"], g: ["not graded", "?"], e: ["failed", "!"],
};
const STOPS = { b: "stopped by the budget", d: "a path cut by depth", n: "no candidates", e: "stopped by an error" };
// What a filter may ask of an arm's cell, by the letters of its outcomes and stops.
const WANTED = [
  ["", "any"], ["right", "right"], ["wrong", "wrong"], ["unscored", "unscored"], ["stopped", "stopped"],
];

const grid = { search: "", order: "disagreement", wanted: new Map(), rows: [], shown: 0, idStart: 0 };

const outcomesOf = (cell) => [...cell].filter((_, place) => place % 2 === 0);
const stopsOf = (cell) => [...cell].filter((_, place) => place % 2 === 1);
const shareRight = (cell) => {
  const outcomes = outcomesOf(cell);
  return outcomes.length ? outcomes.filter((letter) => letter === "c").length / outcomes.length : null;
};

// A cell in one word; with several seeds the word of most of them.
function wordOf(cell) {
  if (!cell) return "missing";
  const outcomes = outcomesOf(cell);
  if (outcomes.some((letter) => "uge".includes(letter))) return "unscored";
  return shareRight(cell) >= 0.5 ? "right" : "wrong";
}

const isStopped = (cell) => stopsOf(cell).some((letter) => letter !== "f");

function passes(problem) {
  for (const [arm, wanted] of grid.wanted) {
    const cell = problem.cells[arm];
    if (wanted === "stopped" ? !isStopped(cell) : wordOf(cell) !== wanted) return false;
  }
  if (!grid.search) return true;
  return `${problem.id}\n${problem.question}\n${problem.gold}`.toLowerCase().includes(grid.search);
}

const ORDERS = {
  disagreement: ["Most disputed first", (a, b) => b.problem.disagreement - a.problem.disagreement],
  study: ["As in the study", () => 0],
  hardest: ["Fewest right first", (a, b) => rightOf(a.problem) - rightOf(b.problem)],
  easiest: ["Most right first", (a, b) => rightOf(b.problem) - rightOf(a.problem)],
};
const rightOf = (problem) => problem.cells.reduce((sum, cell) => sum + (shareRight(cell) || 0), 0);

function cellSays(cell) {
  if (!cell) return "not made yet";
  const outcomes = outcomesOf(cell).map((letter) => OUTCOMES[letter][0]);
  const stops = [...new Set(stopsOf(cell).filter((letter) => STOPS[letter]).map((letter) => STOPS[letter]))];
  return [outcomes.join(", "), ...stops].join("; ");
}

function cellNode(cell, arm) {
  const word = wordOf(cell);
  const share = shareRight(cell);
  const letters = outcomesOf(cell);
  const glyph = letters.length > 1 ? String(Math.round(share * letters.length)) : cell ? OUTCOMES[cell[0]][1] : "";
  return h("span", {
    class: `cell ${word}${cell && isStopped(cell) ? " stopped" : ""}`, style: armColours(arm),
    title: `${arm.label}: ${cellSays(cell)}`, role: "img", "aria-label": `${arm.label}: ${cellSays(cell)}`,
  }, glyph);
}

function rowNode({ problem, place }) {
  const { arms } = view.summary;
  return h("a", { class: "row", href: `#problem/${place}`, style: { cssText: `--arms:${arms.length}` } },
    h("span", { class: "id", title: oneLine(problem.id, 200) }, oneLine(problem.id.slice(grid.idStart), 16)),
    h("span", { class: "question", dir: "auto" }, oneLine(problem.question, 160)),
    problem.cells.map((cell, arm) => cellNode(cell, arms[arm])));
}

function more() {
  const list = document.querySelector("#problems .rows");
  const next = grid.rows.slice(grid.shown, grid.shown + AT_ONCE);
  list.append(...next.map(rowNode));
  grid.shown += next.length;
  document.querySelector("#problems .more").hidden = grid.shown >= grid.rows.length;
}

function filterProblems() {
  const all = view.summary.problems.map((problem, place) => ({ problem, place }));
  grid.rows = all.filter(({ problem }) => passes(problem)).sort(ORDERS[grid.order][1]);
  grid.shown = 0;
  show(document.querySelector("#problems .rows"));
  more();
  show(document.querySelector("#problems .count"),
    `${grid.rows.length.toLocaleString("en-US")} of ${all.length.toLocaleString("en-US")} problems`);
}

function filterNode(arm, place) {
  const wanted = grid.wanted.get(place) || "";
  return h("div", { class: "head" },
    h("span", { class: "name" }, arm.label), mark(arm),
    h("select", {
      "aria-label": `${arm.label}: show problems where it is`, class: wanted ? "set" : "",
      onchange: (event) => {
        if (event.target.value) grid.wanted.set(place, event.target.value);
        else grid.wanted.delete(place);
        event.target.className = event.target.value ? "set" : "";
        filterProblems();
      },
    }, WANTED.map(([value, text]) => h("option", { value, selected: value === wanted }, text))));
}

// How much of every id is the same: the name of the problem set, which says nothing in a list of its problems.
function sharedStart(ids) {
  const start = ids.length ? ids[0].slice(0, ids[0].lastIndexOf("/") + 1) : "";
  return ids.every((id) => id.startsWith(start)) ? start.length : 0;
}

function drawProblems() {
  const { arms } = view.summary;
  grid.idStart = sharedStart(view.summary.problems.map((problem) => problem.id));
  const heads = h("div", { class: "row heads", style: { cssText: `--arms:${arms.length}` } },
    h("span", { class: "id" }), h("span", { class: "question" }, h("span", { class: "hint" }, "Under each arm: show only problems where it is …")),
    arms.map(filterNode));
  const left = config.withoutTrees
    ? h("p", { class: "note" }, `The trees of the ${config.withoutTrees.toLocaleString("en-US")} least disputed problems did not fit into this file; their chosen solutions are here, and isoflop tree prints the rest.`)
    : null;
  show(at("problems"), h("h2", {}, "Problems"),
    h("div", { class: "tools" },
      h("input", { type: "search", placeholder: "Search questions, ids, gold answers", "aria-label": "Search problems", value: grid.search, oninput: (event) => { grid.search = event.target.value.trim().toLowerCase(); filterProblems(); } }),
      h("select", { "aria-label": "Order of problems", onchange: (event) => { grid.order = event.target.value; filterProblems(); } },
        Object.entries(ORDERS).map(([key, [text]]) => h("option", { value: key, selected: key === grid.order }, text))),
      h("button", { type: "button", class: "quiet", onclick: () => { grid.wanted.clear(); grid.search = ""; drawProblems(); } }, "Clear"),
      h("span", { class: "count hint", role: "status" })),
    h("p", { class: "keys" }, Object.values(OUTCOMES).filter(([, glyph], place, all) => all.findIndex(([, other]) => other === glyph) === place)
      .map(([name, glyph]) => h("span", {}, h("b", {}, glyph), ` ${name}`)), h("span", {}, h("b", { class: "corner" }, "◥"), " stopped early")),
    left,
    h("div", { class: "scroll grid" }, heads, h("div", { class: "rows" })),
    h("button", { type: "button", class: "more", onclick: more }, "Show more"));
  filterProblems();
}
