const nameOf = (set) => `${set.field}, ${set.kind}`;
const look = (method, on) => {
  const style = report.methods[method];
  return {
    name: method, visible: on, mode: "lines+markers", line: { color: style.colour, dash: style.dash, width: 1.6 },
    marker: { color: style.colour, symbol: style.symbol, size: 6 },
  };
};
const bars = (values) => ({ type: "data", array: values.map((x) => (typeof x === "number" ? x : 0)), thickness: 1, width: 0 });
const finite = (values) => values.map((x) => (typeof x === "number" ? x : null));
const currentSet = () => report.spectra.find((set) => nameOf(set) === byId("spectra-set").value);

function bandTraces(band, on, axis, of) {
  return [2, 1].flatMap((sigmas) => [-1, 1].map((sign) => ({
    x: band.ell, y: band.mean.map((mean, i) => of(mean, mean + sign * sigmas * band.std[i])), yaxis: axis, visible: on,
    mode: "lines", line: { width: 0 }, hoverinfo: "skip", fill: sign > 0 ? "tonexty" : "none",
    fillcolor: "rgba(90,90,90,0.22)", name: `theories, ${sigmas}σ`,
  })));
}

function drawSpectra() {
  const set = currentSet();
  const { common, band } = set;
  const theory = byId("show-theory").checked;
  const truth = byId("show-truth").checked;
  const traces = [];
  if (band) {
    traces.push(...bandTraces(band, theory, "y", (mean, value) => Math.max(value, 1e-3 * mean)));
    traces.push(...bandTraces(band, theory, "y2", (mean, value) => value / mean));
  }
  const grey = { mode: "lines", line: { color: "#555", width: 1.5 }, visible: theory };
  traces.push({ ...grey, x: common.l_eff, y: common.d_theory, name: "theory" });
  for (const sign of [-1, 1]) {
    const y = common.cosmic_variance.map((x, i) => 1 + sign * x / common.d_theory[i]);
    traces.push({ x: common.l_eff, y, yaxis: "y2", mode: "lines", visible: theory, hoverinfo: "skip", name: "cosmic variance",
      line: { color: "#555", width: 1, dash: "dot", shape: "hvh" } });
  }
  let reach = 0.05;
  let [low, high] = [Infinity, 0];
  const span = (values) => { for (const x of values) if (typeof x === "number" && x > 0) [low, high] = [Math.min(low, x), Math.max(high, x)]; };
  const alone = Object.keys(set.methods).every((method) => isControl({ method }) || !switchedOn(method));
  const sets = (method) => alone || !isControl({ method });
  span(common.d_truth);
  span(common.d_theory);
  for (const [method, curve] of Object.entries(set.methods)) {
    const on = switchedOn(method);
    if (on && sets(method)) span(curve.d_prediction);
    const base = { ...look(method, on), x: curve.l_eff };
    traces.push({ ...base, y: finite(curve.d_prediction) });
    traces.push({ ...base, y: finite(curve.ratio), error_y: bars(curve.ratio_std), yaxis: "y2", showlegend: false });
    if (byId("show-residual").checked) {
      traces.push({ ...base, name: `${method}: residual`, mode: "lines", y: finite(curve.d_residual), line: { ...base.line, dash: "dot", width: 1.2 } });
    }
    if (on && sets(method)) reach = Math.max(reach, ...finite(curve.ratio).map((x) => Math.abs((x ?? 1) - 1)));
  }
  traces.push({ x: common.l_eff, y: common.d_truth, name: "truth", mode: "markers", visible: truth,
    marker: { symbol: "line-ew-open", color: "#000", size: 11, line: { width: 2 } } });
  const end = Math.min(1.15 * reach, 0.5);
  const top = Math.log10(1.7 * high);
  /* What lies beyond an axis is marked at its edge. */
  const marked = (curve, values, low_, high_, axis, style) => {
    const beyond = finite(values).map((y, i) => [curve.l_eff[i], y]).filter(([, y]) => y !== null && (y > high_ || y < low_));
    traces.push({ ...style, mode: "markers", yaxis: axis, showlegend: false, cliponaxis: false,
      x: beyond.map(([x]) => x), y: beyond.map(([, y]) => (y > high_ ? high_ : low_)), text: beyond.map(([, y]) => write(y)),
      marker: { color: style.line.color, size: 8, symbol: beyond.map(([, y]) => (y > high_ ? "triangle-up" : "triangle-down")) },
      hovertemplate: "ℓ %{x}: %{text}, beyond the axis" });
  };
  for (const [method, curve] of Object.entries(set.methods)) {
    const style = look(method, switchedOn(method));
    marked(curve, curve.ratio, 1 - end, 1 + end, "y2", style);
    if (high > 0 && !byId("show-residual").checked) marked(curve, curve.d_prediction.map((y) => (y > 0 ? y : null)), 0.6 * low, 10 ** top, "y", style);
  }
  drawPlot("plot-spectra", traces, {
    xaxis: { title: { text: "multipole ℓ" }, type: byId("spectra-axis").value, anchor: "y2" },
    yaxis: { title: { text: "D<sub>ℓ</sub> [µK²]" }, type: "log", domain: [0.38, 1], exponentformat: "none",
      ...(high > 0 && !byId("show-residual").checked ? { range: [Math.log10(0.6 * low), top] } : { autorange: true }) },
    yaxis2: { title: { text: "D<sub>ℓ</sub> / theory" }, domain: [0, 0.34], range: [1 - end, 1 + end] },
  });
  drawTransfer(set);
  if (byId("spectra-numbers").open) tabulate(set);
}

function drawTransfer(set) {
  const traces = [];
  for (const [method, curve] of Object.entries(set.methods)) {
    const base = { ...look(method, switchedOn(method)), x: curve.l_eff };
    const rest = finite(curve.correlation).map((r) => (r === null || r * r >= 1 ? null : 1 - r * r));
    traces.push({ ...base, y: finite(curve.transfer), error_y: bars(curve.transfer_std) });
    traces.push({ ...base, y: finite(curve.correlation), error_y: bars(curve.correlation_std), yaxis: "y2" });
    traces.push({ ...base, y: rest, yaxis: "y3" });
  }
  drawPlot("plot-transfer", traces, {
    xaxis: { title: { text: "multipole ℓ" }, type: byId("spectra-axis").value, anchor: "y3" },
    yaxis: { title: { text: "transfer" }, domain: [0.7, 1] },
    yaxis2: { title: { text: "r<sub>ℓ</sub>" }, domain: [0.36, 0.66] },
    yaxis3: { title: { text: "1 − r<sub>ℓ</sub>²" }, domain: [0, 0.32], type: "log", exponentformat: "power", dtick: 1 },
  });
}

const spectraTable = new SortedTable(byId("spectra-numbers").querySelector("table"), "l_eff", true);

function tabulate(set) {
  const rows = Object.entries(set.methods).flatMap(([method, curve]) => curve.l_eff.map((ell, i) => ({
    method, l_eff: ell, d_truth: set.common.d_truth[i], d_theory: set.common.d_theory[i], d_prediction: curve.d_prediction[i],
    d_prediction_std: curve.d_prediction_std[i], d_residual: curve.d_residual[i], transfer: curve.transfer[i], correlation: curve.correlation[i],
  }))).filter((row) => switchedOn(row.method));
  spectraTable.show([
    textColumn("Method", "method"), numberColumn("ℓ", "l_eff"), numberColumn("Theory (µK²)", "d_theory"), numberColumn("Truth (µK²)", "d_truth"),
    numberColumn("Prediction ± std (µK²)", "d_prediction", (row) => writePair(row.d_prediction, row.d_prediction_std)),
    numberColumn("Residual (µK²)", "d_residual"), numberColumn("Transfer", "transfer"), numberColumn("Correlation", "correlation", (row) => write(row.correlation, 6)),
  ], rows);
}

if (report.spectra.length) {
  const names = report.spectra.map(nameOf);
  fill(byId("spectra-set"), names, names.find((name) => name === "TT, master"));
  for (const id of ["spectra-set", "spectra-axis", "show-truth", "show-theory", "show-residual"]) byId(id).addEventListener("change", drawSpectra);
  byId("spectra-numbers").addEventListener("toggle", (event) => { if (event.target.open) tabulate(currentSet()); });
  listeners.push(drawSpectra);
  drawSpectra();
} else {
  byId("spectra-body").hidden = true;
  byId("transfer").hidden = true;
  byId("spectra-none").hidden = false;
}
