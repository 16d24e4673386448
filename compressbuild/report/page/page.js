"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const charts = [];
const painted = []; /* what else to do when the theme changes */

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== ""));
  return element;
}

const unit = (metric) => (data.metrics[metric] || {}).unit || "";
const direction = (metric) => (data.metrics[metric] || {}).direction || "none";
const title = (metric) => metric + (unit(metric) ? ` (${unit(metric)})` : "");

function number(value, u) {
  if (value === null || value === undefined) return "–";
  if (u === "B") {
    for (const [name, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (value >= size) return `${(value / size).toFixed(1)} ${name}`;
    return `${value} B`;
  }
  if (value >= 1e5) for (const [name, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (value >= size) return `${(value / size).toFixed(1)} ${name}${u || ""}`;
  const text = Number.isInteger(value) ? String(value) : Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
  return u ? `${text} ${u}` : text;
}
const interval = (m) => (m.ratio === undefined ? "" : ` ×${m.ratio.toFixed(2)}` + (m.ratio_low != null ? ` [${m.ratio_low.toFixed(2)}–${m.ratio_high.toFixed(2)}]` : ""));

/* ---- tables ---- */
function table(head, rows) {
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((c) => (c instanceof Node ? c : h("th", { scope: "col" }, c))))), h("tbody", {}, rows)));
}
const row = (...cells) => h("tr", {}, cells.map((c) => (c instanceof Node && c.tagName === "TD" ? c : h("td", {}, c === null || c === undefined ? "–" : c))));
const spoken = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const params = (node) => Object.entries(node.params).map(([k, v]) => `${k}: ${spoken(v)}`).join(", ");
const seconds = (s) => (s === null ? "–" : s < 10 ? `${s.toFixed(2)} s` : `${s.toFixed(0)} s`);

/* ---- charts ---- */
function plotted(canvas, config) {
  /* [draw it (again), take it down] */
  let chart = null;
  const close = () => { if (chart) { charts.splice(charts.indexOf(chart), 1); chart.destroy(); chart = null; } };
  const redraw = () => { close(); chart = new Chart(canvas, config()); restyle(chart); chart.update("none"); charts.push(chart); };
  return [redraw, close];
}

/* ---- theme ---- */
function paint(theme) {
  root.dataset.theme = theme;
  for (const chart of charts) { restyle(chart); chart.update("none"); }
  for (const again of painted) again();
}
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
function restyle(chart) {
  for (const scale of Object.values(chart.options.scales)) {
    scale.grid = { color: css("--line") };
    scale.ticks = { ...scale.ticks, color: css("--faint") };
    scale.title = { ...scale.title, color: css("--ink") };
  }
}
const dark = matchMedia("(prefers-color-scheme: dark)");
paint(dark.matches ? "dark" : "light");
dark.addEventListener("change", (event) => paint(event.matches ? "dark" : "light"));
$("theme").addEventListener("click", () => paint(root.dataset.theme === "dark" ? "light" : "dark"));
