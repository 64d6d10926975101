// The page: one chat at a time, its answer streamed.

import * as chats from "./chats.js";
import { markdown } from "./markdown.js";
import * as pictures from "./pictures.js";
import { drawn } from "./places.js";
import { ask, models } from "./server.js";

const $ = (id) => document.getElementById(id);
const FIELDS = ["system", "temperature", "top-p", "max-tokens", "seed"];

let chat = chats.fresh();
let toSend = [];
let running;

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

// Settings.

function restore() {
  for (const name of FIELDS) {
    $(name).value = localStorage.getItem(name) ?? "";
    $(name).addEventListener("change", () => localStorage.setItem(name, $(name).value));
  }
  $("key").value = sessionStorage.getItem("key") ?? "";
  $("key").addEventListener("change", () => { sessionStorage.setItem("key", $("key").value); list_models(); });
  $("model").addEventListener("change", () => localStorage.setItem("model", $("model").value));
}

async function list_models() {
  try {
    const names = await models($("key").value);
    $("model").replaceChildren(...names.map((name) => new Option(name, name)));
    const last = localStorage.getItem("model");
    if (names.includes(last)) $("model").value = last;
    say(names.length ? "" : "No model is on this machine yet: `monocle pull MODEL` fetches one.", !names.length);
  } catch (error) {
    if (error.status === 401 || error.status === 403) { toggle("settings", true); $("key").focus(); }
    say(error.message, true);
  }
}

function toggle(name, open = $(name).hidden) {
  $(name).hidden = !open;
  $(`toggle-${name}`).setAttribute("aria-expanded", String(open));
}

// Messages.

function body() {
  const messages = [];
  if ($("system").value.trim()) messages.push({ role: "system", content: $("system").value });
  for (const message of chat.messages) {
    if (message.role === "assistant") {
      if (message.text) messages.push({ role: "assistant", content: message.text });
      continue;
    }
    const parts = message.pictures.map((picture) => ({ type: "image_url", image_url: { url: picture.url } }));
    if (message.text) parts.push({ type: "text", text: message.text });
    messages.push({ role: "user", content: parts });
  }
  const request = { model: $("model").value, messages };
  const number = (name, key) => { if ($(name).value !== "") request[key] = Number($(name).value); };
  number("temperature", "temperature");
  number("top-p", "top_p");
  number("max-tokens", "max_tokens");
  number("seed", "seed");
  return request;
}

function element(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function show(message) {
  const item = element("li", message.role === "user" ? "user" : "answer");
  item.append(element("span", "hidden", message.role === "user" ? "You: " : "Answer: "));
  if (message.role === "user") {
    if (message.pictures.length) item.append(thumbs(message.pictures));
    if (message.text) item.append(element("div", "words", message.text));
  } else {
    item.append(...answer_parts(message));
  }
  $("messages").append(item);
  return item;
}

function thumbs(all) {
  const list = element("ul", "thumbs");
  for (const picture of all) {
    const image = element("img");
    [image.src, image.alt] = [picture.url, picture.name];
    const item = element("li");
    item.append(image);
    list.append(item);
  }
  return list;
}

function answer_parts(message, writing = false) {
  const parts = [];
  if (message.reasoning) {
    const details = element("details");
    details.open = writing && !message.text;
    details.append(element("summary", "", "Reasoning"), element("div", "words", message.reasoning));
    parts.push(details);
  }
  const text = element("div", writing ? "words writing" : "words");
  text.append(markdown(message.text));
  parts.push(text);
  if (message.monocle?.parts) parts.push(...drawn(message.monocle.parts, message.monocle.images, pictures_before(message)));
  if (message.wrong) parts.push(element("p", "wrong", message.wrong));
  for (const line of account(message)) parts.push(element("p", "account", line));
  return parts;
}

/** The pictures that an answer was asked with: those of all messages before it. */
function pictures_before(message) {
  const end = chat.messages.indexOf(message);
  return chat.messages.slice(0, end < 0 ? undefined : end).flatMap((other) => other.pictures ?? []);
}

/** What became of pictures, and what it cost, in words. */
function account(message) {
  const { monocle, usage, finish } = message;
  const lines = [];
  for (const image of monocle?.images ?? []) {
    const tiles = image.tiles > 1 ? `, ${image.tiles} tiles` : "";
    const cached = image.cached ? ", known from before" : "";
    lines.push(`${image.name}: ${image.given.join(" × ")} seen as ${image.used.join(" × ")}${tiles}, ${image.tokens} tokens${cached}`);
  }
  lines.push(...(monocle?.notes ?? []));
  const figures = [];
  if (usage) figures.push(`${usage.prompt_tokens} tokens asked (${usage.prompt_tokens_details?.cached_tokens ?? 0} known), ${usage.completion_tokens} answered`);
  const timings = monocle?.timings;
  if (timings?.decode_tokens_per_s) figures.push(`${timings.decode_tokens_per_s.toFixed(1)} tokens a second`);
  if (message.first) figures.push(`first word after ${(message.first / 1000).toFixed(2)} s`);
  if (finish === "length") figures.push("cut at the limit");
  if (figures.length) lines.push(figures.join("; "));
  return lines;
}

function show_all() {
  $("messages").replaceChildren();
  chat.messages.forEach(show);
  $("messages").scrollTop = $("messages").scrollHeight;
}

async function send(event) {
  event?.preventDefault();
  const text = $("words").value.trim();
  if (running || (!text && !toSend.length) || !$("model").value) return;
  const question = { role: "user", text, pictures: toSend };
  if (!chat.messages.length) chat.title = (text || question.pictures[0].name).slice(0, 60);
  chat.messages.push(question);
  show(question);
  $("words").value = "";
  toSend = [];
  show_pictures();
  const message = { role: "assistant", text: "", reasoning: "" };
  const request = body();
  const item = show(message);
  chat.messages.push(message);
  running = new AbortController();
  busy(true);
  const asked = performance.now();
  let drawn = 0;
  const draw = () => {
    drawn = 0;
    const list = $("messages");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    item.replaceChildren(element("span", "hidden", "Answer: "), ...answer_parts(message, Boolean(running)));
    if (atEnd) list.scrollTop = list.scrollHeight;
  };
  try {
    await ask(request, $("key").value, running.signal, (piece) => {
      if (piece.text || piece.reasoning) message.first ??= performance.now() - asked;
      message.text += piece.text ?? "";
      message.reasoning += piece.reasoning ?? "";
      for (const name of ["finish", "usage", "monocle"]) if (piece[name]) message[name] = piece[name];
      drawn ||= requestAnimationFrame(draw);
    });
    say("The answer is complete.");
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else { message.wrong = error.message; say(error.message, true); }
  }
  cancelAnimationFrame(drawn);
  running = undefined;
  busy(false);
  draw();
  await keep();
}

function busy(is) {
  $("send").disabled = is;
  $("stop").hidden = !is;
  if (is) say("Answering…");
}

// Kept chats.

async function keep() {
  chat.changed = Date.now();
  try {
    await chats.keep(chat);
    await list_chats();
  } catch (error) {
    say(`This browser keeps no chats: ${error.message}`);
  }
}

async function list_chats() {
  const all = await chats.all();
  $("chats").replaceChildren(...all.map((other) => {
    const item = element("li");
    const open = element("button", "", other.title);
    open.type = "button";
    if (other.id === chat.id) open.setAttribute("aria-current", "true");
    open.onclick = () => change(other);
    const gone = element("button", "delete", "×");
    gone.type = "button";
    gone.setAttribute("aria-label", `Delete ${other.title}`);
    gone.onclick = async () => {
      await chats.forget(other.id);
      if (other.id === chat.id) change(chats.fresh());
      else list_chats();
    };
    item.append(open, gone);
    return item;
  }));
}

function change(other) {
  running?.abort();
  chat = other;
  show_all();
  list_chats().catch(() => {});
  if (matchMedia("(max-width: 720px)").matches) toggle("history", false);
  $("words").focus();
}

// Pictures.

async function take(files) {
  if (!files.length) return;
  const { taken, refused } = await pictures.read(files);
  toSend = toSend.concat(taken);
  if (refused.length) say(refused.join("; "), true);
  show_pictures();
}

function show_pictures() {
  const list = thumbs(toSend);
  [...list.children].forEach((item, index) => {
    const remove = element("button", "", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Leave ${toSend[index].name} out`);
    remove.onclick = () => { toSend = toSend.filter((_, other) => other !== index); show_pictures(); };
    item.append(remove);
  });
  $("pictures").replaceChildren(...list.children);
}

function listen() {
  $("compose").addEventListener("submit", send);
  $("words").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(); });
  $("stop").onclick = () => running?.abort();
  $("new-chat").onclick = () => change(chats.fresh());
  $("toggle-history").onclick = () => toggle("history");
  $("toggle-settings").onclick = () => toggle("settings");
  $("add").onclick = () => $("files").click();
  $("files").onchange = async () => { await take([...$("files").files]); $("files").value = ""; };
  document.addEventListener("paste", (event) => {
    const files = pictures.files_of(event.clipboardData);
    if (files.length) { event.preventDefault(); take(files); }
  });
  const talk = $("talk");
  talk.addEventListener("dragover", (event) => { event.preventDefault(); talk.classList.add("dropping"); });
  talk.addEventListener("dragleave", () => talk.classList.remove("dropping"));
  talk.addEventListener("drop", (event) => {
    event.preventDefault();
    talk.classList.remove("dropping");
    take(pictures.files_of(event.dataTransfer));
  });
  $("camera").onclick = async () => {
    try {
      const picture = await pictures.camera($("camera-dialog"), $("video"), $("take"), $("leave"));
      if (picture) { toSend = [...toSend, picture]; show_pictures(); }
    } catch (error) {
      say(error.message, true);
    }
  };
}

restore();
listen();
list_models();
list_chats().catch(() => {});
