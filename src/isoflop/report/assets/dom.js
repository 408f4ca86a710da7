// Elements from plain values. Text is only ever set as text: nothing in these scripts parses a string as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const h = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);
const s = (tag, props = {}, ...children) => fill(document.createElementNS(SVG, tag), props, children);
const at = (id) => document.getElementById(id);

function show(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

// A group of buttons of which one is pressed.
function choice(label, options, chosen, onchoose) {
  const buttons = options.map(([key, text]) =>
    h("button", {
      type: "button",
      "aria-pressed": String(key === chosen),
      onclick: () => {
        for (const [place, [other]] of options.entries()) buttons[place].setAttribute("aria-pressed", String(other === key));
        onchoose(key);
      },
    }, text));
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

// The button that closes a dialog.
const closer = (id) => h("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close", onclick: () => at(id).close() }, "✕");
