// The page's flow: a picture or a setting becomes a job, its answer is shown; one at a time, and the last wish counts.

import { visit, work } from "./server.js";
import { draw, scene, TITLES, unpacked } from "./stage.js";

const at = (id) => document.getElementById(id);
let about;
let busy = false;
let next = null;
let imageSeconds = 0;

function say(text, error = "") {
  at("status").textContent = text;
  at("status").hidden = !text;
  at("error").textContent = error;
  at("error").hidden = !error;
}

function settings() {
  return about.sliders ? `number=${at("number").value}&threshold=${at("threshold").value}` : "";
}

async function wish(path, body = null) {
  if (busy) {
    // A waiting picture will be seen with the sliders as they stand then.
    if (path !== "again" || !next) next = [path, body];
    return;
  }
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  say("Sending the picture …");
  try {
    const joined = path + (path.includes("?") ? "&" : "?") + settings();
    show(await work(joined, body, (before) => say(before < 0 ? "Looking …" : `Waiting: ${before} before you …`)));
  } catch (error) {
    say("", `${error.message[0].toUpperCase()}${error.message.slice(1)}.`.replace(/\.\.$/, "."));
  }
  busy = false;
  document.body.removeAttribute("aria-busy");
  const later = next;
  next = null;
  if (later) wish(...later);
}

function show(answer) {
  if (answer.photo) {
    const { width, height } = answer;
    Object.assign(scene, { width, height, maps: { image_level: unpacked(answer.image_level, width * height) } });
    at("photo").src = answer.photo;
    at("note").textContent = answer.note && `The photo was ${answer.note}.`;
    at("note").hidden = !answer.note;
    imageSeconds = answer.image_seconds;
    at("readout").textContent = "";
  }
  if (about.sliders) scene.maps.merged = unpacked(answer.merged, scene.width * scene.height);
  scene.regions = answer.regions;
  at("welcome").hidden = true;
  at("result").hidden = at("settings").hidden = false;
  compare();
  fillLegend();
  const seconds = (value) => (value < 0.0995 ? `${Math.max(Math.round(1000 * value), 1)} ms` : `${value.toFixed(1)} s`);
  const first = answer.photo ? seconds(imageSeconds) : `kept (${seconds(imageSeconds)})`;
  const count = `${scene.regions.length} region${scene.regions.length === 1 ? "" : "s"}`;
  if (!about.sliders) say(`Seen in ${first}.`);
  else if (about.sliders.exact) say(`Image level ${first}, ${count} ${seconds(answer.merge_seconds)}.`);
  else say(`Both levels ${first}, ${count}.`); // an exported model does all in one pass
}

function compare() {
  const right = about.sliders ? "merged" : "image_level";
  const photo = !about.sliders || document.querySelector("[name=compare]:checked").value === "photo";
  draw(photo ? "photo" : "image_level", right);
}

function fillLegend() {
  const map = scene.maps.merged || scene.maps.image_level;
  const counts = new Array(256).fill(0);
  for (const value of map) counts[value] += 1;
  const order = about.classes.map((_, k) => k).filter((k) => counts[k]);
  order.sort((a, b) => counts[b] - counts[a]);
  const items = order.map((k) => {
    const item = document.createElement("li");
    const [swatch, name, share] = ["i", "span", "small"].map((tag) => document.createElement(tag));
    swatch.style.background = `rgb(${about.colors[k].join(" ")})`;
    name.textContent = about.classes[k];
    const percent = (100 * counts[k]) / map.length;
    share.textContent = percent < 0.1 ? "< 0.1 %" : `${percent.toFixed(1)} %`;
    item.append(swatch, name, share);
    return item;
  });
  at("legend").replaceChildren(...items);
}

function upload(file) {
  const { types, megabytes } = about.limits;
  if (file.type && !types.includes(file.type)) say("", "This file is no JPEG, PNG or WebP; save the photo as one of them.");
  else if (file.size > megabytes * 1e6) say("", `This file is larger than ${megabytes} MB; save it smaller.`);
  else wish("see", file);
}

function listen() {
  at("file").addEventListener("change", (event) => {
    if (event.target.files.length) upload(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) addEventListener(kind, () => at("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) upload(event.dataTransfer.files[0]);
  });
  for (const id of ["number", "threshold", "strength"]) at(id).addEventListener("input", showSettings);
  for (const id of ["number", "threshold"]) at(id).addEventListener("change", () => wish("again"));
  at("boxes").addEventListener("change", showSettings);
  for (const radio of document.querySelectorAll("[name=compare]")) radio.addEventListener("change", compare);
}

function showSettings() {
  at("number-shown").textContent = at("number").value;
  at("threshold-shown").textContent = Number(at("threshold").value).toFixed(2);
  at("strength-shown").textContent = `${at("strength").value} %`;
  at("stage").style.setProperty("--strength", at("strength").value / 100);
  at("regions").hidden = !at("boxes").checked;
}

function introduce() {
  at("name").textContent = about.name;
  at("limits").textContent = `JPEG, PNG or WebP, up to ${about.limits.megabytes}\u00a0MB`;
  at("file").accept = about.limits.types.join(",");
  const buttons = about.examples.map((name, i) => {
    const button = document.createElement("button");
    const image = document.createElement("img");
    Object.assign(image, { src: `examples/${i}.jpg`, alt: `Example: ${name}` });
    button.append(image);
    button.addEventListener("click", () => wish(`see?example=${i}`));
    return button;
  });
  at("examples").replaceChildren(...buttons);
  at("given").hidden = !buttons.length;
  at("sliders").hidden = at("levels").hidden = !about.sliders;
  if (about.sliders) {
    at("number").max = about.sliders.most;
    at("number").value = about.sliders.number;
    at("threshold").value = about.sliders.threshold;
    at("inexact").hidden = about.sliders.exact;
  } else TITLES.image_level = "classes";
  Object.assign(scene, { classes: about.classes, colors: about.colors });
  showSettings();
}

visit().then(
  (told) => {
    about = told;
    introduce();
    listen();
    document.body.dataset.ready = "yes";
  },
  (error) => say("", error.message),
);
