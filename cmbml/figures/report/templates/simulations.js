const simPlaces = ["footing", "field", "region"];
const simTable = new SortedTable(byId("sim-table"), "simulation", true);
const outlierTable = new SortedTable(byId("outlier-table"), "size", false);
const hasMaps = (method, simulation) => report.maps.some((maps) => maps.method === method && maps.simulation === simulation);

function mapLink(method, simulation, text, footing) {
  const link = element("a", { href: "#maps", textContent: text });
  link.addEventListener("click", () => showMaps(simulation, method, footing));
  return link;
}

function showSimulations() {
  const chosen = Object.fromEntries([...simPlaces, "metric"].map((name) => [name, byId(`sim-${name}`).value]));
  const { metric } = chosen;
  const here = report.simulations.filter((row) => simPlaces.every((name) => row[name] === chosen[name]) && row.values[metric]);
  const odd = new Map(report.outliers
    .filter((row) => row.metric === metric && simPlaces.every((name) => row[name] === chosen[name]))
    .map((row) => [JSON.stringify([row.method, row.simulation]), row.z]));
  const rows = new Map();
  for (const own of here) {
    own.names.forEach((simulation, i) => {
      if (!rows.has(simulation)) rows.set(simulation, { simulation });
      rows.get(simulation)[`at ${own.method}`] = own.values[metric][i];
    });
  }
  const shown = Object.keys(report.methods).filter((method) => switchedOn(method) && here.some((own) => own.method === method));
  const columns = shown.map((method) => ({
    ...numberColumn(method, `at ${method}`),
    cell: (row, cell) => {
      const value = row[`at ${method}`];
      const z = odd.get(JSON.stringify([method, row.simulation]));
      const text = write(value) + (z === undefined ? "" : ` (z ${write(z, 2)})`);
      if (z !== undefined) cell.classList.add("odd");
      cell.append(value !== undefined && hasMaps(method, row.simulation) ? mapLink(method, row.simulation, text, chosen.footing) : text);
    },
  }));
  simTable.show([textColumn("Simulation", "simulation"), ...columns], [...rows.values()]);
  drawDistribution(here.filter((own) => shown.includes(own.method)), chosen);
}

function drawDistribution(here, chosen) {
  const traces = here.map((own) => ({
    type: "box", orientation: "h", name: own.method, x: finite(own.values[chosen.metric]), text: own.names, boxpoints: "all", pointpos: 0, jitter: 0,
    hovertemplate: "%{text}: %{x}<extra></extra>", marker: { color: report.methods[own.method].colour, size: 6, symbol: report.methods[own.method].symbol },
    line: { width: 1.2 },
  }));
  for (const [key, symbol, colour, label] of [["floor", "line-ns-open", "#000", "perfect map"], ["noise_floor", "line-ns-open", "#777", "noise alone"]]) {
    const rows = summary.filter((row) => row.metric === chosen.metric && simPlaces.every((name) => row[name] === chosen[name])
      && here.some((own) => own.method === row.method) && Number.isFinite(number(row[key])));
    traces.push({ mode: "markers", name: label, x: rows.map((row) => row[key]), y: rows.map((row) => row.method), marker: { symbol, color: colour, size: 22, line: { width: 2 } },
      hovertemplate: `${label}: %{x}<extra></extra>` });
  }
  const height = 110 + 46 * Math.max(here.length, 2);
  byId("plot-scores").style.height = `${height}px`;
  drawPlot("plot-scores", traces, {
    xaxis: { title: { text: metricName(chosen.metric) } },
    yaxis: { autorange: "reversed", type: "category", gridcolor: "#fff" },
    height,
  });
}

function showOutliers() {
  const worst = new Map();
  for (const row of report.outliers) {
    const key = JSON.stringify([row.method, row.simulation]);
    if (!worst.has(key)) worst.set(key, { ...row, size: Math.abs(number(row.z)), count: 0 });
    worst.get(key).count += 1;
  }
  byId("outlier-status").textContent = worst.size ? `${worst.size} map${worst.size > 1 ? "s" : ""} with outlying scores${report.n_outliers > report.outliers.length ? `, of the ${report.outliers.length} scores farthest out of ${report.n_outliers}` : ""}` : "There are none.";
  byId("outlier-table").hidden = !worst.size;
  outlierTable.show([
    textColumn("Method", "method"), textColumn("Simulation", "simulation"), numberColumn("Robust z", "size", (row) => write(row.z, 3)),
    textColumn("Metric", "metric", (row) => metricName(row.metric)), textColumn("Footing", "footing"), textColumn("Field", "field"), textColumn("Region", "region"),
    numberColumn("Value", "value"), numberColumn("Scores beyond", "count", (row) => String(row.count)),
    { ...textColumn("Maps", "maps", (row) => (hasMaps(row.method, row.simulation) ? "a" : "b")), cell: (row, cell) => {
      cell.append(hasMaps(row.method, row.simulation) ? mapLink(row.method, row.simulation, "see the maps", row.footing) : "not in this page");
    } },
  ], [...worst.values()]);
}

if (report.simulations.length) {
  const present = (name) => [...new Set(report.simulations.map((row) => row[name]))];
  const metrics = Object.keys(report.metrics).filter((name) => report.simulations.some((row) => row.values[name]));
  for (const [name, values] of [...simPlaces.map((name) => [name, present(name)]), ["metric", metrics]]) {
    fill(byId(`sim-${name}`), values, preferred[name], (value) => (name === "metric" ? metricName(value) : value));
    byId(`sim-${name}`).addEventListener("change", showSimulations);
  }
  listeners.push(showSimulations);
  showSimulations();
  showOutliers();
} else {
  byId("simulations").hidden = true;
}
