// The tables, as `isoflop table` prints them: sortable, and copied in the order shown.

const number = (cell) => {
  const found = cell.replace(/,/g, "").match(/-?\d+(\.\d+)?(e[-+]?\d+)?/);
  return found ? Number(found[0]) - (cell.startsWith("<") ? 1e-9 : 0) : null;
};

const rowsOf = (table) => table.columns[0].cells.map((_, row) => table.columns.map((column) => column.cells[row]));

function ordered(rows, column, descending) {
  const key = (row) => (column.left ? row.cells[column.place] : number(row.cells[column.place]));
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null); // nothing comes last, either way
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return descending ? -order : order;
  });
}

const csvCell = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
const markdownCell = (text) => text.replace(/([|*_\\<>`[\]])/g, "\\$1").replace(/\n/g, " ");
const LATEX = { "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "%": "\\%", "&": "\\&", _: "\\_", "#": "\\#", $: "\\$", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "<": "$<$", ">": "$>$", "◆": "$\\blacklozenge$", "–": "--", "λ": "$\\lambda$", "×": "$\\times$" };
const latexCell = (text) => text.replace(/[\\{}%&_#$^~<>◆–λ×]/g, (character) => LATEX[character]);

const COPIES = {
  CSV: (columns, rows) => [columns.map((column) => column.heading), ...rows].map((row) => row.map(csvCell).join(",")).join("\n"),
  Markdown: (columns, rows) => [columns.map((column) => markdownCell(column.heading)), columns.map((column) => (column.left ? ":--" : "--:")), ...rows.map((row) => row.map(markdownCell))].map((row) => `| ${row.join(" | ")} |`).join("\n"),
  LaTeX: (columns, rows) => [
    `\\begin{tabular}{${columns.map((column) => (column.left ? "l" : "r")).join("")}}`, "\\toprule",
    `${columns.map((column) => latexCell(column.heading)).join(" & ")} \\\\`, "\\midrule",
    ...rows.map((row) => `${row.map(latexCell).join(" & ")} \\\\`), "\\bottomrule", "\\end{tabular}",
  ].join("\n"),
};

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "offscreen", value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function sortable(table) {
  const rows = rowsOf(table).map((cells, place) => ({ cells, place }));
  let shown = rows;
  const arms = new Map(view.summary.arms.map((arm) => [arm.label, arm]));
  const body = h("tbody");
  const cellNode = (text, column) => {
    const arm = column.left ? arms.get(text.replace(/ \[[a-z, ]+\]$/, "")) : null;
    const inner = arm ? [mark(arm), text] : [text];
    return column.left && column.place === 0 ? h("th", { scope: "row", class: "left" }, inner) : h("td", { class: column.left ? "left" : "" }, inner);
  };
  const columns = table.columns.map((column, place) => ({ ...column, place }));
  const draw = () => show(body, shown.map((row) => h("tr", {}, row.cells.map((text, place) => cellNode(text, columns[place])))));
  const heads = columns.map((column) => {
    const head = h("th", { scope: "col", class: column.left ? "left" : "", "aria-sort": "none" },
      h("button", {
        type: "button",
        onclick: () => {
          // Names begin at A, numbers at the largest; the next click turns the order round.
          const descending = { none: !column.left, ascending: true, descending: false }[head.getAttribute("aria-sort")];
          for (const other of heads) other.setAttribute("aria-sort", "none");
          head.setAttribute("aria-sort", descending ? "descending" : "ascending");
          shown = ordered(rows, column, descending);
          draw();
        },
      }, column.heading));
    return head;
  });
  draw();
  const said = h("span", { class: "hint", role: "status" });
  const copies = Object.entries(COPIES).map(([name, make]) => h("button", {
    type: "button", class: "quiet",
    onclick: async () => {
      await copyText(make(columns, shown.map((row) => row.cells)));
      said.textContent = `copied as ${name}`;
    },
  }, name));
  return h("div", { class: "table" },
    h("div", { class: "tools" }, h("h3", {}, table.title), h("p", { class: "copies" }, said, " Copy as ", copies)),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": table.title }, h("table", {}, h("thead", {}, h("tr", {}, heads)), body)));
}

function drawTables() {
  const parts = view.summary.tables.map((table) => (table.folded
    ? h("details", {}, h("summary", {}, table.title), sortable(table))
    : sortable(table)));
  show(at("table"), h("h2", {}, "The table"), parts, h("ul", { class: "notes" }, view.summary.notes.map((note) => h("li", {}, visible(note)))));
}
