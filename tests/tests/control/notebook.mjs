// Opens $NOTEBOOK_URL in $CABANA_TEST_CHROMIUM, logs in with $NOTEBOOK_KEY, runs cells, and says on stdout what the page shows.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const profile = mkdtempSync(join(tmpdir(), "cabana-browser-"));
const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CABANA_TEST_CHROMIUM, args: quiet });
const timeout = 120_000;
const say = (name, value) => console.log(JSON.stringify({ name, value }));
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(timeout);
  page.on("console", (message) => console.error(message.type(), message.text()));
  page.on("pageerror", (error) => console.error(error));
  await page.goto(process.env.NOTEBOOK_URL);
  await page.getByLabel("Key").fill(process.env.NOTEBOOK_KEY);
  await page.getByRole("button", { name: "Connect" }).click();
  // Runs a cell by the keyboard, and waits until it is over.
  let cells = 0;
  const run = async (code, meanwhile) => {
    cells += 1;
    const cell = page.getByLabel(`Cell ${cells}`, { exact: true });
    await cell.fill(code);
    await cell.press("Shift+Enter");
    await meanwhile?.();
    await page.getByLabel(`Cell ${cells + 1}`, { exact: true }).waitFor();
    return page.locator("section").nth(cells - 1).locator(".output");
  };
  say("text", await (await run("x = 6\nprint('printed')\nx * 7")).innerText());
  const table = await run("import pandas as pd\npd.DataFrame({'a': [1, 2, 3]})");
  say("table", await table.frameLocator("iframe").locator("td").allInnerTexts());
  const plot = await run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()");
  say("plot", await plot.locator("img").evaluate(async (image) => (await image.decode(), image.naturalWidth > 100)));
  say("error", await (await run("1 / 0")).locator(".failed").innerText());
  const asked = await run("input('Name: ')", async () => {
    await page.getByLabel("Name:").fill("Ada");
    await page.keyboard.press("Enter");
  });
  say("answer", await asked.innerText());
  // A kernel's HTML runs no script, reaches no server, and does not see the page.
  const attack = "<p id=kept>kept</p><script>document.title = 'run'; parent.postMessage('run', '*')</script><img src=x onerror=\"parent.document.title='run'\"><img src='/health'>";
  await page.evaluate(() => addEventListener("message", () => (document.title = "heard")));
  const requests = [];
  page.on("request", (request) => requests.push(request));
  const html = await run(`from IPython.display import HTML\nHTML(${JSON.stringify(attack)})`);
  await html.frameLocator("iframe").locator("#kept").waitFor();
  // The browser may tell of a request that the policy has stopped: nobody has got it.
  await Promise.all(requests.map((request) => request.response()));
  const sent = requests.filter((request) => request.url().startsWith("http") && request.failure()?.errorText !== "csp");
  say("attack", [await page.title(), await html.locator("iframe").getAttribute("sandbox"), sent.map((request) => request.url())]);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download" }).click();
  say("download", (await download).suggestedFilename());
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
