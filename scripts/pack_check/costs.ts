import { build } from "esbuild";
import { run } from "./commands.ts";
import type { Installation } from "./installation.ts";
import type { Node } from "./runtimes.ts";

/**
 * CPU time of importing a package in a process of its own, in milliseconds, beyond that of an empty process. Time on the CPU,
 * the least of three, because a machine that is shared or slow at times must not fail the check.
 */
export async function importTime(name: string, { folder }: Installation, node: Node): Promise<number> {
  const measure = async (statement: string): Promise<number> => {
    const code = `${statement}const { user, system } = process.cpuUsage(); console.log((user + system) / 1e3);`;
    const times: Array<number> = [];
    for (let i = 0; i < 3; i++) {
      const { stdout } = await run([node.program, "--input-type=module", "-e", code], { cwd: folder });
      times.push(Number(stdout));
    }
    return Math.min(...times);
  };
  return (await measure(`await import("${name}");`)) - (await measure(""));
}

/** What a bundle with one function of a package holds: its size, minified and without tfjs, and the packages in it. */
export async function bundleOf(
  name: string,
  function_: string,
  { folder }: Installation,
): Promise<{ readonly kilobytes: number; readonly packages: ReadonlyArray<string> }> {
  const { metafile, outputFiles } = await build({
    stdin: { contents: `export { ${function_} } from "${name}";`, resolveDir: folder },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    external: ["@tensorflow/*"],
    metafile: true,
    write: false,
    logLevel: "silent",
  });
  const inputs = Object.entries(Object.values(metafile.outputs)[0]!.inputs);
  const kept = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  const packages = kept.flatMap(([path]) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);
  return { kilobytes: outputFiles[0]!.contents.length / 1e3, packages: [...new Set(packages)] };
}
