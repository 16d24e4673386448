let plot = null;
const byName = Object.fromEntries(data.targets.map((t) => [t.name, t]));
const valueOf = (target, metric) => {
  const found = target.metrics[metric];
  return found && found.value !== null ? found.value : null;
};

/* ---- what to ship ---- */
const times = (ratio, good, bad) => (ratio < 1 ? `${(1 / ratio).toFixed(1)} times ${good}` : `${ratio.toFixed(1)} times ${bad}`);
/* What a target is beside its baseline, in a sentence. */
function beside(target, base) {
  const { [data.quality]: quality, [data.speed]: speed } = target.metrics, said = [];
  if (quality && quality.paired) said.push(quality.paired.verdict === "no difference shown" ? `no difference in ${data.quality} shown` : `${quality.paired.verdict} ${data.quality}`);
  if (speed && speed.ratio !== undefined) said.push(speed.ratio_low <= 1 && speed.ratio_high >= 1 ? "about as fast" : times(speed.ratio, "as fast", "slower"));
  if (target.size && base.size) said.push(target.size === base.size ? "of the same size" : times(target.size / base.size, "smaller", "larger"));
  return said.length ? h("p", { class: "lead" }, `Beside ${base.name}: ${said.join(", ")}.`) : "";
}
const busy = "measured on a busy machine: --remeasure";
function choice() {
  const place = $("choice");
  if (!data.choices.length) {
    place.className = "none";
    place.append(h("h2", {}, "No artifact to ship"), h("p", {}, `${data.unshipped[0].toUpperCase()}${data.unshipped.slice(1)}.`));
    return;
  }
  place.append(...data.choices.map(shipped));
  const said = data.choices.flatMap((chosen) => [chosen.name, ...Object.keys(chosen.rivals)]);
  const left = data.targets.filter((t) => t.platform && !said.includes(t.name));
  const unknown = (t) => [data.quality, data.speed].filter((m) => valueOf(t, m) === null);
  const reason = (t) => (t.published && unknown(t).length ? `${unknown(t).join(" and ")} not measured` : t.published && t.state === "published" ? `no ${data.speed} beside the others` : t.state);
  if (left.length) place.append(h("p", { class: "faint" }, `Not compared: ${left.map((t) => `${t.name} (${reason(t)})`).join(", ")}.`));
}
/* What to ship on one platform, and why. */
function shipped(chosen) {
  const target = byName[chosen.name], base = byName[target.baseline];
  const facts = [];
  for (const metric of [data.quality, data.speed]) {
    const own = target.metrics[metric];
    if (!own) continue;
    const other = base && base !== target ? base.metrics[metric] : null;
    const beside = own.ratio !== undefined ? `${interval(own).trim()} of ${base ? base.name : "the baseline"}`
      : other && unit(metric) ? `×${(own.value / other.value).toFixed(2)} of ${base.name}` : other ? `${number(other.value, unit(metric))} in ${base.name}` : "";
    facts.push(h("div", { title: data.metrics[metric].summary }, h("span", {}, metric), h("b", {}, number(own.value, unit(metric))), h("span", {}, beside), own.noisy ? h("div", { class: "worse" }, busy) : ""));
  }
  if (target.size) facts.push(h("div", { title: "bytes of the artifact" }, h("span", {}, "size"), h("b", {}, number(target.size, "B")), h("span", {}, base && base !== target && base.size ? `×${(target.size / base.size).toFixed(2)} of ${base.name}` : "")));
  const rivals = Object.entries(chosen.rivals);
  return h("div", { class: "shipped" },
    h("div", { class: "name" }, h("span", { class: "faint" }, "Ship "), chosen.name, target.platform ? h("span", { class: "faint" }, ` on platform ${target.platform}`) : ""),
    base && base !== target ? beside(target, base) : "", h("div", { class: "facts" }, facts), h("p", {}, `Why: ${chosen.reasons.join("; ")}.`),
    chosen.remarks.map((said) => h("p", { class: "warning", role: "note" }, `But: ${said}.`)),
    target.state === "out of date" ? h("p", { class: "warning", role: "note" }, `⚠ This was published. What it is made from has changed since: 'cbuild why ${chosen.name}'.`) : "",
    rivals.length ? h("details", { open: rivals.length <= 8 }, h("summary", {}, "Why not the others"), h("ul", {}, rivals.map(([name, why]) => h("li", {}, h("b", {}, name), `: ${why}`)))) : "",
    h("p", {}, h("button", { type: "button", onclick: () => open(chosen.name, true) }, `Look at ${chosen.name}`)));
}
const isShipped = (t) => data.choices.some((chosen) => chosen.name === t.name);

/* ---- plot ---- */
const palette = ["#2b7de1", "#e07b1a", "#1d9a6c", "#c2457e", "#7a5cd6", "#6b7785", "#b59a00", "#0aa2b5"];
const platforms = [...new Set(data.targets.map((t) => t.platform || "no platform"))];
const colour = (t) => palette[platforms.indexOf(t.platform || "no platform") % palette.length];
const chosenPlatforms = new Set(platforms);

const wrong = (t) => t.gates.some((g) => !g.ok) || t.warnings.some((w) => w.kind === "class-collapsed");

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

/* What is drawn of a metric: of what is measured side by side its ratio to the baseline, which is 1 for that itself. */
const byRatio = (metric) => metric === data.speed && data.targets.some((t) => t.metrics[metric] && t.metrics[metric].ratio !== undefined);
function drawnOf(t, metric) {
  const m = t.metrics[metric];
  if (!byRatio(metric)) return valueOf(t, metric);
  return m === undefined || m.value === null ? null : m.ratio !== undefined ? m.ratio : data.targets.some((o) => o.baseline === t.name) ? 1 : null;
}
/* A logarithmic axis where the values span more than it takes to hide the small ones. */
function scaled(name, metric, values) {
  const ratio = byRatio(metric), u = ratio ? "" : unit(metric);
  const share = direction(metric) === "higher" && Math.max(...values) <= 1;
  const log = !share && values.length > 1 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 4;
  const least = Math.min(...values), most = Math.max(...values), room = Math.max(most - least, 0.01);
  const said = direction(metric) === "none" ? "" : `, ${direction(metric)} is better`;
  const middle = Math.sqrt(Math.max(...values) / Math.min(...values)) ** 0.2;
  plot.options.scales[name] = {
    type: log ? "logarithmic" : "linear", grace: log || share ? undefined : "15%", title: { display: true, text: (ratio ? `${metric}, ratio to the baseline` : title(metric)) + said + (log ? " (logarithmic)" : "") },
    min: log ? least / middle : share ? Math.max(0, least - 0.15 * room) : undefined, max: log ? most * middle : share ? most + 0.15 * room : undefined,
    ticks: log ? { callback: (v) => ([1, 2, 5].includes(Number(String(v.toExponential())[0])) && String(v.toExponential()).length < 6 ? number(v, u) : null) }
      : { callback: (v) => (share && v > 1 ? null : number(Number(v.toPrecision(share ? 3 : 6)), u)) },
  };
}

function draw() {
  const [x, y, r] = [$("x").value, $("y").value, $("r").value];
  const shown = visible().filter((t) => drawnOf(t, x) !== null && drawnOf(t, y) !== null);
  const greatest = Math.max(...shown.map((t) => valueOf(t, r) || 0), 1e-12), room = Math.min(22, $("plot").clientWidth / 40);
  const points = shown.map((t) => ({ x: drawnOf(t, x), y: drawnOf(t, y), r: 6 + room * Math.sqrt((valueOf(t, r) || 0) / greatest), target: t }));
  const line = direction(x) === "none" || direction(y) === "none" ? [] : frontLine(points, x, y);
  plot.data.datasets = [
    { type: "bubble", data: points, clip: false, backgroundColor: points.map((p) => colour(p.target) + "99"),
      borderColor: points.map((p) => (wrong(p.target) ? css("--bad") : isShipped(p.target) ? css("--good") : line.includes(p) ? css("--ink") : colour(p.target))),
      borderWidth: points.map((p) => (isShipped(p.target) ? 5 : line.includes(p) ? 3 : 1)) },
    { type: "line", data: line.map((p) => ({ x: p.x, y: p.y })), borderColor: css("--faint"), borderDash: [6, 4], borderWidth: 1.5, pointRadius: 0, fill: false },
  ];
  scaled("x", x, points.map((p) => p.x));
  scaled("y", y, points.map((p) => p.y));
  restyle(plot);
  plot.update();
  const names = line.map((p) => p.target.name).join(", ");
  $("plot-says").textContent = shown.length
    ? `Dashed: no other is better in both ${y} and ${x}: ${names || "none"}. The bubble's area is the ${r}.${shown.some(wrong) ? " Red ring: a gate missed, or a class or slice collapsed." : ""} ${shown.some(isShipped) ? "Green ring and ★: recommended." : ""}${byRatio(x) || byRatio(y) ? " Bars: the 95 % interval of the ratio." : ""} Click a point to see its target.`
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
      const point = chart.data.datasets[0].data[index], name = point.target.name + (isShipped(point.target) ? " ★" : ""), width = context.measureText(name).width;
      let left = element.x + point.r + 4, top = element.y;
      if (left + width > chart.chartArea.right) left = element.x - point.r - 4 - width;
      const lies = (o) => Math.abs(o.top - top) < 13 && left < o.left + o.width && o.left < left + width;
      for (let tries = 1; tries < 40 && taken.some(lies); tries++) top = element.y + 13 * Math.ceil(tries / 2) * (tries % 2 ? 1 : -1);
      taken.push({ left, top, width });
      if (top !== element.y) { /* which point it is of */
        context.save();
        context.strokeStyle = css("--faint"); context.lineWidth = 1;
        context.beginPath(); context.moveTo(element.x, element.y); context.lineTo(left < element.x ? left + width : left - 1, top); context.stroke();
        context.restore();
      }
      context.strokeText(name, left, top + 4);
      context.fillText(name, left, top + 4);
    });
    context.restore();
  },
};

/* The 95 % interval of a ratio, through its point. */
const intervals = {
  id: "intervals",
  beforeDatasetsDraw(chart) {
    const context = chart.ctx;
    context.save();
    context.strokeStyle = css("--faint");
    context.lineWidth = 1.5;
    for (const point of chart.data.datasets[0]?.data ?? [])
      for (const axis of ["x", "y"]) {
        const metric = $(axis).value, m = point.target.metrics[metric];
        if (!byRatio(metric) || !m || m.ratio_low == null) continue;
        const at = (v, a) => chart.scales[a].getPixelForValue(v), [from, to] = [at(m.ratio_low, axis), at(m.ratio_high, axis)];
        context.beginPath();
        if (axis === "x") { context.moveTo(from, at(point.y, "y")); context.lineTo(to, at(point.y, "y")); } else { context.moveTo(at(point.x, "x"), from); context.lineTo(at(point.x, "x"), to); }
        context.stroke();
      }
    context.restore();
  },
};

function trade() {
  const names = Object.keys(data.metrics);
  const costs = names.filter((m) => data.metrics[m].role === "cost" && m !== data.speed);
  options($("x"), data.speed || names[0]);
  options($("y"), data.quality || names[1] || names[0]);
  options($("r"), costs[0] || names[0]);
  for (const name of platforms)
    $("platforms").append(h("label", {}, h("input", { type: "checkbox", checked: true, value: name,
      onchange: (event) => { event.target.checked ? chosenPlatforms.add(name) : chosenPlatforms.delete(name); draw(); } }), h("span", { class: "swatch", style: `background:${palette[platforms.indexOf(name) % palette.length]}` }), name));
  for (const id of ["x", "y", "r", "only-front"]) $(id).addEventListener("change", draw);
  plot = new Chart($("plot"), {
    data: { datasets: [] }, plugins: [intervals, labels],
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
  painted.push(draw);
}

/* ---- tables ---- */
const kind = (state) => (state === "published" ? "published" : state === "gate failed" ? "failed" : "warn");
function gatesSaid(t) {
  if (!t.gates.length) return "–";
  const ok = t.gates.filter((g) => g.ok).length;
  return h("span", { class: `badge ${ok === t.gates.length ? "pass" : "fail"}` }, ok === t.gates.length ? `${ok} met` : `${t.gates.length - ok} missed`);
}

/* A warning in two or three words. */
function warned(w) {
  const one = w.rows || "class", many = /(s|x|ch|sh)$/.test(one) ? `${one}es` : `${one}s`;
  if (w.kind === "class-collapsed") return `${w.classes.length === 1 ? one : `${w.classes.length} ${many}`} collapsed`;
  return w.kind === "smaller-not-faster" ? (/but slower/.test(w.message) ? "smaller but slower" : "smaller, not faster") : w.kind.replaceAll("-", " ");
}
function targetTable() {
  const names = Object.keys(data.metrics);
  const columns = [["target", (t) => t.name], ...names.map((m) => [m, (t) => valueOf(t, m)]), ["gates", (t) => t.gates.filter((g) => !g.ok).length],
    ["state", (t) => t.state], ["warnings", (t) => -t.warnings.length], ["platform", (t) => t.platform || ""]];
  const body = h("tbody"), heads = [];
  columns.forEach(([name, key], index) => {
    const head = h("th", { scope: "col", class: index === 0 || index > names.length ? "text" : null, "aria-sort": "none" }, h("button", { type: "button", onclick: () => {
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
    const chosen = isShipped(t);
    body.append(h("tr", { "data-target": t.name, class: chosen ? "chosen" : null },
      h("td", {}, h("button", { class: "link", type: "button", onclick: () => open(t.name, true) }, t.name), chosen ? " ★" : "", t.front ? h("span", { class: "faint", title: "no other is better in quality, speed and size at once" }, " ◆") : "",
        t.warnings.length ? h("span", { class: "worse", title: t.warnings.map((w) => w.message).join("; ") }, " ⚠") : ""),
      names.map((m) => h("td", {}, number(valueOf(t, m), unit(m)), t.metrics[m] && t.metrics[m].noisy ? h("span", { class: "worse", title: busy }, " ≈") : "", t.metrics[m] && t.metrics[m].ratio !== undefined ? h("div", { class: "faint small" }, interval(t.metrics[m]).trim()) : "")),
      h("td", { class: "text" }, gatesSaid(t)), h("td", { class: "text" }, h("span", { class: `badge ${kind(t.state)}` }, t.state)),
      h("td", { class: "text" }, t.warnings.map((w) => h("span", { class: `badge ${w.kind === "class-collapsed" ? "fail" : "warn"}`, title: w.message }, warned(w)))),
      h("td", { class: "text" }, t.platform || "–")));
  }
  $("table").append(h("thead", {}, h("tr", {}, heads)), body);
}
const made = data.commit ? ` · commit ${data.commit.id.slice(0, 12)}${data.commit.changed ? `, and ${data.commit.changed} changed file${data.commit.changed > 1 ? "s" : ""}` : ""}` : "";
$("about").textContent = `${data.targets.length} targets · ${new Date(1000 * data.time).toLocaleString()}${made}`;
$("about").title = data.commit ? data.commit.id : "";
const host = Object.entries(data.machine || {}).map(([name, value]) => (name === "cores" ? `${value} cores` : value)).join(", ");
$("foot").textContent = `compressbuild ${data.version}${host ? `, on ${host}` : ""}. Times hold for the machine they were measured on; only ratios carry over.`;
const drawing = document.querySelector(".graph svg"), fit = () => drawing.classList.toggle("fit", $("fit").checked);
$("fit").checked = drawing.viewBox.baseVal.width < 1700;
$("fit").addEventListener("change", fit);
fit();
choice();
targetTable();
if (Object.keys(data.metrics).length) { trade(); draw(); } else $("plot-says").textContent = "Nothing has been measured yet.";
tabs();
const asked = decodeURIComponent(location.hash.slice(1));
if (data.targets.length) open(byName[asked] ? asked : data.choices.length ? data.choices[0].name : data.targets[0].name);
$("nodes").append(h("thead", {}, h("tr", {}, ["node", "makes", "state", "time", "memory", "size"].map((c) => h("th", { scope: "col" }, c)))),
  h("tbody", {}, data.nodes.map((n) => row(n.node, n.kind, n.status, seconds(n.seconds), number(n.memory, "B"), number(n.size, "B")))));
root.dataset.ready = "yes";
