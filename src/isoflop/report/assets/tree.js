// The tree explorer: a canvas that draws what is in sight, a panel that says all about one node, a keyboard for both.

const BOX = { width: 168, height: 34, column: 214, row: 42 };
const ROOT = 46; // how far to the left of the first column the prompt stands
const FATES = { g: "", v: "●", c: "◉", a: "○", k: "✂", p: "×", s: "‖" };

const explorer = { attempt: null, tree: null, layout: null, folded: new Set(), node: 0, scale: 1, x: 0, y: 0, path: new Set(), frame: 0 };

async function openTree(place, index) {
  const asked = location.hash, dialog = at("tree");
  let data;
  try {
    data = await source.problem(place);
  } catch (error) {
    show(dialog, h("div", { class: "dialog-bar" }, h("h1", { id: "tree-title" }, "No tree"), closer("tree")),
      h("p", { class: "ask note" }, `This problem cannot be read: ${error.message}`));
    if (!dialog.open) dialog.showModal();
    return;
  }
  const attempt = data.attempts[index];
  if (!attempt || !attempt.tree || location.hash !== asked) return; // the reader has gone on while it was unpacked
  Object.assign(opened, { place, data });
  const arm = view.summary.arms[attempt.arm];
  Object.assign(explorer, { attempt, arm, index, tree: attempt.tree, texts: data.texts, folded: new Set(), path: pathTo(attempt.tree, attempt.chosen) });
  explorer.layout = layoutTree(explorer.tree, explorer.folded);
  explorer.node = attempt.chosen ?? 0;
  show(dialog, treeBar(place, data), h("div", { class: "explorer" },
    h("div", { class: "stage" }, canvasNode(), h("p", { class: "hint keys-help" }, "Arrows walk · Enter folds · + − 0 zoom · W the chosen path · drag and wheel move")),
    h("aside", { id: "node", "aria-live": "polite" })));
  if (!dialog.open) dialog.showModal();
  fitTree();
  selectNode(explorer.node, false);
  dialog.querySelector("canvas").focus();
}

function treeBar(place, data) {
  const options = data.attempts.map((attempt, index) => {
    const seed = view.summary.study.seeds.length > 1 ? `, seed ${attempt.seed}` : "";
    return h("option", { value: index, selected: index === explorer.index, disabled: !attempt.tree || !attempt.size }, `${view.summary.arms[attempt.arm].label}${seed}: ${outcomeWord[attempt.outcome]}`);
  });
  const button = (text, label, act) => h("button", { type: "button", class: "quiet", "aria-label": label, title: label, onclick: act }, text);
  return h("div", { class: "dialog-bar" },
    h("h1", { id: "tree-title" }, mark(explorer.arm), `Problem ${oneLine(view.summary.problems[place].id, 24)}`),
    h("select", { "aria-label": "Search shown", onchange: (event) => { location.hash = `#tree/${place}/${event.target.value}`; } }, options),
    button("−", "Zoom out", () => zoomBy(1 / 1.3)), button("+", "Zoom in", () => zoomBy(1.3)), button("Fit", "Fit the whole tree", () => { fitTree(); drawTree(); }),
    button("Fold", "Fold all but the chosen path", foldAll), button("Unfold", "Unfold all", () => { explorer.folded.clear(); relaid(); }),
    closer("tree"));
}

function canvasNode() {
  const canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": `Search tree of ${explorer.arm.label}, ${explorer.tree.parent.length} nodes; the panel beside it says all about the node walked to` });
  let from = null, moved = false;
  canvas.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; moved = false; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
    if (!moved && Math.hypot(dx, dy) < 4) return;
    moved = true;
    from = [event.clientX, event.clientY];
    explorer.x += dx;
    explorer.y += dy;
    drawTree();
  });
  canvas.addEventListener("pointerup", (event) => {
    from = null;
    const found = moved ? null : nodeAt(event);
    if (found !== null) selectNode(found, false);
  });
  canvas.addEventListener("dblclick", (event) => { const found = nodeAt(event); if (found !== null) fold(found); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoomBy(Math.exp(-event.deltaY * 0.0015), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  canvas.addEventListener("keydown", walk);
  new ResizeObserver(() => drawTree()).observe(canvas);
  return canvas;
}

const canvasOf = () => document.querySelector("#tree canvas");
const worldOf = (node) => [explorer.layout.depth[node] * BOX.column, explorer.layout.row[node] * BOX.row];

function nodeAt(event) {
  const box = canvasOf().getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left - explorer.x) / explorer.scale, (event.clientY - box.top - explorer.y) / explorer.scale];
  const reach = Math.max(0, 8 / explorer.scale - BOX.height / 2); // small boxes are still easy to hit
  return explorer.layout.order.find((node) => {
    const [left, top] = worldOf(node);
    return x >= left && x <= left + BOX.width && y >= top - reach && y <= top + BOX.height + reach;
  }) ?? null;
}

function fitTree() {
  const canvas = canvasOf();
  const { layout } = explorer;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  explorer.scale = Math.min(1.1, (width - 40) / (layout.columns * BOX.column + ROOT), (height - 60) / (layout.rows * BOX.row));
  explorer.x = 20 + ROOT * explorer.scale;
  explorer.y = Math.max(20, (height - layout.rows * BOX.row * explorer.scale) / 2);
}

function zoomBy(factor, x = canvasOf().clientWidth / 2, y = canvasOf().clientHeight / 2) {
  const scale = Math.min(2.5, Math.max(0.01, explorer.scale * factor));
  explorer.x = x - ((x - explorer.x) * scale) / explorer.scale;
  explorer.y = y - ((y - explorer.y) * scale) / explorer.scale;
  explorer.scale = scale;
  drawTree();
}

function relaid() {
  explorer.layout = layoutTree(explorer.tree, explorer.folded);
  if (!explorer.layout.order.includes(explorer.node)) selectNode(explorer.layout.order[0], true);
  drawTree();
}

function fold(node) {
  if (!explorer.layout.children[node].length) return;
  if (!explorer.folded.delete(node)) explorer.folded.add(node);
  relaid();
}

function foldAll() {
  explorer.layout.children.forEach((children, node) => { if (children.length && !explorer.path.has(node)) explorer.folded.add(node); });
  relaid();
}

function drawTree() {
  cancelAnimationFrame(explorer.frame);
  explorer.frame = requestAnimationFrame(paintTree);
}

function paintTree() {
  const canvas = canvasOf();
  if (!canvas) return;
  const started = performance.now();
  const ratio = window.devicePixelRatio || 1, [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  const pen = canvas.getContext("2d");
  const { scale, layout, tree } = explorer;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.translate(explorer.x, explorer.y);
  pen.scale(scale, scale);
  const seen = { left: -explorer.x / scale - BOX.column, right: (width - explorer.x) / scale, top: -explorer.y / scale - BOX.row, bottom: (height - explorer.y) / scale };
  const inks = { arm: theme.colour(explorer.arm), ink: theme.of("ink"), soft: theme.of("soft"), line: theme.of("line"), raised: theme.of("raised"), font: theme.of("font") };
  const shown = layout.order.filter((node) => { const [x, y] = worldOf(node); return x >= seen.left - BOX.column && x <= seen.right && y >= seen.top && y <= seen.bottom; });
  paintLinks(pen, layout.order, seen, inks);
  for (const node of shown) paintNode(pen, node, inks);
  canvas.dataset.milliseconds = (performance.now() - started).toFixed(1);
  canvas.dataset.drawn = shown.length;
}

function paintLinks(pen, nodes, seen, inks) {
  const { layout, tree } = explorer;
  const root = [-ROOT - BOX.width + 6, ((layout.rows - 1) * BOX.row) / 2];
  for (const winning of [false, true]) {
    pen.beginPath();
    for (const node of nodes) {
      if (explorer.path.has(node) !== winning) continue;
      const [x1, y1] = tree.parent[node] < 0 ? root : worldOf(tree.parent[node]), [x2, y2] = worldOf(node);
      if (x2 < seen.left || x1 > seen.right || Math.max(y1, y2) < seen.top || Math.min(y1, y2) > seen.bottom) continue;
      const [from, to, half] = [x1 + BOX.width, x2, BOX.height / 2];
      pen.moveTo(from, y1 + half);
      pen.bezierCurveTo((from + to) / 2, y1 + half, (from + to) / 2, y2 + half, to, y2 + half);
    }
    pen.lineWidth = winning ? 3 : 1.2;
    pen.strokeStyle = winning ? inks.arm : inks.line;
    pen.stroke();
  }
  pen.beginPath();
  pen.arc(-ROOT, root[1] + BOX.height / 2, 6, 0, 2 * Math.PI);
  pen.fillStyle = inks.soft;
  pen.fill();
}

function paintNode(pen, node, inks) {
  const { tree, scale, path } = explorer;
  const [x, y] = worldOf(node);
  const reward = tree.reward ? tree.reward[node] : null;
  const dim = "psk".includes(tree.fate[node]) && !path.has(node);
  pen.globalAlpha = dim ? 0.55 : 1;
  pen.fillStyle = inks.raised;
  pen.strokeStyle = node === explorer.node ? inks.ink : path.has(node) ? inks.arm : inks.line;
  pen.lineWidth = node === explorer.node ? 3 / Math.max(scale, 0.4) : path.has(node) ? 2 : 1;
  pen.beginPath();
  pen.roundRect(x, y, BOX.width, BOX.height, 6);
  pen.fill();
  if (reward !== null) { // how full the box is, is how much the reward thought of it
    pen.save();
    pen.clip();
    pen.globalAlpha *= scale < 0.35 ? 0.75 : 0.28;
    pen.fillStyle = inks.arm;
    pen.fillRect(x, y, BOX.width * reward, BOX.height);
    pen.restore();
  }
  pen.stroke();
  if (scale >= 0.35) paintLabel(pen, node, x, y, reward, inks);
  pen.globalAlpha = 1;
}

function paintLabel(pen, node, x, y, reward, inks) {
  const { tree, layout, folded } = explorer;
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  pen.fillStyle = inks.ink;
  pen.font = `12px ${inks.font}`;
  pen.direction = "ltr";
  pen.fillText(oneLine(explorer.texts[tree.text[node]], 24) || "␣", x + 8, y + 12);
  pen.font = `10.5px ${inks.font}`;
  pen.fillStyle = inks.soft;
  const below = layout.children[node].length;
  const facts = [reward === null ? null : reward.toFixed(3), `${tree.tokens[node]} tok`, tree.flops ? flopsText(tree.flops[node] + (tree.scoring ? tree.scoring[node] : 0)) : null];
  pen.fillText(facts.filter(Boolean).join(" · "), x + 8, y + 25);
  pen.textAlign = "right";
  pen.fillText(folded.has(node) ? `▸ ${below}` : FATES[tree.fate[node]], x + BOX.width - 8, y + 25);
}

function walk(event) {
  const { tree, layout } = explorer;
  const node = explorer.node;
  const column = () => layout.order.filter((each) => layout.depth[each] === layout.depth[node]);
  const beside = (step) => { const all = column(); return all[all.indexOf(node) + step]; };
  const acts = {
    ArrowRight: () => (explorer.folded.has(node) ? (fold(node), node) : layout.children[node][0]),
    ArrowLeft: () => (tree.parent[node] >= 0 ? tree.parent[node] : node),
    ArrowDown: () => beside(1),
    ArrowUp: () => beside(-1),
    Home: () => layout.order[0],
    w: () => explorer.attempt.chosen,
    Enter: () => { fold(node); return node; },
    " ": () => { fold(node); return node; },
    "+": () => { zoomBy(1.3); return node; },
    "=": () => { zoomBy(1.3); return node; },
    "-": () => { zoomBy(1 / 1.3); return node; },
    0: () => { fitTree(); return node; },
  };
  const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const next = act();
  if (next !== undefined && next !== null) selectNode(next, next !== node);
}

function selectNode(node, follow) {
  explorer.node = node;
  if (follow) {
    if (!explorer.layout.order.includes(node)) { for (const above of pathTo(explorer.tree, node)) explorer.folded.delete(above); relaid(); }
    const canvas = canvasOf(), [x, y] = worldOf(node);
    const [left, top] = [explorer.x + x * explorer.scale, explorer.y + y * explorer.scale];
    const [w, t] = [BOX.width * explorer.scale, BOX.height * explorer.scale];
    if (left < 20 || left + w > canvas.clientWidth - 20) explorer.x += canvas.clientWidth / 2 - left - w / 2;
    if (top < 20 || top + t > canvas.clientHeight - 40) explorer.y += canvas.clientHeight / 2 - top - t / 2;
  }
  show(at("node"), nodeFacts(node));
  drawTree();
}

// What is known of why a node has nothing below it.
function fateText(node) {
  const { tree, layout, attempt } = explorer;
  const fate = tree.fate[node];
  const said = view.summary.fates[fate];
  if (fate === "s") return `${said}: ${[stopWord[attempt.stop], visible(attempt.message)].filter(Boolean).join(", ")}`;
  if (fate !== "p" || !tree.reward || tree.reward[node] === null) return said;
  const rivals = layout.depth.reduce((found, depth, other) => (depth === layout.depth[node] && tree.reward[other] !== null ? [...found, tree.reward[other]] : found), []);
  const rank = 1 + rivals.filter((reward) => reward > tree.reward[node]).length;
  return `${said}; its reward is number ${rank} of ${rivals.length} at this depth`;
}

function nodeFacts(node) {
  const { tree, layout, attempt, texts } = explorer;
  const vote = attempt.votes.find(([voted]) => voted === node);
  const of = (name) => (tree[name] ? tree[name][node] : null);
  const context = of("cached") === null ? null : of("cached") + (of("read") || 0);
  const facts = [
    ["Reward", of("reward") === null ? NOTHING : of("reward").toFixed(3)],
    ["Width below", String(layout.children[node].length)],
    ["Tokens", String(tree.tokens[node])],
    ["FLOPs", of("flops") === null ? NOTHING : flopsText(of("flops"))],
    of("scoring") ? ["FLOPs of scoring", flopsText(of("scoring"))] : null,
    ["Context cached", context ? `${percent(of("cached") / context)} % of ${context.toLocaleString("en-US")} tokens` : NOTHING],
    ["Seconds (modelled)", of("seconds") ? threeDigits(of("seconds")) : NOTHING],
    ["Depth", String(layout.depth[node] + 1)],
  ].filter(Boolean);
  const channel = tree.channel ? { 1: "inside the think block", 2: "latent" }[tree.channel[node]] : null;
  return [
    h("p", { class: "fate" }, h("b", {}, explorer.path.has(node) ? "★ on the chosen path" : `node ${node}`), ` · ${fateText(node)}`, channel ? ` · ${channel}` : ""),
    h("dl", {}, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    vote ? h("p", { class: "final" }, `Answer: ${vote[1] === null ? "none" : oneLine(vote[1], 120)} (${outcomeWord[vote[3]]}${vote[2] === null ? "" : `, weight ${vote[2].toFixed(3)}`})`) : null,
    modelText(texts[tree.text[node]], "div"),
    thoughtsOf(node),
    h("details", {}, h("summary", {}, "The whole path to here"), [...pathTo(tree, node)].reverse().map((each) => modelText(texts[tree.text[each]], "span"))),
  ];
}

function thoughtsOf(node) {
  const own = explorer.tree.thoughts ? explorer.tree.thoughts[node] : null;
  if (!own) return null;
  return h("details", { open: true }, h("summary", {}, own.length === 1 ? "1 thought" : `${own.length} thoughts`), h("ol", { class: "thoughts" }, own.map(([place, text, weight, plainly, mixed]) =>
    h("li", {}, h("span", { class: "hint" }, `before token ${place}, weight ${threeDigits(weight)}${plainly === mixed ? "" : `: ${oneLine(plainly, 20)} became ${oneLine(mixed, 20)}`}`), modelText(explorer.texts[text])))));
}
