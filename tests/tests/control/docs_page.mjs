// Opens /v1/docs at $DOCS_URL in $CABANA_TEST_CHROMIUM, at the width of a phone and of a desktop, and says on stdout what it finds: a line of
// JSON for each. With $SCREENSHOTS, a directory, it leaves pictures there.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const profile = mkdtempSync(join(tmpdir(), "cabana-browser-"));
const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CABANA_TEST_CHROMIUM, args: quiet });
const picture = async (page, name) => {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
};
try {
  for (const [device, width, height] of [["phone", 360, 740], ["desktop", 1280, 900]]) {
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.setViewportSize({ width, height });
    await page.goto(process.env.DOCS_URL);
    await picture(page, `${device}-top`);
    const visible = () => page.$$eval("details.operation", (all) => all.filter((one) => !one.hidden).map((one) => one.id));
    const wider = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    const operations = await visible();
    const closed = await wider();
    // Opened, an operation shows its tables and examples.
    await page.$$eval("details.operation", (all) => all.forEach((one) => (one.open = true)));
    const opened = await wider();
    await page.$$eval("details.operation", (all) => all.forEach((one) => (one.open = false)));
    await page.fill("#search", "signal");
    const found = await visible();
    await picture(page, `${device}-search`);
    await page.fill("#search", "qqqqqq");
    const none = await visible();
    await page.fill("#search", "");
    await page.goto(`${process.env.DOCS_URL}#file.read`);
    const below = (one) => one.open && one.getBoundingClientRect().top >= document.querySelector("header").getBoundingClientRect().bottom;
    const anchor = await page.$eval("[id='file.read']", below);
    await picture(page, `${device}-operation`);
    const examples = await page.$$eval("details.operation pre.example", (all) => all.length);
    console.log(JSON.stringify({ device, operations, closed, opened, found, none, anchor, examples, errors }));
    await page.close();
  }
  // The first example of a request, as a reader copies it.
  const page = await browser.newPage();
  await page.goto(process.env.DOCS_URL);
  console.log(JSON.stringify({ create: await page.$eval("[id='sandbox.create'] pre.example", (one) => one.textContent) }));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
