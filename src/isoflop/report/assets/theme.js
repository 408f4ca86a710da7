// Light, dark, or what the system says. Charts and canvases ask here for their colours.

const theme = {
  chosen: null,
  printing: false,
  listeners: [],
  system: window.matchMedia("(prefers-color-scheme: dark)"),

  get dark() {
    if (this.printing) return false;
    return this.chosen === null ? this.system.matches : this.chosen === "dark";
  },

  colour(arm) {
    return this.dark ? arm.dark : arm.colour;
  },

  // A colour of the page, from its style sheet.
  of(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  },

  apply() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    for (const listener of this.listeners) listener();
  },

  start() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.system.addEventListener("change", () => this.apply());
    at("theme").addEventListener("click", () => {
      this.chosen = this.dark ? "light" : "dark";
      this.apply();
    });
    window.addEventListener("beforeprint", () => { this.printing = true; this.apply(); });
    window.addEventListener("afterprint", () => { this.printing = false; this.apply(); });
  },
};
