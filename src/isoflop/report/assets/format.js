// Numbers and texts as people read them; the same rules as report/units.py.

const NOTHING = "–";

function threeDigits(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(1);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const percent = (share) => (share === null || share === undefined ? NOTHING : (100 * share).toFixed(1));

function inUnit(axis, value) {
  const number = threeDigits(value / axis.size);
  return axis.key === "money" ? `${axis.unit} ${number} per 1,000 problems` : `${number} ${axis.unit}`;
}

function flopsText(flops) {
  if (flops === null || flops === undefined) return NOTHING;
  const units = [["PFLOPs", 1e15], ["TFLOPs", 1e12], ["GFLOPs", 1e9], ["MFLOPs", 1e6], ["kFLOPs", 1e3], ["FLOPs", 1]];
  const [name, size] = units.find(([, each]) => flops >= each) || units[units.length - 1];
  return `${threeDigits(flops / size)} ${name}`;
}

// Characters that would move, hide or ring are spelled out; lines stay lines.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]/g;
const SURROGATES = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const spelled = (character) => `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;

function visible(text) {
  return String(text).replace(/\r\n/g, "\n").replace(UNSEEN, spelled).replace(SURROGATES, spelled);
}

const MOST_SHOWN = 6000;

// Model text as an element; very long ones are cut until asked for.
function modelText(text, tag = "p") {
  const safe = visible(text);
  const node = h(tag, { class: "model", dir: "auto" }, safe.slice(0, MOST_SHOWN));
  if (safe.length > MOST_SHOWN) {
    const more = h("button", {
      type: "button",
      class: "quiet",
      onclick: () => { node.textContent = safe; },
    }, `show all ${safe.length.toLocaleString("en-US")} characters`);
    node.append("… ", more);
  }
  return node;
}

const oneLine = (text, most) => {
  const line = visible(text).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
};
