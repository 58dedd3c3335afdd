const kinds = ["truth", "prediction", "difference"];
const titles = { truth: "truth", prediction: "prediction", difference: "prediction − truth" };
const footingOf = (maps) => `${maps.footing}, ${maps.field}`;
const inSimulation = () => report.maps.filter((maps) => maps.simulation === byId("map-simulation").value);
const ofMethod = () => inSimulation().filter((maps) => maps.method === byId("map-method").value);
const currentMaps = () => ofMethod().find((maps) => footingOf(maps) === byId("map-footing").value);
const describe = (maps, kind) => `${titles[kind]} of ${maps.method}, ${maps.simulation}, footing ${footingOf(maps)}`;

function showMaps(simulation, method, footing) {
  const keep = { method: method || byId("map-method").value, footing: byId("map-footing").value };
  fill(byId("map-simulation"), [...new Set(report.maps.map((maps) => maps.simulation))], simulation || byId("map-simulation").value);
  fill(byId("map-method"), [...new Set(inSimulation().map((maps) => maps.method))], keep.method);
  const footings = ofMethod().map(footingOf);
  const wanted = footing && ofMethod().find((maps) => maps.footing === footing);
  fill(byId("map-footing"), footings, wanted ? footingOf(wanted) : keep.footing);
  const maps = currentMaps();
  for (const kind of kinds) {
    const image = byId(`map-${kind}`);
    const limit = kind === "difference" ? maps.difference_limit : maps.limit;
    image.src = report.images[maps.images[kind]];
    image.alt = `Map: ${describe(maps, kind)}; colours from −${limit} to ${limit} ${maps.unit}`;
    const [low, zero, high] = image.closest("figure").querySelectorAll(".ends span");
    low.textContent = `−${limit}`;
    zero.textContent = "0";
    high.textContent = `${limit} ${maps.unit}`;
  }
  byId("map-status").textContent = `${maps.method}, ${maps.simulation}: the rms of the difference is ${write(maps.rms, 3)} ${maps.unit} outside the mask`;
}

function showLarge(kind) {
  const maps = currentMaps();
  const both = kind === "both";
  byId("zoom-title").textContent = both ? `truth (left), prediction (right) of ${maps.method}, ${maps.simulation}` : describe(maps, kind);
  byId("zoom-below").src = report.images[maps.images[both ? "truth" : kind]];
  byId("zoom-below").alt = describe(maps, both ? "truth" : kind);
  byId("zoom-above").hidden = !both;
  byId("wipe-label").hidden = !both;
  if (both) {
    byId("zoom-above").src = report.images[maps.images.prediction];
    byId("zoom-above").alt = describe(maps, "prediction");
    byId("zoom-above").style.clipPath = `inset(0 0 0 ${byId("zoom-wipe").value}%)`;
  }
}

/* Keeps the point (x, y), in shares of the picture, where it is in the window. */
function magnify(scale, x = 0.5, y = 0.5) {
  const view = byId("zoom-view");
  byId("zoom-scale").value = scale;
  byId("zoom-stack").style.width = `${100 * scale}%`;
  view.scrollLeft = x * view.scrollWidth - view.clientWidth / 2;
  view.scrollTop = y * view.scrollHeight - view.clientHeight / 2;
}

if (report.maps.length) {
  const first = report.maps.find((maps) => maps.method === report.best && maps.rms > 0)
    || report.maps.find((maps) => maps.rms > 0) || report.maps[0];
  showMaps(first.simulation, first.method, first.footing);
  for (const id of ["map-simulation", "map-method", "map-footing"]) byId(id).addEventListener("change", () => showMaps());
  for (const button of document.querySelectorAll("button.zoom")) {
    button.addEventListener("click", () => {
      document.querySelector(`input[name="zoom-kind"][value="${button.dataset.kind}"]`).checked = true;
      showLarge(button.dataset.kind);
      byId("zoom").showModal();
      magnify(1);
    });
  }
  for (const radio of document.querySelectorAll('input[name="zoom-kind"]')) radio.addEventListener("change", () => showLarge(radio.value));
  byId("zoom-wipe").addEventListener("input", () => showLarge("both"));
  byId("zoom-scale").addEventListener("input", (event) => magnify(Number(event.target.value)));
  byId("zoom-stack").addEventListener("click", (event) => {
    const box = byId("zoom-stack").getBoundingClientRect();
    const scale = Number(byId("zoom-scale").value) > 1 ? 1 : 3;
    magnify(scale, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  });
  byId("zoom-close").addEventListener("click", () => byId("zoom").close());
} else {
  byId("maps-body").hidden = true;
  byId("maps-none").hidden = false;
}
