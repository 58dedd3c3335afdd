const ALL = "(all)";
const places = ["footing", "field", "region", "metric"];
const metricName = (name) => report.metrics[name] || name;
const summary = unpacked(report.summary);
const preferred = report.decisive;
const headings = { footing: "Footing", field: "Field", region: "Region", metric: "Metric" };

const scoreTable = new SortedTable(byId("score-table"), "rank", true, (text) => { byId("score-status").textContent = text; });

function showScores() {
  const chosen = Object.fromEntries(places.map((name) => [name, byId(`score-${name}`).value]));
  const rows = summary.filter((row) => places.every((name) => chosen[name] === ALL || row[name] === chosen[name]));
  const shown = places.filter((name) => chosen[name] === ALL);
  const columns = [
    methodColumn,
    ...shown.map((name) => textColumn(headings[name], name, (row) => (name === "metric" ? metricName(row.metric) : row[name]))),
    { ...numberColumn("Rank", "rank", (row) => (row.rank ? String(row.rank) : "–")), value: (row) => row.rank || NaN },
    numberColumn("Mean ± std", "mean", (row) => writePair(row.mean, row.std)),
    numberColumn("Perfect map", "floor"),
    numberColumn("Noise alone", "noise_floor"),
    numberColumn("Difference to best [95 %]", "difference", (row) => {
      const interval = Number.isNaN(number(row.ci_low)) ? "" : ` [${write(row.ci_low, 3)}, ${write(row.ci_high, 3)}]`;
      return write(row.difference, 3) + interval;
    }),
    numberColumn("Simulations", "n"),
    numberColumn("Training (s)", "train_seconds", (row) => write(row.train_seconds, 3)),
    numberColumn("Cleaning (s)", "inference_seconds", (row) => write(row.inference_seconds, 3)),
  ];
  scoreTable.show(columns, rows, (row) => (isControl(row) ? "control" : row.rank === 1 ? "best" : ""), isControl);
}

for (const name of places) {
  const select = byId(`score-${name}`);
  fill(select, [...report.summary.words[name], ALL], preferred[name], (value) => (name === "metric" ? metricName(value) : value));
  select.addEventListener("change", showScores);
}
showScores();
