const skyPlaces = ["footing", "field", "region", "metric"];
const methodNames = Object.keys(report.methods);
const skyRows = unpacked(report.generalisation).sort((a, b) => methodNames.indexOf(a.method) - methodNames.indexOf(b.method));
const skyTable = new SortedTable(byId("sky-table"), "ratio", true);
const knownSplit = skyRows[0].reference_split;
const openSymbols = ["square-open", "diamond-open", "triangle-up-open", "triangle-down-open"];
const colourOf = (row) => report.methods[row.method].colour;

function showSkies() {
  const chosen = Object.fromEntries(skyPlaces.map((name) => [name, byId(`sky-${name}`).value]));
  const rows = skyRows.filter((row) => skyPlaces.every((name) => row[name] === chosen[name]) && switchedOn(row.method));
  const splits = [...new Set(skyRows.map((row) => row.split))];
  const unit = metricName(chosen.metric);
  skyTable.show([
    methodColumn,
    ...(splits.length > 1 ? [textColumn("Split", "split")] : []),
    numberColumn(`${knownSplit}, mean ± std`, "reference", (row) => writePair(row.reference, row.reference_std)),
    numberColumn(`${splits.length > 1 ? "other" : splits[0]}, mean ± std`, "mean", (row) => writePair(row.mean, row.std)),
    numberColumn("Ratio [95 %]", "ratio", (row) => {
      const interval = Number.isNaN(number(row.ratio_low)) ? "" : ` [${write(row.ratio_low, 3)}, ${write(row.ratio_high, 3)}]`;
      return write(row.ratio, 3) + interval;
    }),
    numberColumn("Simulations", "n", (row) => `${row.n_reference}, ${row.n}`),
  ], rows, (row) => (isControl(row) ? "control" : ""), isControl);
  const points = (split, value, symbol, of) => ({
    mode: "markers", x: finite(of.map((row) => row[value])), y: of.map((row) => row.method), showlegend: false,
    marker: { symbol, size: 10, color: of.map((row) => colourOf(row)), line: { width: 2, color: of.map((row) => colourOf(row)) } },
    hovertemplate: `${split}: %{x}<extra>%{y}</extra>`,
  });
  const symbols = new Map([[knownSplit, "circle"], ...splits.map((split, i) => [split, openSymbols[i % openSymbols.length]])]);
  const legend = [...symbols].map(([name, symbol]) => ({ name, mode: "markers", x: [null], y: [null], marker: { symbol, size: 10, color: "#1a1a1a", line: { width: 2 } } }));
  const links = rows.map((row) => ({
    mode: "lines", x: [row.reference, row.mean], y: [row.method, row.method], line: { color: colourOf(row), width: 1.5 }, hoverinfo: "skip", showlegend: false,
  }));
  const others = splits.map((split) => points(split, "mean", symbols.get(split), rows.filter((row) => row.split === split)));
  const values = rows.flatMap((row) => [number(row.reference), number(row.mean)]);
  const wide = Math.max(...values) > 20 * Math.min(...values);
  const height = 130 + 46 * Math.max(new Set(rows.map((row) => row.method)).size, 2);
  byId("plot-generalisation").style.height = `${height}px`;
  drawPlot("plot-generalisation", [...legend, ...links, points(knownSplit, "reference", "circle", rows), ...others], {
    xaxis: { title: { text: unit }, type: wide ? "log" : "linear", rangemode: "tozero" },
    yaxis: { autorange: "reversed", type: "category", gridcolor: "#fff" },
    showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, height,
  });
}

for (const name of skyPlaces) {
  const select = byId(`sky-${name}`);
  fill(select, report.generalisation.words[name], preferred[name], (value) => (name === "metric" ? metricName(value) : value));
  select.addEventListener("change", showSkies);
}
listeners.push(showSkies);
showSkies();
