// The server's page in a real browser: `node page.mjs BROWSER MODULES ADDRESS PICTURE ANSWER KEYED_ADDRESS KEY [SCREENSHOTS]`.
//
// MODULES is a folder with `node_modules/playwright-core`. ADDRESS serves the demo model, whose answer about PICTURE (320 by 320 pixels) is ANSWER, a
// model called `smolvlm` whose answers do not end by themselves, one called `pointer` whose answers name a rectangle in their first picture,
// from 32, 48 to 160, 240, and one called `reasoner`: the demo model, whose answers are reasoning up to their first comma. KEYED_ADDRESS serves the demo model to those who bring KEY. SCREENSHOTS is a folder
// for pictures of the page, for people to look at.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [executablePath, modules, address, picture, answer, keyedAddress, key, screenshots] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/package.json`)("playwright-core");
const PATIENCE = 60_000;
const QUESTION = "Describe this image.";

// A camera of the browser's own, which shows a moving disc.
const args = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
const browser = await chromium.launch({ executablePath, args });
let failed = 0;

/** Opens the page in a browser without any past; what the page complains about fails the test. */
async function open(options, work, where = address, allowed = []) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(where);
  await work(page);
  const rest = complaints.filter((complaint) => !allowed.some((words) => complaint.includes(words)));
  assert.deepEqual(rest, [], "the browser complains");
  await context.close();
}

async function test(name, work) {
  try {
    await work();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.error(`FAILED ${name}: ${error.stack}`);
  }
}

async function choose(page, model) {
  await page.waitForFunction(() => document.querySelector("#model").options.length > 0);
  await page.selectOption("#model", model);
}

async function says(page, words) {
  await page.waitForFunction((words) => document.querySelector("#status").textContent.includes(words), words);
}

function shot(page, name) {
  return screenshots ? page.screenshot({ path: `${screenshots}/${name}.png` }) : undefined;
}

/** A file from outside, as the browser hands it over on a drop or a paste. */
function transfer(page) {
  const bytes = readFileSync(picture).toString("base64");
  return page.evaluateHandle((bytes) => {
    const data = new DataTransfer();
    const array = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
    data.items.add(new File([array], "photo.png", { type: "image/png" }));
    return data;
  }, bytes);
}

await test("a picture is asked about, and the chat is there after a reload", () => open({}, async (page) => {
  await choose(page, "shapes");
  await page.setInputFiles("#files", picture);
  await page.waitForSelector("#pictures li");
  await page.fill("#words", QUESTION);
  await page.keyboard.press("Enter");
  await says(page, "complete");
  assert.equal((await page.textContent("li.answer .words")).trim(), answer);
  const account = await page.locator("li.answer .account").allTextContents();
  assert.match(account.join("\n"), /320 × 320 seen as 96 × 96, 16 tokens/);
  assert.match(account.join("\n"), /tokens asked \(\d+ known\), \d+ answered/);
  await page.reload();
  await page.click("#toggle-history");
  await page.click(`#chats button:has-text("${QUESTION}")`);
  await page.waitForSelector("li.user img");
  assert.equal((await page.textContent("li.answer .words")).trim(), answer);
  await shot(page, "wide");
  await page.click(`#chats button[aria-label="Delete ${QUESTION}"]`);
  await page.waitForFunction(() => !document.querySelector("#chats li"));
}));

await test("pictures come by drop and by paste, and can be left out again", () => open({}, async (page) => {
  await choose(page, "shapes");
  await page.dispatchEvent("#talk", "drop", { dataTransfer: await transfer(page) });
  await page.waitForSelector("#pictures li");
  const pasted = await transfer(page);
  await page.evaluate((data) => {
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, pasted);
  await page.waitForFunction(() => document.querySelectorAll("#pictures li").length === 2);
  await page.click("#pictures li:first-child button");
  await page.waitForFunction(() => document.querySelectorAll("#pictures li").length === 1);
  await page.click("#send");
  await says(page, "complete");
  assert.notEqual((await page.textContent("li.answer .words")).trim(), "");
}));

await test("the camera's picture is asked about, and the camera is let go", () => open({}, async (page) => {
  await choose(page, "shapes");
  await page.click("#camera");
  await page.waitForFunction(() => document.querySelector("#video").videoWidth > 0);
  await page.click("#leave");
  await page.waitForFunction(() => !document.querySelector("#camera-dialog").open && !document.querySelector("#video").srcObject);
  assert.equal(await page.locator("#pictures li").count(), 0);
  await page.click("#camera");
  await page.waitForFunction(() => document.querySelector("#video").videoWidth > 0);
  await page.click("#take");
  await page.waitForSelector("#pictures li");
  await page.waitForFunction(() => !document.querySelector("#video").srcObject);
  await page.click("#send");
  await says(page, "complete");
  assert.match((await page.locator("li.answer .account").allTextContents()).join("\n"), /seen as 96 × 96/);
}));

await test("reasoning is folded away, and settings are sent", () => open({}, async (page) => {
  await choose(page, "reasoner");
  await page.setInputFiles("#files", picture);
  await page.fill("#words", QUESTION);
  await page.keyboard.press("Enter");
  await says(page, "complete");
  const [thought, ...rest] = answer.split(",");
  assert.equal(await page.getAttribute("li.answer details", "open"), null);
  assert.equal((await page.textContent("li.answer details .words")).trim(), thought);
  assert.equal((await page.textContent("li.answer > .words")).trim(), rest.join(",").trim());
  await page.click("#toggle-settings");
  for (const [field, value] of [["system", "Be brief."], ["temperature", "0.5"], ["top-p", "0.9"], ["max-tokens", "3"], ["seed", "7"]]) await page.fill(`#${field}`, value);
  const asked = page.waitForRequest((request) => request.url().endsWith("/v1/chat/completions"));
  await page.fill("#words", "Again?");
  await page.click("#send");
  const sent = (await asked).postDataJSON();
  const { temperature, top_p, max_tokens, seed } = sent;
  assert.deepEqual([temperature, top_p, max_tokens, seed], [0.5, 0.9, 3, 7]);
  assert.deepEqual(sent.messages.map((message) => message.role), ["system", "user", "assistant", "user"]);
  await says(page, "complete");
  assert.match((await page.locator("li.answer .account").allTextContents()).join("\n"), /cut at the limit/);
}));

await test("places in an answer are drawn on their picture", () => open({}, async (page) => {
  await choose(page, "pointer");
  await page.click("#toggle-settings");
  await page.fill("#max-tokens", "6");
  await page.setInputFiles("#files", picture);
  await page.fill("#words", "Where is it?");
  await page.keyboard.press("Enter");
  await says(page, "complete");
  const drawn = () => page.evaluate(() => {
    const [image, shape] = ["img", "rect"].map((kind) => document.querySelector(`.answer .places ${kind}`));
    // As on the screen: in parts of the picture's sides, without the line around it.
    const [outer, inner] = [image, shape].map((element) => element.getBoundingClientRect());
    return [(inner.left - outer.left) / outer.width, (inner.top - outer.top) / outer.height, inner.width / outer.width, inner.height / outer.height];
  });
  const expected = [0.1, 0.15, 0.4, 0.6];
  const near = (found) => found.forEach((part, index) => assert.ok(Math.abs(part - expected[index]) < 0.02, `${found}`));
  near(await drawn());
  assert.match(await page.textContent(".answer .places ol li"), /: 32, 48 to 160, 240$/);
  // A question without a picture goes on about the first one.
  await page.fill("#words", "And now?");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("li.answer .places rect").length === 2);
  await page.focus(".answer .places ol li");
  assert.equal(await page.locator(".answer .places rect.meant").count(), 1);
  await shot(page, "places");
  await page.reload();
  await page.click("#toggle-history");
  await page.click('#chats button:has-text("Where is it?")');
  await page.waitForSelector(".answer .places rect");
  near(await drawn());
}));

await test("an answer that goes on is stopped", () => open({}, async (page) => {
  await choose(page, "smolvlm");
  await page.click("#toggle-settings");
  await page.fill("#max-tokens", "8000");
  await page.fill("#words", "Go on.");
  await page.click("#send");
  await page.waitForFunction(() => document.querySelector("li.answer .words")?.textContent);
  await page.click("#stop");
  await says(page, "Stopped.");
  assert.equal(await page.isVisible("#stop"), false);
  assert.equal(await page.isEnabled("#send"), true);
}));

await test("what a model writes is shown and never run", () => open({}, async (page) => {
  const html = await page.evaluate(async () => {
    const { markdown } = await import("/page/markdown.js");
    const box = document.createElement("div");
    const hostile = "**b** <img src=x onerror=window.hit=1> <script>window.hit=1</script> [x](javascript:window.hit=1) "
      + "[y](https://example.org/a) [z](data:text/html,<script>window.hit=1</script>) ![p](https://example.org/p.png)\n\n"
      + "| a | b |\n|---|---|\n| <svg onload=window.hit=1> | 2 |\n\n```html\n<script>window.hit=1</script>\n```";
    box.append(markdown(hostile));
    document.querySelector("#messages").append(box);
    box.querySelectorAll("a").forEach((link) => { if (!link.href.startsWith("https:")) link.click(); });
    await new Promise((resolve) => setTimeout(resolve, 100));
    return box.innerHTML;
  });
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.doesNotMatch(html, /<(script|img|svg|iframe)/);
  assert.doesNotMatch(html, /href="(javascript|data):/);
  assert.match(html, /<strong>b<\/strong>/);
  assert.match(html, /href="https:\/\/example\.org\/a"/);
}));

await test("the page may load nothing from elsewhere", () => open({}, async (page) => {
  const refused = await page.evaluate(() => new Promise((resolve) => {
    document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
    fetch("https://example.org/").catch(() => {});
    setTimeout(() => resolve("nothing"), 2000);
  }));
  assert.equal(refused, "connect-src");
}, address, ["example.org"]));

await test("a server with a key asks for it", () => open({}, async (page) => {
  await page.waitForSelector("#key:focus");
  await page.fill("#key", `${key}-not`);
  await page.keyboard.press("Tab");
  await page.waitForSelector("#status.wrong");
  await page.fill("#key", key);
  await page.keyboard.press("Tab");
  await choose(page, "shapes");
  await page.fill("#words", "How many?");
  await page.keyboard.press("Enter");
  await says(page, "complete");
}, keyedAddress, ["401"]));

await test("the keyboard is enough, and each control has a name", () => open({}, async (page) => {
  await choose(page, "shapes");
  const seen = new Set();
  for (let press = 0; press < 12; press += 1) {
    await page.keyboard.press("Tab");
    seen.add(await page.evaluate(() => document.activeElement.id));
  }
  for (const id of ["toggle-history", "model", "toggle-settings", "words", "add", "camera", "send"]) assert.ok(seen.has(id), `${id} is not reached`);
  await page.click("#toggle-history");
  await page.click("#toggle-settings");
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea")]
    .filter((control) => control.checkVisibility())
    .filter((control) => !(control.ariaLabel || control.textContent.trim() || [...control.labels ?? []].some((label) => label.textContent.trim())))
    .map((control) => control.id));
  assert.deepEqual(nameless, []);
  assert.equal(await page.getAttribute("#status", "role"), "status");
}));

for (const [name, width, dark] of [["phone", 390, true], ["phone-light", 360, false], ["dark", 1200, true]]) {
  await test(`nothing hangs over the edge (${name})`, () => open({ viewport: { width, height: 780 }, colorScheme: dark ? "dark" : "light" }, async (page) => {
    await choose(page, "shapes");
    await page.setInputFiles("#files", picture);
    await page.fill("#words", "What is this? A_word_that_is_longer_than_a_telephone_is_wide_and_cannot_be_broken_between_letters");
    await page.keyboard.press("Enter");
    await says(page, "complete");
    const wide = await page.evaluate(() => [document.documentElement, ...document.querySelectorAll("#talk, #talk *")]
      // What only screen readers meet is a pixel wide.
      .filter((element) => element.checkVisibility() && element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1)
      .map((element) => `${element.tagName} ${element.id} ${element.className}: ${element.scrollWidth} in ${element.clientWidth} pixels`));
    assert.deepEqual(wide, []);
    // WCAG 2.2, 1.4.3: text and what is behind it differ by 4.5 to 1.
    const contrast = await page.evaluate(() => {
      const light = (colour) => {
        const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
          const colour = getComputedStyle(at).backgroundColor;
          if (!/rgba\(.*, 0\)|transparent/.test(colour)) return colour;
        }
        return matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
      };
      return [...document.querySelectorAll(".words, .account, #status, button, h1")].filter((element) => element.checkVisibility() && element.textContent.trim()).map((element) => {
        const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
        return [element.className || element.id || element.tagName, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
      });
    });
    for (const [what, ratio] of contrast) assert.ok(ratio >= 4.5, `${what}: ${ratio.toFixed(2)}`);
    await shot(page, name);
  }));
}

await browser.close();
process.exit(failed ? 1 : 0);
