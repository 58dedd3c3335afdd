const report = JSON.parse(document.getElementById("content").textContent);
const byId = (id) => document.getElementById(id);
const number = (value) => (value === "inf" ? Infinity : value === "-inf" ? -Infinity : value === null || value === undefined ? NaN : value);
const listeners = [];
const isControl = (row) => report.controls.includes(row.method);
const plotSettings = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] };

/* The rows of a table that came by columns, words as places in lists of them. */
function unpacked({ words, columns }) {
  return columns.method.map((_, i) => Object.fromEntries(
    Object.entries(columns).map(([name, column]) => [name, words[name] ? words[name][column[i]] : column[i]])));
}

function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in made && name !== "scope") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function write(value, digits = 4) {
  const x = number(value);
  if (Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text = size < 1e-3 || size >= 1e6 ? x.toExponential(digits - 2) : String(Number(x.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

/* As many decimals for both as show two digits of the spread. */
function writePair(mean, spread) {
  const [x, s] = [number(mean), number(spread)];
  if (!Number.isFinite(s)) return write(x);
  const decimals = s > 0 ? 1 - Math.floor(Math.log10(s)) : -1;
  if (decimals < 0 || decimals > 5 || !Number.isFinite(x)) return `${write(x)} ± ${write(s, 2)}`;
  return `${x.toFixed(decimals)} ± ${s.toFixed(decimals)}`.replaceAll("-", "−");
}

function fill(select, values, chosen, label = (value) => value) {
  select.replaceChildren(...values.map((value) => element("option", { value, textContent: label(value) })));
  select.value = values.includes(chosen) ? chosen : values[0];
}

function switchedOn(method) {
  return document.querySelector(`input[name="method"][value="${CSS.escape(method)}"]`).checked;
}

/* A table whose head sorts its rows. Columns: {name, key, number, cell(row) -> node or text, value(row)}. */
class SortedTable {
  constructor(table, key, ascending, announce = () => {}) {
    Object.assign(this, { table, key, ascending, announce, columns: [], rows: [] });
  }

  /* Rows of which `apart` is true stand below the others, however these are sorted. */
  show(columns, rows, style = () => "", apart = () => false) {
    Object.assign(this, { columns, rows, style, apart });
    if (!columns.some((column) => column.key === this.key)) this.key = columns[0].key;
    this.draw();
  }

  sortBy(key) {
    this.ascending = this.key === key ? !this.ascending : true;
    this.key = key;
    this.draw();
    this.table.tHead.querySelector(`[data-key="${CSS.escape(key)}"]`).focus();
  }

  draw() {
    const { columns, key, ascending } = this;
    const head = columns.map((column) => {
      const button = element("button", { type: "button", textContent: column.name, "data-key": column.key });
      button.addEventListener("click", () => this.sortBy(column.key));
      const order = column.key !== key ? "none" : ascending ? "ascending" : "descending";
      return element("th", { scope: "col", className: column.number ? "number" : "", "aria-sort": order }, button);
    });
    this.table.tHead.replaceChildren(element("tr", {}, ...head));
    const by = columns.find((column) => column.key === key);
    const rows = this.rows.map((row, place) => [by.value(row), place, row]);
    rows.sort((a, b) => this.apart(a[2]) - this.apart(b[2]) || this.compare(a[0], b[0]) || a[1] - b[1]);
    this.table.tBodies[0].replaceChildren(...rows.map(([, , row]) => {
      const cells = columns.map((column) => {
        const cell = element("td", { className: column.number ? "number" : "" });
        column.cell(row, cell);
        return cell;
      });
      return element("tr", { className: this.style(row) }, ...cells);
    }));
    this.announce(`${rows.length} rows, sorted by ${by.name}, ${ascending ? "ascending" : "descending"}`);
  }

  /* What has no value stands last, whichever way the others go. */
  compare(a, b) {
    const none = (x) => typeof x === "number" && Number.isNaN(x);
    if (none(a) || none(b)) return none(a) - none(b);
    const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a < b ? -1 : a > b ? 1 : 0;
    return this.ascending ? order : -order;
  }
}

function textColumn(name, key, of = (row) => row[key]) {
  return { name, key, value: of, cell: (row, cell) => { cell.textContent = of(row); } };
}

function numberColumn(name, key, text = (row) => write(row[key])) {
  return { name, key, number: true, value: (row) => number(row[key]), cell: (row, cell) => { cell.textContent = text(row); } };
}

const methodColumn = { ...textColumn("Method", "method"), cell: (row, cell) => {
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = report.methods[row.method].colour;
  cell.append(swatch, ` ${row.method}`);
} };

/* The script that draws stands in the page compressed. */
async function unpackPlotly() {
  const packed = Uint8Array.from(atob(byId("plotly").textContent.trim()), (letter) => letter.charCodeAt(0));
  const script = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(element("script", { textContent: script }));
}
const plotlyReady = unpackPlotly();

function drawPlot(id, traces, layout) {
  const axis = { gridcolor: "#e8e8e8", linecolor: "#767676", mirror: true, ticks: "inside", zeroline: false, automargin: true };
  const axes = {};
  for (const name of Object.keys(layout)) if (/^[xy]axis/.test(name)) axes[name] = { ...axis, ...layout[name] };
  const common = {
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: "#1a1a1a" },
    margin: { l: 64, r: 12, t: 36, b: 48 },
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    showlegend: false,
    hovermode: "closest",
  };
  const tooOld = () => { byId(id).textContent = "This browser is too old to draw this figure; the tables hold its numbers."; };
  return plotlyReady.then(() => Plotly.react(byId(id), traces, { ...common, ...layout, ...axes }, plotSettings), tooOld);
}

for (const box of document.querySelectorAll('input[name="method"]')) {
  box.addEventListener("change", () => listeners.forEach((listener) => listener()));
}
for (const [id, on] of [["all-methods", true], ["no-methods", false]]) {
  byId(id).addEventListener("click", () => {
    document.querySelectorAll('input[name="method"]').forEach((box) => { box.checked = on; });
    listeners.forEach((listener) => listener());
  });
}

/* What the page cannot know of itself: when it was written, and where it lies: below the dataset, which lies in ROOT. */
if (byId("written")) {
  const written = new Date(document.lastModified);
  byId("written").textContent = `${written.toISOString().slice(0, 10)}, by the time of the file`;
  for (const it of [byId("written"), byId("written").previousElementSibling]) it.hidden = false;
}
const folders = decodeURI(location.pathname).split("/");
const within = folders.findLastIndex((folder) => folder === "report" || folder === "comparisons");
const dataset = /dataset=([\w./-]+)/.exec(byId("commands")?.textContent || "");
if (location.protocol === "file:" && within > 0 && dataset) {
  const root = folders.slice(0, within - dataset[1].split("/").length).join("/") || "/";
  const word = `system.root=${root}`;
  byId("commands").textContent = byId("commands").textContent.replaceAll("system.root=ROOT", () => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`));
}

/* Figures keep the width of the window that they were drawn in: paper has another one. */
const PAPER = 680;
function fit(width) {
  for (const plot of document.querySelectorAll(".plot.js-plotly-plot")) {
    plot.style.width = width;
    Plotly.Plots.resize(plot);
  }
}
window.addEventListener("beforeprint", () => fit(`${PAPER}px`));
window.addEventListener("afterprint", () => fit(""));
