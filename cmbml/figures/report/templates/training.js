const trainingTable = new SortedTable(byId("training-table"), "valid_rmse_uk", true);
const share = (value) => (Number.isNaN(number(value)) ? "–" : `${write(100 * value, 2)} %`);

function showTraining() {
  const rows = report.training.filter((row) => switchedOn(row.method));
  trainingTable.show([
    methodColumn,
    numberColumn("Parameters", "n_parameters", (row) => (row.n_parameters ? row.n_parameters.toLocaleString("en") : "–")),
    numberColumn("Samples", "samples"),
    numberColumn("Epochs", "epochs"),
    numberColumn("Kept epoch", "kept_epoch"),
    numberColumn("Validation RMSE, whole sky (µK)", "valid_rmse_uk"),
    textColumn("Device", "device", (row) => row.device || "–"),
    numberColumn("Training (s)", "seconds", (row) => write(row.seconds, 3)),
    numberColumn("Maps per second", "maps_per_second", (row) => write(row.maps_per_second, 3)),
    numberColumn("Waiting for data", "waiting_for_data", (row) => share(row.waiting_for_data)),
  ], rows);
  const traces = rows.flatMap(({ method, kept_epoch: kept, curve }) => {
    const { colour, symbol } = report.methods[method];
    const marks = (size) => ({ color: colour, symbol, size: curve.epoch.map((epoch) => (epoch === kept ? 11 : size)) });
    const line = (y, dash, axis, name) => ({
      x: curve.epoch, y: finite(y), yaxis: axis, mode: "lines+markers", line: { color: colour, dash, width: 1.6 }, marker: marks(3),
      name: method, showlegend: false, hovertemplate: `${name}, epoch %{x}: %{y:.4g}<extra></extra>`,
    });
    return [
      { ...line(curve.train_loss, "solid", "y", `${method}, training`), showlegend: true },
      line(curve.valid_loss, "dash", "y", `${method}, validation`),
      line(curve.valid_rmse_uk, "dash", "y2", `${method}, validation`),
    ];
  });
  const longest = Math.max(1, ...rows.map(({ curve }) => curve.epoch.length));
  const legend = [["training", "solid"], ["validation", "dash"]].map(([name, dash]) => ({ name, mode: "lines", x: [null], y: [null], line: { color: "#1a1a1a", dash, width: 1.6 } }));
  drawPlot("plot-training", [...legend, ...traces], {
    xaxis: { title: { text: "epoch" }, anchor: "y2", tick0: 1, dtick: Math.max(1, Math.round(longest / 8)) },
    yaxis: { title: { text: "loss (normalised)" }, type: "log", domain: [0.55, 1], exponentformat: "none" },
    yaxis2: { title: { text: "RMSE, validation,<br>whole sky [µK]" }, type: "log", domain: [0, 0.45], exponentformat: "none" },
    showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
  });
}

listeners.push(showTraining);
showTraining();
