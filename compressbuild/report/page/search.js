/* ---- what a search tried ---- */
function searchPart(s) {
  const [x, y] = [s.across, s.up], named = Object.keys(s.objectives);
  const said = (metric) => metric + (s.relative.includes(metric) ? ", ratio to the baseline" : s.units[metric] ? ` (${s.units[metric]})` : "") + (s.objectives[metric] ? `, ${s.objectives[metric]}d` : "");
  const value = (trial, metric) => (metric in trial.values ? number(trial.values[metric], s.relative.includes(metric) ? "" : s.units[metric]) : "–");
  const metrics = [...new Set([...named, y, ...s.trials.flatMap((trial) => Object.keys(trial.limits))])].filter(Boolean);
  const labels = [...new Set(s.trials.flatMap((trial) => Object.keys(trial.parameters)))];
  const left = (text) => h("th", { scope: "col", class: "text" }, text);
  const rows = s.trials.map((trial) => h("tr", { class: trial.number === s.chosen ? "chosen" : null }, [`${trial.number}${trial.number === s.chosen ? " ★" : s.front.includes(trial.number) ? " ◆" : ""}`,
    ...labels.map((label) => (label in trial.parameters ? spoken(trial.parameters[label]) : "–")), ...metrics.map((metric) => value(trial, metric))].map((cell) => h("td", {}, cell)),
    h("td", { class: "text" }, h("span", { class: `badge ${{ feasible: "pass", infeasible: "fail" }[trial.state] || "warn"}` }, { feasible: "keeps the gates", infeasible: "misses a gate" }[trial.state] || "failed")), h("td", { class: "wrap" }, trial.reason)));
  const list = h("details", { open: s.trials.length <= 30 }, h("summary", {}, `${s.trials.length} trials`), table(["trial", ...labels, ...metrics, left("gates"), left("")], rows));
  const when = h("p", { class: "faint" }, `Searched ${new Date(1000 * s.time).toLocaleString()}; the numbers are of then. ★ chosen · ◆ on the Pareto front: no trial is better in one objective without being worse in another.`);
  const drawn = x && y ? s.trials.filter((trial) => x in trial.values && y in trial.values) : [];
  if (!drawn.length) return [h("div", {}, when, list), () => {}, () => {}];
  const canvas = h("canvas", { role: "img", "aria-label": `${y} against ${x} of the trials; the table below has the same values` });
  const at = (trial) => ({ x: trial.values[x], y: trial.values[y], trial });
  const set = (label, trials, colour, style, radius) => ({ label, data: trials.map(at), backgroundColor: colour, borderColor: colour, pointStyle: style, pointRadius: radius, pointHoverRadius: radius + 2, borderWidth: 2, showLine: false });
  const gates = (metric) => [...new Set(drawn.flatMap((trial) => trial.limits[metric] || []))];
  const config = () => {
    const chosen = drawn.filter((trial) => trial.number === s.chosen), kept = drawn.filter((trial) => trial.state === "feasible" && trial.number !== s.chosen);
    const front = s.front.map((id) => drawn.find((trial) => trial.number === id)).filter(Boolean);
    const span = (metric) => { const all = [...drawn.map((trial) => trial.values[metric]), ...gates(metric)]; return [Math.min(...all), Math.max(...all)]; };
    const [xs, ys] = [span(x), span(y)];
    const line = (label, points, dash, colour) => ({ label, data: points, showLine: true, borderColor: colour, backgroundColor: colour, borderDash: dash, borderWidth: 1.5, pointRadius: 0, fill: false });
    const limits = [...gates(x).map((g) => [{ x: g, y: ys[0] }, { x: g, y: ys[1] }]), ...gates(y).map((g) => [{ x: xs[0], y: g }, { x: xs[1], y: g }])].map((points) => line("gate", points, [2, 3], css("--bad")));
    return { type: "scatter", data: { datasets: [set("chosen", chosen, css("--good"), "star", 9), set("keeps the gates", kept, css("--accent"), "circle", 5), set("misses a gate", drawn.filter((trial) => trial.state !== "feasible"), css("--bad"), "crossRot", 6),
      ...(named.length > 1 && front.length > 1 ? [line("Pareto front", front.map(at), [6, 4], css("--faint"))] : []), ...limits] },
      options: { animation: false, maintainAspectRatio: false, scales: { x: { grace: "8%", title: { display: true, text: said(x) } }, y: { grace: "8%", title: { display: true, text: said(y) } } },
        plugins: { legend: { labels: { color: css("--ink"), usePointStyle: true, filter: (item, all) => item.text !== "gate" || all.datasets.findIndex((each) => each.label === "gate") === item.datasetIndex } },
          tooltip: { filter: (item) => Boolean(item.raw.trial), callbacks: { label: (item) => [`trial ${item.raw.trial.number}`, ...labels.map((label) => `${label}: ${spoken(item.raw.trial.parameters[label])}`), ...metrics.map((metric) => `${metric}: ${value(item.raw.trial, metric)}`)] } } } } };
  };
  const [redraw, close] = plotted(canvas, config);
  return [h("div", {}, when, h("div", { class: "plot small" }, canvas), list), redraw, close];
}
