import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Schema from "effect/Schema";
import {
  findPackage,
  hasBinding,
  importPackage,
  restoreRemovedNodeFunctions,
  runsInNode,
} from "./_node_packages.ts";
import { patchWasmMatMul } from "./_wasm_mat_mul.ts";
import { restoreGradients } from "./gradients.ts";

/**
 * Where tensors are computed: `cuda` is an NVIDIA GPU (`@rlhf/backend-cuda`), `webgpu` a GPU of any maker
 * (`@rlhf/backend-webgpu`), `native` is C++ (`@rlhf/backend-native`), `wasm` and `cpu` come with tfjs, and `tensorflow`
 * is the user's own `@tensorflow/tfjs-node-gpu` or `@tensorflow/tfjs-node`.
 */
export type BackendName = "cuda" | "webgpu" | "native" | "wasm" | "cpu" | "tensorflow";

/** The backend in use and, in words, why. */
export interface BackendChoice {
  readonly name: BackendName;
  readonly reason: string;
}

/** No backend of those asked for could start; lists what was tried, what was wrong and how to mend it. */
export class BackendUnavailable extends Schema.TaggedError<BackendUnavailable>()("BackendUnavailable", {
  tried: Schema.Array(Schema.Struct({ name: Schema.String, problem: Schema.String, remedy: Schema.String })),
}) {
  override get message(): string {
    const lines = this.tried.map(({ name, problem, remedy }) => `  ${name}: ${problem} ${remedy}`);
    return ["No tensor backend could start.", ...lines].join("\n");
  }
}

/** What keeps one backend from starting. */
class Obstacle extends Error {
  readonly problem: string;
  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.problem = problem;
    this.remedy = remedy;
  }
}

const needsNode = new Obstacle("it runs in Node only.", 'In a browser take "wasm".');

/**
 * Starts one backend and makes it tfjs's active one; answers with what it is, or throws an Obstacle.
 * `asked` tells a choice by name from `auto`.
 */
const start: Readonly<Record<BackendName, (asked: boolean) => Promise<string>>> = {
  cuda: async () => {
    const engine = await nodeEngine<{ gpu: string; precision: string }>("cuda");
    const remedy = "Check the GPU with nvidia-smi.";
    const { gpu, precision } = await attempt(remedy, async () => engine.register());
    await activate("cuda", remedy);
    return `CUDA on ${gpu}, matrix products in ${precision}`;
  },
  webgpu: async (asked) => {
    const name = "@rlhf/backend-webgpu";
    const found = findPackage(name);
    const remedy = runsInNode
      ? `Install it: npm i ${name}`
      : `Import "${name}" before the backend is chosen.`;
    const { adapter, software } = await attempt(remedy, async () => {
      const imported = found && ((await importPackage(found)) as { default: GpuEngine }).default;
      const engine = imported ?? (globalThis as { [webGpuEngine]?: GpuEngine })[webGpuEngine];
      if (!engine) throw new Error(`${name} is not ${runsInNode ? "installed" : "part of this page"}.`);
      return engine.register({ software: asked });
    });
    await activate("webgpu", remedy);
    return `WebGPU on ${adapter}${software ? ", a program on the CPU and no GPU" : ""}`;
  },
  native: async () => {
    const engine = await nodeEngine<{ threads: number; isa: string }>("native");
    const remedy = "Build it with a C++17 compiler, make and Python at hand: npx rlhf-backend-native";
    const { threads, isa } = await attempt(remedy, async () => engine.register());
    await activate("native", remedy);
    return `C++ kernels, ${isa}, ${threadsInWords(threads)}`;
  },
  wasm: async () => {
    const remedy = runsInNode
      ? "Use a Node version with WebAssembly SIMD (16 or later)."
      : "Say where the .wasm files are: setWasmPaths of @tensorflow/tfjs-backend-wasm, before the backend is chosen.";
    const { getThreadsCount } = await attempt(
      "Install it: npm i @tensorflow/tfjs-backend-wasm",
      () => import("@tensorflow/tfjs-backend-wasm"),
    );
    patchWasmMatMul();
    await activate("wasm", remedy);
    return `WebAssembly kernels, ${threadsInWords(Math.max(1, getThreadsCount()))}`; // −1 where it cannot have several
  },
  cpu: async () => {
    // Without this tfjs prints an advertisement for tfjs-node at its first tensor.
    (tf.findBackend("cpu") as { firstUse?: boolean }).firstUse = false;
    await activate("cpu", "");
    return "plain JavaScript kernels, the slow reference";
  },
  tensorflow: async () => {
    if (!runsInNode) throw needsNode;
    const names = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"];
    const found = names.flatMap((name) => findPackage(name) ?? []);
    const remedy =
      "Install it yourself: npm i @tensorflow/tfjs-node-gpu (Linux, NVIDIA driver, CUDA 11.2 and cuDNN 8.1, no Hopper or newer GPU) " +
      "or npm i @tensorflow/tfjs-node (CPU); prebuilt for Node 18 and 20, newer ones build from source.";
    if (found.length === 0) throw new Obstacle(`Neither ${names.join(" nor ")} is installed.`, remedy);
    const usable = found.find(hasBinding);
    if (!usable) {
      const problem = `${found.map(({ name }) => name).join(" and ")} lacks its native library lib/napi-v*/tfjs_binding.node.`;
      throw new Obstacle(problem, `Build it: npm rebuild ${found[0]!.name} --build-from-source. ${remedy}`);
    }
    await attempt(remedy, async () => {
      restoreRemovedNodeFunctions();
      withoutWarnings(() => usable.require(usable.name));
      restoreGradients();
    });
    await activate("tensorflow", remedy);
    return `TensorFlow through ${usable.name}`;
  },
};

/**
 * The default export of `@rlhf/backend-…` for an engine that only Node can run; its errors may carry a remedy. A program that is
 * bundled into one file leaves it under the package's name: there are no packages to be looked for beside it.
 */
const nodeEngine = async <Report>(engine: string): Promise<{ register(): Report }> => {
  const name = `@rlhf/backend-${engine}`;
  if (!runsInNode) throw needsNode;
  const bundled = (globalThis as { [name: symbol]: { register(): Report } | undefined })[Symbol.for(name)];
  if (bundled) return bundled;
  const found = findPackage(name);
  if (!found) throw new Obstacle(`${name} is not installed.`, `Install it: npm i ${name}`);
  const imported = attempt(`Install it again: npm i ${name}`, () => importPackage(found));
  return ((await imported) as { default: { register(): Report } }).default;
};

const threadsInWords = (threads: number): string => `${threads} ${threads === 1 ? "thread" : "threads"}`;

/** The default export of `@rlhf/backend-webgpu`; its errors carry a remedy of their own. */
interface GpuEngine {
  register(options: { software: boolean }): Promise<{ adapter: string; software: boolean }>;
}
/** Where that package leaves itself when it is imported: a browser cannot look for packages. */
const webGpuEngine = Symbol.for("@rlhf/backend-webgpu");

const attempt = async <A>(remedy: string, run: () => Promise<A>): Promise<A> => {
  try {
    return await run();
  } catch (cause) {
    const { message, remedy: own } = cause as Partial<Obstacle>;
    throw new Obstacle(message ?? String(cause), own ?? remedy);
  }
};

const activate = (name: BackendName, remedy: string): Promise<void> =>
  attempt(remedy, async () => {
    if (!(await tf.setBackend(name))) throw new Error("tfjs could not initialise it.");
    await tf.ready();
  });

/** tfjs-node brings its own copies of kernels that are here already, and tfjs warns of each. */
const withoutWarnings = (run: () => void): void => {
  const production = tf.env().getBool("PROD");
  tf.env().set("PROD", true);
  try {
    run();
  } finally {
    tf.env().set("PROD", production);
  }
};

const candidates = (choice: "auto" | BackendName): ReadonlyArray<BackendName> =>
  choice === "auto" ? ["cuda", "webgpu", "native", "wasm", "cpu"] : [choice];

/**
 * Starts a backend and makes it tfjs's active one, process-wide. `auto` takes the fastest that works: cuda where
 * there is an NVIDIA GPU, webgpu where there is another, then native, then wasm, then cpu; `reason` says what the choice
 * is and what was passed over.
 */
export const chooseBackend = Effect.fn("tensor.chooseBackend")(function* (choice: "auto" | BackendName) {
  const tried: Array<{ name: BackendName; problem: string; remedy: string }> = [];
  for (const name of candidates(choice)) {
    const outcome = yield* Effect.promise(() =>
      start[name](choice !== "auto").catch((error: unknown) => {
        if (error instanceof Obstacle) return error;
        throw error;
      }),
    );
    if (outcome instanceof Obstacle) {
      tried.push({ name, problem: outcome.problem, remedy: outcome.remedy });
      continue;
    }
    // Most machines have no GPU, and nothing mends that: how to is told to those who ask for it by name.
    const passedOver = tried.map(
      ({ name, problem, remedy }) => `; not ${name}: ${name === "webgpu" ? problem : `${problem} ${remedy}`}`,
    );
    return { name, reason: outcome + passedOver.join("") } satisfies BackendChoice as BackendChoice;
  }
  return yield* new BackendUnavailable({ tried });
});

/** `chooseBackend` as a promise, which rejects with `BackendUnavailable`. */
export const useBackend = (choice: "auto" | BackendName): Promise<BackendChoice> =>
  Effect.runPromise(chooseBackend(choice));

/** The backend in use, as a service: a stage that needs tensors needs this. */
export class Backend extends Context.Service<Backend, BackendChoice>()("@rlhf/tensor/Backend") {
  static readonly layer = (choice: "auto" | BackendName): Layer.Layer<Backend, BackendUnavailable> =>
    Layer.effect(Backend, chooseBackend(choice));
}
