"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const charts = [];
let plot = null;

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
  if (value >= 1e5) for (const [name, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (value >= size) return `${(value / size).toFixed(1)} ${name}`;
  const text = Number.isInteger(value) ? String(value) : Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
  return u ? `${text} ${u}` : text;
}
const valueOf = (target, metric) => {
  const found = target.metrics[metric];
  return found && found.value !== null ? found.value : null;
};
const byName = Object.fromEntries(data.targets.map((t) => [t.name, t]));
const interval = (m) => (m.ratio === undefined ? "" : ` ×${m.ratio.toFixed(2)}` + (m.ratio_low != null ? ` [${m.ratio_low.toFixed(2)}–${m.ratio_high.toFixed(2)}]` : ""));

/* ---- theme ---- */
function paint(theme) {
  root.dataset.theme = theme;
  for (const chart of charts) { restyle(chart); chart.update("none"); }
  if (plot) draw();
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

/* ---- what to ship ---- */
const busy = "measured on a busy machine: --remeasure";
function choice() {
  const place = $("choice"), chosen = data.choice;
  if (!chosen) {
    place.className = "none";
    place.append(h("h2", {}, "No artifact to ship"), h("p", {}, "None is published with quality, latency and size measured, and every gate met."));
    return;
  }
  const target = byName[chosen.name], base = byName[target.baseline];
  const facts = [];
  for (const metric of [data.quality, "latency", "size"]) {
    const own = target.metrics[metric];
    if (!own) continue;
    const other = base && base !== target ? base.metrics[metric] : null;
    const beside = own.ratio !== undefined ? `${interval(own).trim()} of ${base ? base.name : "the baseline"}`
      : other && unit(metric) ? `×${(own.value / other.value).toFixed(2)} of ${base.name}` : other ? `${number(other.value, unit(metric))} in ${base.name}` : "";
    facts.push(h("div", {}, h("span", {}, metric), h("b", {}, number(own.value, unit(metric))), h("span", {}, beside), own.noisy ? h("div", { class: "worse" }, busy) : ""));
  }
  place.append(
    h("p", { class: "faint" }, "Ship"), h("div", { class: "name" }, chosen.name, target.platform ? h("span", { class: "faint" }, ` for ${target.platform}`) : ""),
    h("div", { class: "facts" }, facts), h("p", {}, `Why: ${chosen.reasons.join("; ")}.`));
  if (Object.keys(chosen.rivals).length)
    place.append(h("details", {}, h("summary", {}, "Why not the others"),
      h("ul", {}, Object.entries(chosen.rivals).map(([name, why]) => h("li", {}, h("b", {}, name), `: ${why}`)))));
  place.append(h("p", {}, h("button", { type: "button", onclick: () => open(chosen.name, true) }, `Look at ${chosen.name}`)));
}

/* ---- plot ---- */
const palette = ["#2b7de1", "#e07b1a", "#1d9a6c", "#c2457e", "#7a5cd6", "#6b7785", "#b59a00", "#0aa2b5"];
const platforms = [...new Set(data.targets.map((t) => t.platform || "no platform"))];
const colour = (t) => palette[platforms.indexOf(t.platform || "no platform") % palette.length];
const chosenPlatforms = new Set(platforms);

function options(select, first, extra) {
  const names = Object.keys(data.metrics);
  for (const name of [...names, ...(extra || [])]) select.append(h("option", { value: name, selected: name === first }, title(name)));
}
const visible = () => data.targets.filter((t) => chosenPlatforms.has(t.platform || "no platform") && (!$("only-front").checked || t.front));

function frontLine(points, x, y) {
  /* the points that no other beats in the two metrics shown */
  const sign = (m) => (direction(m) === "higher" ? -1 : 1);
  const beats = (a, b) => sign(x) * a.x <= sign(x) * b.x && sign(y) * a.y <= sign(y) * b.y && (a.x !== b.x || a.y !== b.y);
  return points.filter((p) => !points.some((q) => beats(q, p))).sort((a, b) => a.x - b.x);
}

/* A logarithmic axis where the values span more than it takes to hide the small ones. */
function scaled(name, metric, values) {
  const log = values.length > 1 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 4;
  const said = direction(metric) === "none" ? "" : `, ${direction(metric)} is better`;
  const middle = Math.sqrt(Math.max(...values) / Math.min(...values)) ** 0.2;
  plot.options.scales[name] = {
    type: log ? "logarithmic" : "linear", grace: log ? undefined : "15%", title: { display: true, text: title(metric) + said + (log ? " (logarithmic)" : "") },
    min: log ? Math.min(...values) / middle : undefined, max: log ? Math.max(...values) * middle : undefined,
    ticks: log ? { callback: (v) => ([1, 2, 5].includes(Number(String(v.toExponential())[0])) && String(v.toExponential()).length < 6 ? number(v, unit(metric)) : null) }
      : { callback: (v) => number(Number(v.toPrecision(6)), unit(metric)) },
  };
}

function draw() {
  const [x, y, r] = [$("x").value, $("y").value, $("r").value];
  const shown = visible().filter((t) => valueOf(t, x) !== null && valueOf(t, y) !== null);
  const greatest = Math.max(...shown.map((t) => valueOf(t, r) || 0), 1e-12);
  const points = shown.map((t) => ({ x: valueOf(t, x), y: valueOf(t, y), r: 6 + 22 * Math.sqrt((valueOf(t, r) || 0) / greatest), target: t }));
  const line = direction(x) === "none" || direction(y) === "none" ? [] : frontLine(points, x, y);
  plot.data.datasets = [
    { type: "bubble", data: points, backgroundColor: points.map((p) => colour(p.target) + "99"),
      borderColor: points.map((p) => (p.target.gates.some((g) => !g.ok) ? css("--bad") : line.includes(p) ? css("--ink") : colour(p.target))),
      borderWidth: points.map((p) => (line.includes(p) ? 3 : 1)) },
    { type: "line", data: line.map((p) => ({ x: p.x, y: p.y })), borderColor: css("--faint"), borderDash: [6, 4], borderWidth: 1.5, pointRadius: 0, fill: false },
  ];
  scaled("x", x, points.map((p) => p.x));
  scaled("y", y, points.map((p) => p.y));
  restyle(plot);
  plot.update();
  const names = line.map((p) => p.target.name).join(", ");
  $("plot-says").textContent = shown.length
    ? `Dashed: the front of ${y} and ${x}, which nothing beats in both: ${names || "none"}. Area: ${r}. Click a point to see its target.`
    : "No target has both of these metrics.";
  for (const row of $("table").querySelectorAll("tbody tr")) row.classList.toggle("hidden", !visible().some((t) => t.name === row.dataset.target));
}

const labels = {
  id: "labels",
  afterDatasetsDraw(chart) {
    const context = chart.ctx, taken = [];
    context.save();
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = css("--ink");
    context.strokeStyle = css("--card");
    context.lineWidth = 3;
    chart.getDatasetMeta(0).data.forEach((element, index) => {
      const point = chart.data.datasets[0].data[index], width = context.measureText(point.target.name).width;
      let left = element.x + point.r + 4, top = element.y;
      if (left + width > chart.chartArea.right) left = element.x - point.r - 4 - width;
      while (taken.some((o) => Math.abs(o.top - top) < 13 && left < o.left + o.width && o.left < left + width)) top += 13;
      taken.push({ left, top, width });
      context.strokeText(point.target.name, left, top + 4);
      context.fillText(point.target.name, left, top + 4);
    });
    context.restore();
  },
};

function trade() {
  const names = Object.keys(data.metrics);
  options($("x"), names.includes("latency") ? "latency" : names[0]);
  options($("y"), data.quality || names[1] || names[0]);
  options($("r"), names.includes("size") ? "size" : names[0]);
  for (const name of platforms)
    $("platforms").append(h("label", {}, h("input", { type: "checkbox", checked: true, value: name,
      onchange: (event) => { event.target.checked ? chosenPlatforms.add(name) : chosenPlatforms.delete(name); draw(); } }), ` ${name}`));
  for (const id of ["x", "y", "r", "only-front"]) $(id).addEventListener("change", draw);
  plot = new Chart($("plot"), {
    data: { datasets: [] }, plugins: [labels],
    options: {
      animation: false, maintainAspectRatio: false, layout: { padding: { top: 24, right: 30 } },
      scales: { x: { type: "linear" }, y: { type: "linear" } },
      plugins: { legend: { display: false }, tooltip: { filter: (item) => item.datasetIndex === 0, callbacks: { label: (item) => {
        const t = item.raw.target;
        return [t.name, ...[...new Set([$("x").value, $("y").value, $("r").value])].map((m) => `${m}: ${number(valueOf(t, m), unit(m))}`)];
      } } } },
      onClick: (_, items) => { const hit = items.find((i) => i.datasetIndex === 0); if (hit) open(plot.data.datasets[0].data[hit.index].target.name, true); },
      onHover: (event, items) => { event.native.target.style.cursor = items.length ? "pointer" : ""; },
    },
  });
  charts.push(plot);
}

/* ---- tables ---- */
const kind = (state) => (state === "published" ? "published" : state === "gate failed" ? "failed" : "warn");
function gatesSaid(t) {
  if (!t.gates.length) return "–";
  const ok = t.gates.filter((g) => g.ok).length;
  return h("span", { class: `badge ${ok === t.gates.length ? "pass" : "fail"}` }, ok === t.gates.length ? `${ok} met` : `${t.gates.length - ok} missed`);
}
function targetTable() {
  const preferred = [data.quality, "latency", "size", "macs"].filter((m) => m && data.metrics[m]);
  const names = [...new Set([...preferred, ...Object.keys(data.metrics)])];
  const columns = [["target", (t) => t.name], ["platform", (t) => t.platform || ""], ["gates", (t) => t.gates.filter((g) => !g.ok).length],
    ["state", (t) => t.state], ...names.map((m) => [m, (t) => valueOf(t, m)])];
  const body = h("tbody"), heads = [];
  columns.forEach(([name, key], index) => {
    const head = h("th", { scope: "col", class: index < 4 ? "text" : null, "aria-sort": "none" }, h("button", { type: "button", onclick: () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (a, b) => { const [p, q] = [key(byName[a.dataset.target]), key(byName[b.dataset.target])];
        return p === null ? 1 : q === null ? -1 : (p < q ? -1 : p > q ? 1 : 0) * (up ? 1 : -1); };
      body.append(...[...body.children].sort(order));
    } }, name));
    heads.push(head);
  });
  for (const t of data.targets) {
    const chosen = data.choice && data.choice.name === t.name;
    body.append(h("tr", { "data-target": t.name, class: chosen ? "chosen" : null },
      h("td", {}, h("button", { class: "link", type: "button", onclick: () => open(t.name, true) }, t.name), chosen ? " ★" : "", t.front ? h("span", { class: "faint", title: "on the front of quality, latency and size" }, " ◆") : "",
        t.warnings.length ? h("span", { class: "worse", title: t.warnings.map((w) => w.message).join("; ") }, " ⚠") : ""),
      h("td", { class: "text" }, t.platform || "–"), h("td", { class: "text" }, gatesSaid(t)),
      h("td", { class: "text" }, h("span", { class: `badge ${kind(t.state)}` }, t.state)),
      names.map((m) => h("td", {}, number(valueOf(t, m), unit(m)), t.metrics[m] && t.metrics[m].ratio !== undefined ? h("span", { class: "faint" }, interval(t.metrics[m])) : "",
        t.metrics[m] && t.metrics[m].noisy ? h("span", { class: "worse", title: busy }, " ≈") : ""))));
  }
  $("table").append(h("caption", { class: "faint", style: "text-align:left" }, "★ to ship   ◆ on the front of quality, latency and size   ⚠ warned about   ≈ measured on a busy machine   ×: ratio to the baseline, with its 95 % interval"),
    h("thead", {}, h("tr", {}, heads)), body);
}
function table(head, rows) {
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head.map((c) => h("th", { scope: "col" }, c)))), h("tbody", {}, rows)));
}
const row = (...cells) => h("tr", {}, cells.map((c) => (c instanceof Node && c.tagName === "TD" ? c : h("td", {}, c === null || c === undefined ? "–" : c))));
const spoken = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const params = (node) => Object.entries(node.params).map(([k, v]) => `${k}: ${spoken(v)}`).join(", ");
const seconds = (s) => (s === null ? "–" : s < 10 ? `${s.toFixed(2)} s` : `${s.toFixed(0)} s`);

/* ---- one target ---- */
function metricRows(t) {
  const base = byName[t.baseline] || null;
  const rows = Object.entries(t.metrics).map(([name, m]) => {
    const other = base && base !== t ? valueOf(base, name) : null, good = direction(name);
    const better = other === null || good === "none" || m.value === other ? "" : (m.value < other) === (good === "lower") ? "better" : "worse";
    const change = m.ratio !== undefined ? interval(m).trim() : other ? `×${(m.value / other).toFixed(3)}` : "–";
    return row(h("td", { title: (data.metrics[name] || {}).summary || "" }, name), number(m.value, unit(name)), number(other, unit(name)), change, h("td", { class: `text ${better}` }, better, m.noisy ? ` (${busy})` : ""));
  });
  for (const [name, why] of Object.entries(t.unmeasured)) rows.push(h("tr", {}, h("td", {}, name), h("td", { colspan: 4, class: "wrap faint" }, `not measured: ${why}`)));
  return table(["metric", t.name, base && base !== t ? base.name : "baseline", "ratio", ""], rows);
}
function classRows(rows) {
  return table(["class", "", "value", "baseline", "change", "samples"], Object.entries(rows).map(([name, c]) => {
    const change = c.base === null || c.value === null ? null : c.value - c.base, fell = change !== null && change <= -0.05;
    return row(name, h("td", { class: "text" }, h("span", { class: "track" }, h("span", { class: `bar ${fell ? "worse" : ""}`, style: `width:${100 * Math.max(0, Math.min(1, c.value || 0))}%` }))),
      number(c.value, ""), number(c.base, ""), h("td", { class: fell ? "worse" : "" }, change === null ? "–" : (change > 0 ? "+" : "") + change.toFixed(4)), c.n);
  }));
}
const limitSaid = (g) => `${g.metric} ${g.limit} ${g.bound}${g.against ? ` of ${g.against}` : ""}`;
function gateRows(t) {
  return table(["gate", "got", "margin", "verdict", ""], t.gates.map((g) => row(limitSaid(g),
    number(g.value, "") + (g.low != null ? ` [${g.low.toFixed(3)}–${g.high.toFixed(3)}]` : ""), number(g.margin, ""),
    h("span", { class: `badge ${g.ok ? "pass" : "fail"}` }, g.verdict), h("td", { class: "wrap" }, g.reason || ""))));
}
function tensorRows(per) {
  return table(["tensor", "numbers", "not zero", "zero"], Object.entries(per).map(([name, r]) => row(name, r.n, r.nonzero, `${(100 * (1 - r.nonzero / r.n)).toFixed(1)} %`)));
}
function historyPart(t) {
  const names = [...new Set(t.history.flatMap((e) => Object.keys(e.metrics)))];
  const select = h("select", { "aria-label": "metric of the history" }, names.map((n) => h("option", { value: n, selected: n === data.quality }, title(n))));
  const canvas = h("canvas", { role: "img", "aria-label": "history of the metric" });
  const when = (e) => new Date(1000 * e.time).toLocaleString();
  const place = h("div", {}, h("label", {}, "history of ", select), h("div", { class: "plot small" }, canvas),
    h("details", {}, h("summary", {}, "as a table"), table(["published", ...names], t.history.map((e) => row(when(e), ...names.map((n) => number(e.metrics[n], unit(n))))))));
  const show = () => {
    const chart = new Chart(canvas, { type: "line", data: { labels: t.history.map(when), datasets: [{ data: t.history.map((e) => e.metrics[select.value] ?? null), borderColor: css("--accent"), backgroundColor: css("--accent"), tension: 0 }] },
      options: { animation: false, maintainAspectRatio: false, scales: { x: { ticks: { maxTicksLimit: 6 } }, y: { grace: "10%" } }, plugins: { legend: { display: false } } } });
    restyle(chart); chart.update("none");
    return chart;
  };
  let chart = null;
  const redraw = () => { if (chart) { charts.splice(charts.indexOf(chart), 1); chart.destroy(); } chart = show(); charts.push(chart); };
  select.addEventListener("change", redraw);
  return [place, redraw, () => { if (chart) { charts.splice(charts.indexOf(chart), 1); chart.destroy(); chart = null; } }];
}
let leave = null;
function open(name, scroll) {
  const t = byName[name];
  for (const tab of $("tabs").children) {
    tab.setAttribute("aria-selected", tab.dataset.target === name);
    tab.tabIndex = tab.dataset.target === name ? 0 : -1;
  }
  if (leave) { leave(); leave = null; }
  const parts = [h("h3", { style: "margin-top:0;font-size:1.2em" }, name, " ", h("span", { class: `badge ${kind(t.state)}` }, t.state)),
    h("p", { class: "faint" }, `from ${t.source}${t.platform ? `, for ${t.platform}` : ""}${t.baseline ? `; baseline ${t.baseline}` : ""}${t.missing.length ? `; needs ${t.missing.join(", ")}` : ""}`),
    t.warnings.map((w) => h("p", { class: "warning", role: "note" }, `⚠ ${w.message}`)), h("h3", {}, "Metrics"), metricRows(t)];
  if (t.gates.length) parts.push(h("h3", {}, "Gates"), gateRows(t));
  parts.push(h("h3", {}, "Pipeline"), h("ol", {}, t.steps.map((s) => h("li", {}, h("b", {}, s.name), ` ${s.node}`, h("span", { class: "faint" },
    ` · ${s.kind} · ${s.status === "cached" ? "done" : s.status === "may run" ? "may run again" : "to run"}${s.seconds !== null ? ` · ${seconds(s.seconds)}` : ""}${s.size !== null ? ` · ${number(s.size, "B")}` : ""}`),
    params(s) ? h("details", {}, h("summary", {}, "parameters"), h("code", {}, params(s))) : ""))));
  for (const [metric, rows] of Object.entries(t.classes)) parts.push(h("details", { open: metric === data.quality }, h("summary", {}, `${metric} of each class`), classRows(rows)));
  const tensors = t.metrics.nonzeros && t.metrics.nonzeros.per_tensor;
  if (tensors) parts.push(h("details", {}, h("summary", {}, "sparsity of each tensor"), tensorRows(tensors)));
  let redraw = null;
  if (t.history.length) {
    const [place, drawing, closing] = historyPart(t);
    parts.push(h("h3", {}, "History"), place);
    redraw = drawing; leave = closing;
  }
  const logs = Object.entries(t.logs);
  if (logs.length) parts.push(h("h3", {}, "Logs"), logs.map(([node, text]) => h("details", {}, h("summary", {}, node), h("pre", { tabindex: 0 }, text))));
  if (t.provenance) parts.push(h("details", {}, h("summary", {}, "provenance"), table(["file", "SHA-256"], t.provenance.subjects.map((s) => row(s.name, h("code", {}, s.sha256)))),
    table(["node", "action key"], t.provenance.steps.map((s) => row(s.name, h("code", {}, s.key || ""))))));
  $("panel").replaceChildren(...parts.flat());
  $("panel").setAttribute("aria-label", name);
  if (redraw) redraw();
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  if (scroll) $("targets").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}
function tabs() {
  for (const t of data.targets)
    $("tabs").append(h("button", { type: "button", role: "tab", "data-target": t.name, "aria-controls": "panel", onclick: () => open(t.name) }, t.name));
  $("tabs").addEventListener("keydown", (event) => {
    const all = [...$("tabs").children], at = all.indexOf(document.activeElement), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = step ? (at + step + all.length) % all.length : event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : null;
    if (to === null || at < 0) return;
    event.preventDefault();
    all[to].focus();
    open(all[to].dataset.target);
  });
}

$("about").textContent = `${data.targets.length} targets · ${new Date(1000 * data.time).toLocaleString()}`;
$("foot").textContent = `compressbuild ${data.version}. Latency holds for the machine it was measured on; only ratios carry over.`;
choice();
targetTable();
if (Object.keys(data.metrics).length) { trade(); draw(); } else $("plot-says").textContent = "Nothing has been measured yet.";
tabs();
const asked = decodeURIComponent(location.hash.slice(1));
if (data.targets.length) open(byName[asked] ? asked : data.choice ? data.choice.name : data.targets[0].name);
$("nodes").append(h("thead", {}, h("tr", {}, ["node", "makes", "state", "time", "memory", "size"].map((c) => h("th", { scope: "col" }, c)))),
  h("tbody", {}, data.nodes.map((n) => row(n.node, n.kind, n.status, seconds(n.seconds), number(n.memory, "B"), number(n.size, "B")))));
root.dataset.ready = "yes";
