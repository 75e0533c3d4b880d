/** Finds PyTorch; installs nothing. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

const advice = `To measure it too:

    python3 -m venv torch && torch/bin/pip install torch==2.13.0 transformers==5.18.0
    npm run bench -- --python torch/bin/python
`;

/** The version of PyTorch that this interpreter has, or why there is none and how to get it. */
export async function findPyTorch(
  python: string,
): Promise<{ readonly version: string } | { readonly missing: string }> {
  try {
    const { stdout } = await run(python, ["-c", "import torch, transformers; print(torch.__version__)"]);
    return { version: stdout.trim() };
  } catch (error) {
    const problem = (error as Error).message.trim().split("\n").at(-1);
    return { missing: `PyTorch is not measured: ${problem}\n${advice}` };
  }
}
