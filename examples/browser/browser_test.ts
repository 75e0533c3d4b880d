/** The page in a real browser: bundled by Vite, on the wasm backend of headless Chromium. */
import { execFile } from "node:child_process";
import { accessSync, constants, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { useBackend } from "@rlhf/tensor/backend";
import { type Browser, chromium, type Page } from "playwright-core";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { everyPackage } from "./testing/every_package.ts";

const executablePath = findChromium();
if (executablePath === undefined)
  console.warn(
    "No browser is found, so examples/browser is not tested: install Chromium (apt-get install chromium) or name one in CHROMIUM.",
  );

function findChromium(): string | undefined {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const folders = (process.env.PATH ?? "").split(delimiter);
  const places = folders.flatMap((folder) => names.map((name) => join(folder, name)));
  return [process.env.CHROMIUM ?? "", ...places].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return path !== "";
    } catch {
      return false;
    }
  });
}

it("makes the checkpoint by a script that runs", async () => {
  const folder = mkdtempSync(join(tmpdir(), "rlhf-checkpoint-"));
  const script = join(import.meta.dirname, "train.ts");
  const args = ["--import", "tsx", script, "--folder", folder, "--steps", "1"];
  await promisify(execFile)(process.execPath, args);
  const made = readdirSync(folder).sort();
  rmSync(folder, { recursive: true });
  expect(made).toEqual(readdirSync(join(import.meta.dirname, "public/checkpoint")).sort());
});

describe.skipIf(executablePath === undefined)("in Chromium", () => {
  const root = import.meta.dirname;
  let outDir: string;
  let browser: Browser;
  let server: PreviewServer;
  let page: Page;
  const complaints: Array<string> = [];

  beforeAll(async () => {
    outDir = mkdtempSync(join(tmpdir(), "rlhf-page-"));
    const input = [join(root, "index.html"), join(root, "testing/every_package.html")];
    await build({
      root,
      logLevel: "error",
      build: { outDir, emptyOutDir: true, rolldownOptions: { input } },
    });
    server = await preview({ root, logLevel: "error", build: { outDir }, preview: { port: 0 } });
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
    page = await browser.newPage({ viewport: { width: 390, height: 844 } });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
  });

  afterAll(async () => {
    await browser?.close();
    await server?.close();
    rmSync(outDir, { recursive: true, force: true });
  });

  const open = (path: string) => page.goto(new URL(path, server.resolvedUrls!.local[0]).href);
  const numbers = async (row: string) =>
    (await page.locator(`${row} td`).allTextContents()).map((text) => Number(text.replace("−", "-")));

  it("writes two stories, learns which one is preferred, and forgets", async () => {
    await open("/");
    const write = page.getByRole("button", { name: "Write" });
    await write.and(page.locator(":enabled")).waitFor();
    expect(await page.getByRole("status").textContent()).toContain("WebAssembly");

    await page.getByLabel("Beginning of a story").fill("Once a big bear");
    await write.click();
    const prefer = page.getByRole("button", { name: "Prefer this" });
    await prefer.first().and(page.locator(":enabled")).waitFor();
    const stories = await page.locator(".story").allTextContents();
    for (const story of stories) expect(story).toMatch(/^Once a big bear [a-z]+ a .+\.$/);
    expect(stories[0]).not.toBe(stories[1]);

    await prefer.first().click();
    await page.getByText("Lesson 1").waitFor();
    const [before, after] = await numbers("#margin");
    expect(after).toBeGreaterThan(before!);
    const [preferred, other] = [await numbers("#preferred"), await numbers("#other")];
    expect(preferred[0]! - other[0]!).toBeCloseTo(before!, 0);
    expect(preferred[1]! - other[1]!).toBeCloseTo(after!, 0);

    await page.getByRole("button", { name: "Forget all lessons" }).click();
    await prefer.first().click();
    await page.getByText("Lesson 1").waitFor();
    expect(await numbers("#margin")).toEqual([before, after]);
    expect(complaints).toEqual([]);
  });

  it("fits the width of a phone", async () => {
    expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
  });

  it("computes with every package what Node computes", async () => {
    await open("/testing/every_package.html");
    const inBrowser = await page.evaluate<Awaited<ReturnType<typeof everyPackage>>>("globalThis.result");
    expect(complaints).toEqual([]);
    await useBackend("wasm");
    const inNode = await everyPackage();
    expect(Object.keys(inBrowser)).toEqual(Object.keys(inNode));
    for (const [name, expected] of Object.entries(inNode)) {
      expect(inBrowser[name]!.length, name).toBe(expected.length);
      inBrowser[name]!.forEach((value, i) => {
        expect(value, `${name}[${i}]`).toBeCloseTo(expected[i]!, 4);
      });
    }
  });
});
