// Opens $PREVIEW_URL in $CABANA_TEST_CHROMIUM, and says on stdout what the page says, as it changes.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const profile = mkdtempSync(join(tmpdir(), "cabana-browser-"));
const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CABANA_TEST_CHROMIUM, args: quiet });
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.error(message.type(), message.text()));
  page.on("pageerror", (error) => console.error(error));
  const says = (text) => page.waitForFunction((text) => document.getElementById("text")?.textContent === text, text, { timeout: 60_000 });
  // The change must not come before the page listens for changes.
  const listens = page.waitForEvent("console", { predicate: (message) => message.text().includes("[vite] connected"), timeout: 60_000 });
  await page.goto(process.env.PREVIEW_URL);
  await says("before");
  await listens;
  if (page.url().includes("token=")) throw new Error("the token is still in the address");
  const mark = await page.evaluate(() => (window.mark = Math.random()));
  console.log("the page says before");
  await says("after");
  console.log("the page says after");
  const left = await page.evaluate(() => window.mark);
  console.log(left === mark ? "it was not reloaded" : "it was reloaded");
  // Most answers to a reload are 304: each is sent without a body, and the next one must not suffer from it.
  const failed = [];
  let unchanged = 0;
  page.on("response", (response) => {
    if (response.status() >= 400) failed.push(`${response.status()} ${response.url()}`);
    if (response.status() === 304) unchanged += 1;
  });
  for (let round = 0; round < 10; round += 1) {
    await page.reload({ waitUntil: "networkidle" });
    await says("after");
  }
  console.log(failed.length > 0 ? failed.join(" ") : unchanged > 0 ? "ten reloads met no failure" : "no answer was 304");
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
