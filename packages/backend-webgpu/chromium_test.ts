/** The same as stages_test.ts in a browser: headless Chromium, whose WebGPU is SwiftShader where there is no GPU. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleStages, expectCpuMetrics, type OnWebGpu } from "./testing/bundle_stages.ts";
import { findProgram } from "./testing/find_program.ts";
import { stageNames } from "./testing/stage_metrics.ts";

const browsers = ["chromium", "chromium-browser", "google-chrome"];
const executablePath = findProgram(browsers, "CHROMIUM", "apt-get install chromium");
const html = '<!doctype html><link rel="icon" href="data:"><script type="module" src="/page.js"></script>';

describe.skipIf(executablePath === undefined)("in Chromium", () => {
  let server: Server;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    const script = await bundleStages("browser");
    server = createServer(({ url }, response) => {
      const isScript = url === "/page.js";
      response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
      response.end(isScript ? script : html);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const webGpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];
    browser = await chromium.launch({
      executablePath: executablePath!,
      args: ["--no-sandbox", ...webGpu],
      timeout: 0, // the test has one
    });
    page = await browser.newPage();
    page.setDefaultTimeout(0);
    page.setDefaultNavigationTimeout(0);
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.waitForFunction("globalThis.stageMetricsOnWebGpu !== undefined");
  });
  afterAll(async () => {
    await browser?.close();
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  });

  it.each(stageNames)("%s", async (name) => {
    const call = `globalThis.stageMetricsOnWebGpu(${JSON.stringify(name)})`;
    const found = await page.evaluate<OnWebGpu>(call);
    expect(complaints).toEqual([]);
    await expectCpuMetrics(name, found);
  });
});
