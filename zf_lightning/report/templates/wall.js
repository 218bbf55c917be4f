// The layers of a run: a wall of feature maps, each opened by its address, and pictures by epoch.
// #conv5 is a layer, #conv5/123 a feature map, #?car a search. All text is set as text.
const walled = typeof wall === "undefined" ? [] : wall.layers;
const layers = walled.length ? walled.map((of) => of.name) : drawnLayers;
const at = (id) => document.getElementById(id);
const address = (...parts) => "#" + parts.map(encodeURIComponent).join("/");
const several = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

const entries = walled.flatMap((of) => of.maps.map((map) => ({
  of, map,
  address: address(of.name, map.map),
  picture: ["maps", ...of.name.split("/"), `${map.map}.webp`].map(encodeURIComponent).join("/"),
})));
const last = layers[layers.length - 1];
let layer = last, query = "";
let shown = null, listed = [], openedHere = false;

function make(name, attributes = {}, ...children) {
  const vector = ["svg", "rect", "title"].includes(name);
  const made = vector ? document.createElementNS("http://www.w3.org/2000/svg", name)
                      : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const className = (label) => wall.classes[label] ?? "";
const fileName = (index) => wall.names[index] ?? `image ${index}`;

// How many of a feature map's images the words of a search mean; 0 if it is not meant itself.
function meant({of, map}, words) {
  const others = words.filter((word) => !(of.name.toLowerCase().includes(word)
    || `${of.name}/${map.map}`.toLowerCase() === word || String(map.map) === word));
  if (!others.length) return Infinity;
  return map.images.filter((index, rank) => {
    const text = `${className(map.labels[rank])}\n${fileName(index)}`.toLowerCase();
    return others.every((word) => text.includes(word));
  }).length;
}

function search() {
  const words = query.toLowerCase().split(/\s+/);
  return entries.map((entry) => [meant(entry, words), entry])
    .filter(([images]) => images).sort(([a], [b]) => b - a)
    .map(([images, entry]) => Object.assign(entry, {matches: images}));
}

function heading() {
  if (query)
    return listed.length ? `${several(listed.length, "feature map")} for “${query}”`
                         : `No feature map for “${query}”: try a class, a layer, or a file name`;
  const of = walled.find((one) => one.name === layer);
  const number = of.maps.length === of.count ? "" : `${of.maps.length} of `;
  const dead = of.dead ? `, ${of.dead} of them dead` : "";
  const after = wall.epoch ? ` after epoch ${wall.epoch}` : "";
  const more = number && `; ${wall.epoch ? "task=atlas ckpt=RUN" : "atlas.maps=all"} draws all`;
  return `${layer}${after}: ${number}${several(of.count, "feature map")}${dead}${more}`;
}

// Width and height of a feature map's picture, and of a block of its tiles.
function sizes({tile: [high, wide], per_side: side}) {
  const block = side * wide + (side - 1) * wall.hairline;
  return {block, width: 2 * block + wall.gutter, height: side * high + (side - 1) * wall.hairline};
}

// How well a feature map detects its best class, where that is known.
function precision(map) {
  const best = map.all?.detects[0];
  return best ? make("span", {title: `average precision for ${best.class}`}, `AP ${best.precision}`) : "";
}

// What was measured of a map's pictures, each with its meaning as a title.
function scores(map, exact) {
  return Object.entries(map.scores ?? {}).map(([name, {mean, error}]) =>
    make("span", {title: wall.meanings[name]},
      `${name} ${mean.toFixed(2)}${exact && error !== null ? ` ± ${error.toFixed(2)}` : ""}`));
}

function tile(entry) {
  const {of, map} = entry, {width, height} = sizes(of);
  const strongest = map.activations[0] ?? "dead";
  const name = query ? `${of.name} · ${map.map}` : `${map.map}`;
  const caption = query && Number.isFinite(entry.matches)
    ? `${entry.matches} of ${map.images.length} images match` : map.caption;
  const alt = `${of.name}, feature map ${map.map}: ${[map.caption, strongest].filter(Boolean).join(", ")}`;
  return make("li", {}, make("a", {href: entry.address, title: map.caption},
    make("img", {alt, width, height, loading: "lazy", decoding: "async", src: entry.picture}),
    make("span", {class: "line"}, make("b", {}, name),
      make("span", {class: "faint"}, strongest)),
    make("span", {class: "line faint"}, make("span", {}, caption), precision(map)),
    make("span", {class: "line faint scores"}, ...scores(map))));
}

function showWall() {
  at("wall").replaceChildren(...listed.map(tile));
  at("heading").textContent = heading();
}

function whenIdle(act) {
  const wait = () => (window.requestIdleCallback ?? setTimeout)(act);
  if (document.readyState === "complete") wait();
  else window.addEventListener("load", wait, {once: true});
}

// A part of a picture: wide by high pixels of it, which is as wide as `whole`, from a corner on.
function cut(picture, [high, wide], whole, [top, left], alt) {
  const image = make("img", {src: picture, alt});
  image.style.width = `${100 * whole / wide}%`;
  image.style.left = `${-100 * left / wide}%`;
  image.style.top = `${-100 * top / high}%`;
  const made = make("div", {class: "cut"}, image);
  made.style.aspectRatio = `${wide} / ${high}`;
  return made;
}

// A patch beside its projection, cut out of the picture of a feature map.
function pair({of, picture}, rank, what) {
  const [high, wide] = of.tile, {block, width} = sizes(of);
  const top = Math.floor(rank / of.per_side) * (high + wall.hairline);
  const left = (rank % of.per_side) * (wide + wall.hairline);
  return make("div", {class: "pair"},
    cut(picture, of.tile, width, [top, left], `${what}: what the unit sees`),
    cut(picture, of.tile, width, [top, left + block + wall.gutter],
        `${what}: the projection of the unit`));
}

// A patch beside its projection, cut out of a picture of several, one below the other.
function pairOfStrip({of, picture}, strip, place, seen, projected) {
  const [high, wide] = of.tile, whole = 2 * wide + wall.gutter;
  const source = picture.replace(/\.webp$/, `_${strip}.webp`), top = place * (high + wall.hairline);
  return make("div", {class: "pair"},
    cut(source, of.tile, whole, [top, 0], `${seen}: what the unit sees`),
    cut(source, of.tile, whole, [top, wide + wall.gutter], `${projected}: the projection of the unit`));
}

// The strongest image after an epoch, and whether it is another than before (Fig. 4).
function past(entry, place) {
  const {history} = entry.map, {epoch, activation, image, label} = history[place];
  const name = className(label), same = place && history[place - 1].image === image;
  return make("li", {}, make("figure", {},
    pairOfStrip(entry, "epochs", place, `epoch ${epoch}${name && `, ${name}`}`, `epoch ${epoch}`),
    make("figcaption", {title: fileName(image)}, make("span", {}, make("b", {}, `epoch ${epoch}`), ` ${activation} ${name}`),
      make("span", {class: "faint"}, same ? "the same image" : ""))));
}

// An image at a quantile of the map's activations.
function example(entry, rank) {
  const {quantile, activation, image, label} = entry.map.all.quantiles[rank];
  const name = className(label), what = `quantile ${quantile}${name && `, ${name}`}`;
  const drawn = activation ? pairOfStrip(entry, "quantiles", rank, what, what) : "";
  return make("li", {}, make("figure", {}, drawn,
    make("figcaption", {title: activation ? fileName(image) : ""},
      make("span", {}, make("b", {}, `quantile ${quantile}`), ` ${activation ?? "does not excite it"} ${name}`))));
}

// How many images excite the map how strongly; bars of equal ratios of the activation.
function histogram({from, to, counts}) {
  const high = 60, wide = Math.max(8, 420 / counts.length), most = Math.max(...counts);
  const bars = counts.map((count, place) => {
    const height = count ? Math.max(1, high * count / most) : 0;
    return make("rect", {x: place * wide, y: high - height, width: wide - 1, height});
  });
  const width = wide * counts.length;
  return make("figure", {class: "histogram"},
    make("svg", {viewBox: `0 0 ${width} ${high}`, width, height: high, role: "img",
      "aria-label": `histogram of activations from ${from} to ${to}`}, ...bars),
    make("figcaption", {class: "faint"}, make("span", {}, from), make("span", {}, `activation, at most ${several(most, "image")} a bar`), make("span", {}, to)));
}

// What all images say of a feature map, not only the strongest.
function overAll(entry) {
  const {images, excited, bars, detects, quantiles} = entry.map.all;
  const words = detects.map((one) =>
    make("li", {}, `${one.class}: average precision ${one.precision}, F1 ${one.f1} (${one.share} of the images)`));
  return [
    make("h3", {}, "Over all images"),
    make("p", {class: "faint"}, `excited by ${excited} of ${several(images, "image")}`),
    bars ? histogram(bars) : "",
    words.length ? make("p", {class: "faint"}, "The classes that it detects best:") : "",
    make("ul", {class: "detects"}, ...words),
    make("ol", {class: "quantiles"}, ...quantiles.map((_, rank) => example(entry, rank))),
  ];
}

// Where in the image the unit looks; nothing where it sees all of it.
function place(of, [top, left]) {
  const [high, wide] = wall.size;
  if (of.field[0] >= high && of.field[1] >= wide) return "";
  const y = Math.max(top, 0), x = Math.max(left, 0);
  const height = Math.min(top + of.field[0], high) - y, width = Math.min(left + of.field[1], wide) - x;
  const words = `rows ${y} to ${y + height - 1}, columns ${x} to ${x + width - 1} of ${high} by ${wide} pixels`;
  const inside = make("rect", {x, y, width, height});
  return make("svg", {viewBox: `0 0 ${wide} ${high}`, width: 40, height: 40 * high / wide, role: "img",
    "aria-label": words, "stroke-width": wide / 40},
    make("rect", {x: 0, y: 0, width: wide, height: high}), inside);
}

function image(entry, rank) {
  const {of, map} = entry, index = map.images[rank];
  const name = className(map.labels[rank]), file = fileName(index);
  const what = `image ${rank + 1}${name && `, ${name}`}`;
  return make("li", {}, make("figure", {},
    pair(entry, rank, what),
    make("figcaption", {}, make("span", {}, make("b", {}, map.activations[rank]), ` ${name}`),
      make("span", {class: "faint"}, file), place(of, map.corners[rank]))));
}

function button(words, label, act, enabled = true) {
  const made = make("button", {"aria-label": label, title: label}, words);
  made.disabled = !enabled;
  made.addEventListener("click", act);
  return made;
}

function step(by) {
  const current = listed.findIndex((entry) => entry.address === location.hash);
  const next = listed[current + by];
  // In the place of the one before: back leads to the wall.
  if (current >= 0 && next) location.replace(next.address);
}

function leave() {
  if (openedHere) history.back();
  else location.hash = query ? `#?${encodeURIComponent(query)}` : address(layer);
}

function open(entry) {
  const dialog = at("map");
  if (!entry) {
    openedHere = false;
    if (dialog.open) dialog.close();
    return;
  }
  const {of, map} = entry, where = listed.indexOf(entry);
  const told = [
    map.activations.length ? `strongest activation ${map.activations[0]}` : "dead: no image excites it",
    map.caption,
    map.all?.detects.length && `detects ${map.all.detects[0].class} with average precision ${map.all.detects[0].precision}`,
    wall.epoch && `after epoch ${wall.epoch}`,
    `${wall.rule} projections of ${wall.images}`,
    `receptive field ${of.field.join(" by ")} pixels, the image ${wall.size.join(" by ")}`,
    `${where + 1} of ${listed.length}`,
  ];
  dialog.replaceChildren(
    make("div", {class: "head"},
      make("h2", {id: "map-name", tabindex: -1}, `${of.name} · feature map ${map.map}`),
      button("‹ previous", "Previous feature map (left arrow)", () => step(-1), where > 0),
      button("next ›", "Next feature map (right arrow)", () => step(1), where < listed.length - 1),
      button("close", "Close (Escape)", leave)),
    make("p", {class: "faint"}, told.filter(Boolean).join(" · ")),
    make("p", {class: "faint scores"}, ...scores(map, true)),
    make("ol", {}, ...map.activations.map((_, rank) => image(entry, rank))));
  if (map.all) dialog.append(...overAll(entry));
  if (map.history?.length)
    dialog.append(make("h3", {}, "Its strongest image as the network trained"),
      make("p", {class: "faint"}, map.settled
        ? `From epoch ${map.settled} on, its images were mostly those of the end.` : ""),
      make("ol", {class: "history"}, ...map.history.map((_, place) => past(entry, place))));
  if (!dialog.open) dialog.showModal();
  at("map-name").focus();
  dialog.scrollTop = 0;
}

function showPicture() {
  const found = pictures[layer];
  at("panel").hidden = !found || query;
  if (!found) return;
  const epoch = epochs.length ? epochs[at("slider").value] : 0;
  at("epoch").textContent = epoch ? `${epoch} of ${epochs[epochs.length - 1]}` : "";
  const source = "../figures/" + encodeURIComponent(found[epoch]);
  at("grid").src = source;
  at("grid").alt = layer + (epoch ? ` after epoch ${epoch}` : "");
  at("whole").href = source;
}

function follow() {
  let hash = location.hash.slice(1);
  try { hash = decodeURIComponent(hash); } catch { /* as it is */ }
  const asked = /^(.*)\/(\d+)$/.exec(hash);
  const entry = asked && entries.find(
    ({of, map}) => of.name === asked[1] && map.map === Number(asked[2]));
  if (hash.startsWith("?")) query = walled.length ? hash.slice(1).trim() : "";
  else if (layers.includes(hash) || !hash) [layer, query] = [hash || last, ""];
  else if (entry && !listed.includes(entry)) [layer, query] = [entry.of.name, ""];
  const wanted = query ? `?${query}` : layer;
  const other = walled.length && wanted !== shown;
  if (other) {
    if (at("search").value.trim() !== query) at("search").value = query;
    listed = query ? search() : entries.filter((entry) => entry.of.name === layer);
    // Behind a feature map that is opened by its address, when that is drawn.
    if (entry) whenIdle(showWall);
    else showWall();
  }
  shown = wanted;
  for (const link of at("layers").children) {
    const chosen = !query && link.textContent === layer;
    link.classList.toggle("chosen", chosen);
    link.setAttribute("aria-current", chosen);
  }
  if (at("panel")) showPicture();
  if (walled.length) open(entry);
}

function keys(event) {
  if (event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
  const sideways = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (at("map").open) {
    if (sideways) step(sideways);
    return;
  }
  const links = [...document.querySelectorAll("#wall a")];
  const current = links.indexOf(document.activeElement);
  const columns = getComputedStyle(at("wall")).gridTemplateColumns.split(" ").length;
  const by = sideways ?? {ArrowUp: -columns, ArrowDown: columns}[event.key];
  if (current < 0 || !by) return;
  event.preventDefault();
  links[current + by]?.focus();
}

at("layers").append(...layers.map((name) => make("a", {href: address(name)}, name)));
if (at("slider")) at("slider").addEventListener("input", showPicture);
if (walled.length) {
  at("classes").append(...wall.classes.map((name) => make("option", {value: name})));
  at("search").addEventListener("input", () => {
    const words = at("search").value.trim();
    location.replace(words ? `#?${encodeURIComponent(words)}` : address(layer));
  });
  at("wall").addEventListener("click", () => { openedHere = true; });
  at("map").addEventListener("cancel", (event) => { event.preventDefault(); leave(); });
  at("map").addEventListener("click", (event) => { if (event.target === at("map")) leave(); });
  document.addEventListener("keydown", keys);
}
window.addEventListener("hashchange", follow);
follow();
if (location.hash) at("layers").parentElement.scrollIntoView();
