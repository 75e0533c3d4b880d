/**
 * Programs under the address sanitizer over the emulated GPU: what the driver, a kernel or a graph touches late is still
 * there. `npm run sanitize` runs all tests of this package in the same way.
 */
import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";

const hasSanitizer = (): boolean => {
  try {
    return ["libasan.so", "libubsan.so"].every((name) =>
      existsSync(execFileSync("g++", [`-print-file-name=${name}`], { encoding: "utf8" }).trim()),
    );
  } catch {
    return false;
  }
};

const found = hasSanitizer();
if (!found) console.warn("Skipped: lifetimes are tested with the address sanitizer of g++.");

describe.skipIf(!found)("under the address sanitizer", () => {
  let failed = true;
  let errors = "";
  /** What was said while programs of a kind ran. */
  const reports = (kind: "program" | "misuse") =>
    errors.split(/^# /m).filter((text) => text.startsWith(`${kind}: `));

  beforeAll(
    () =>
      new Promise<void>((resolve) => {
        const program = [process.execPath, "--expose-gc", "--import", "tsx", "testing/lifetimes.ts"];
        // Goes on after a report, also after one from the same place.
        const ASAN_OPTIONS = "halt_on_error=0:suppress_equal_pcs=0";
        const env = { ...process.env, RLHF_CUDA_TEST_DEVICE: "", ASAN_OPTIONS };
        const options = { cwd: import.meta.dirname, env };
        execFile("bash", ["sanitize.sh", ...program], options, (error, _, stderr) => {
          failed = error !== null;
          errors = stderr;
          resolve();
        });
      }),
    300_000,
  );

  it("programs touch no memory that is gone", () => {
    expect(failed, errors).toBe(false);
    expect(reports("program"), errors).toHaveLength(5);
    for (const report of reports("program")) expect(report).not.toMatch(/Sanitizer|runtime error/);
  });

  it("misuse is found", () => {
    expect(reports("misuse"), errors).toHaveLength(5);
    for (const report of reports("misuse"))
      expect(report).toMatch(/ERROR: AddressSanitizer: (heap-use-after-free|use-after-poison)/);
  });
});
