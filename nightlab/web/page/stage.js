// The picture: two label maps over the photo, a divider between them, regions, and the class below the pointer.

const at = (id) => document.getElementById(id);
const stage = at("stage");

export const scene = { width: 0, height: 0, classes: [], colors: [], maps: {}, regions: [] };
const shown = { left: "image_level", right: "merged", split: 0.5, cross: [0.5, 0.5] };
export const TITLES = { photo: "photo", image_level: "image level", merged: "both levels" };

// [class, length, class, length, ...], row after row, as a map.
export function unpacked(runs, size) {
  const map = new Uint8Array(size);
  for (let i = 0, from = 0; i < runs.length; i += 2) map.fill(runs[i], from, (from += runs[i + 1]));
  return map;
}

function paint(canvas, map) {
  canvas.width = scene.width;
  canvas.height = scene.height;
  canvas.hidden = !map;
  if (!map) return;
  const pixels = new ImageData(scene.width, scene.height);
  const words = new Uint32Array(pixels.data.buffer);
  const table = new Uint32Array(256).fill(0xff000000);
  new Uint8Array(table.buffer).set(scene.colors.flatMap((color) => [...color, 255]));
  for (let i = 0; i < map.length; i += 1) words[i] = table[map[i]];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

export function draw(left, right) {
  Object.assign(shown, { left, right });
  stage.style.aspectRatio = `${scene.width} / ${scene.height}`;
  // Upright pictures must not be taller than the window.
  at("frame").style.maxWidth = `calc(80vh * ${scene.width / scene.height})`;
  paint(at("left"), scene.maps[left]);
  paint(at("right"), scene.maps[right]);
  at("left-title").textContent = TITLES[left];
  at("right-title").textContent = TITLES[right];
  at("divider").setAttribute("aria-label", `Divider: ${TITLES[left]} on the left, ${TITLES[right]} on the right`);
  split();
  drawRegions();
  at("tip").hidden = true;
}

function split() {
  shown.split = at("divider").value / 100;
  const percent = 100 * shown.split;
  at("left").style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
  at("right").style.clipPath = `inset(0 0 0 ${percent}%)`;
  at("line").style.left = `${percent}%`;
  at("divider").setAttribute("aria-valuetext", `${Math.round(percent)} % from the left`);
}

function drawRegions() {
  const boxes = scene.regions.map((region) => {
    const [x0, y0, x1, y1] = region.box;
    const box = document.createElement("div");
    const name = document.createElement("span");
    name.textContent = (region.class ? `${region.class} ` : "") + region.score.toFixed(2);
    Object.assign(box.style, {
      left: `${(100 * x0) / scene.width}%`,
      top: `${(100 * y0) / scene.height}%`,
      width: `${(100 * (x1 - x0)) / scene.width}%`,
      height: `${(100 * (y1 - y0)) / scene.height}%`,
    });
    box.append(name);
    return box;
  });
  at("regions").replaceChildren(...boxes.reverse()); // the best on top
}

// What stands at a place, given from 0 to 1 across and down.
function named(x, y) {
  const column = Math.min(Math.floor(x * scene.width), scene.width - 1);
  const row = Math.min(Math.floor(y * scene.height), scene.height - 1);
  const name = (which) => scene.classes[scene.maps[which][row * scene.width + column]];
  const [before, after] = [name("image_level"), scene.maps.merged && name("merged")];
  return !after || before === after ? before : `image level: ${before}, both levels: ${after}`;
}

function point(x, y, byKeys) {
  const text = named(x, y);
  at("readout").textContent = text;
  const tip = at("tip");
  tip.textContent = text;
  tip.hidden = false;
  // The tip leans away from the borders.
  tip.style.left = `${100 * x}%`;
  tip.style.top = `${100 * y}%`;
  tip.style.transform = `translate(${x > 0.5 ? "calc(-100% - 12px)" : "12px"}, ${y > 0.5 ? "calc(-100% - 8px)" : "12px"})`;
  at("cross").hidden = !byKeys;
  at("cross").style.left = `${100 * x}%`;
  at("cross").style.top = `${100 * y}%`;
}

function inside(event) {
  const box = stage.getBoundingClientRect();
  const clamp = (value) => Math.min(Math.max(value, 0), 0.9999);
  return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
}

for (const kind of ["pointermove", "pointerdown"]) stage.addEventListener(kind, (event) => point(...inside(event), false));
stage.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "mouse") at("tip").hidden = true;
});
stage.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || event.target !== stage) return;
  event.preventDefault();
  const pace = event.shiftKey ? 0.1 : 0.02;
  shown.cross = shown.cross.map((value, axis) => Math.min(Math.max(value + pace * step[axis], 0), 0.9999));
  point(...shown.cross, true);
});
stage.addEventListener("blur", () => {
  at("cross").hidden = true;
  at("tip").hidden = true;
});
at("divider").addEventListener("input", split);
