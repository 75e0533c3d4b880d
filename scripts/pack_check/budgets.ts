/** What a package may cost those who install it, and one of its functions to try tree-shaking with. */
export interface Budget {
  /** Everything that is installed, effect and tfjs included. */
  readonly megabytes: number;
  /** CPU time of the import, in milliseconds. */
  readonly importing: number;
  readonly function: string;
  /** A bundle with that function alone, minified, without tfjs. */
  readonly kilobytes: number;
  /** It has native code or brings some, and so is not tried on Deno and Bun. */
  readonly nodeOnly?: boolean;
  /** What the package is for, a GPU or the Hugging Face Hub: an example that says `missing` where there is none does what it should. */
  readonly device?: { readonly name: string; readonly missing: string };
}

const budget = (megabytes: number, importing: number, function_: string, kilobytes: number): Budget => ({
  megabytes,
  importing,
  function: function_,
  kilobytes,
});

/**
 * As npm installed and esbuild bundled them on 29 November 2026, and 15 % for what dependencies will add. Import time: twice what
 * it took on two busy cores.
 */
export const budgets: Readonly<Record<string, Budget>> = {
  "@rlhf/backend-cuda": {
    ...budget(125, 500, "register", 77),
    nodeOnly: true,
    device: { name: "NVIDIA GPU", missing: "libcuda" },
  },
  "@rlhf/backend-native": { ...budget(125, 400, "register", 40), nodeOnly: true },
  "@rlhf/backend-webgpu": {
    ...budget(315, 500, "register", 57),
    nodeOnly: true,
    device: { name: "GPU", missing: "NoAdapter" },
  },
  "@rlhf/bandit-env": budget(147, 1800, "weightedSum", 34),
  "@rlhf/core": budget(65, 1000, "uniforms", 1),
  "@rlhf/data": budget(76, 1400, "pack", 2),
  "@rlhf/doctor": budget(165, 1700, "examine", 225),
  "@rlhf/dpo": budget(149, 1700, "dpoLoss", 9),
  "@rlhf/eval": budget(72, 1300, "bestOfNKl", 1),
  "@rlhf/hub": {
    ...budget(88, 1000, "checkpointFiles", 358),
    device: { name: "Hub", missing: "gave no whole answer" },
  },
  "@rlhf/kl": budget(137, 400, "k3", 1),
  "@rlhf/labeler": budget(66, 1400, "agreement", 1),
  "@rlhf/optim": budget(137, 1100, "cosine", 1),
  "@rlhf/policy-gradient": budget(148, 1300, "clippedSurrogate", 9),
  "@rlhf/ppo": budget(149, 1700, "gae", 1),
  "@rlhf/pretrain": budget(149, 1400, "maskTokens", 3),
  "@rlhf/reward": budget(148, 1400, "bradleyTerryLoss", 1),
  "@rlhf/sft": budget(148, 1300, "responseLoss", 36),
  "@rlhf/tensor": budget(137, 1100, "linear", 10),
  "@rlhf/tokenizer": budget(73, 1000, "tokenOffsets", 5),
  "@rlhf/transformer": budget(144, 1000, "toSequences", 1),
};

const tfjs = [
  "@tensorflow/tfjs-core",
  "@types/long",
  "@types/offscreencanvas",
  "@types/seedrandom",
  "@webgpu/types",
  "long",
  "node-fetch",
  "seedrandom",
  "tr46",
  "webidl-conversions",
  "whatwg-url",
];

/** What packages of other people bring along: all that may be installed beside them. */
export const brings: Readonly<Record<string, ReadonlyArray<string>>> = {
  "@effect/platform-node": ["@effect/platform-node-shared", "redis", "undici"],
  "@effect/platform-node-shared": ["@types/ws", "ws"],
  "@huggingface/hub": [
    "@huggingface/blake3-jit",
    "@huggingface/tasks",
    "@huggingface/xetchunk-wasm",
    "cli-progress",
    "gearhash-jit",
  ],
  "@observablehq/plot": ["d3", "interval-tree-1d", "isoformat"],
  "@tensorflow/tfjs-backend-cpu": tfjs,
  "@tensorflow/tfjs-backend-wasm": [...tfjs, "@types/emscripten"],
  "@tensorflow/tfjs-backend-webgpu": [...tfjs, "@tensorflow/tfjs-backend-cpu"],
  "@tensorflow/tfjs-core": tfjs,
  "@types/ws": ["@types/node", "undici-types"],
  "cli-progress": ["ansi-regex", "emoji-regex", "is-fullwidth-code-point", "string-width", "strip-ansi"],
  d3: [
    "commander",
    "d3-array",
    "d3-axis",
    "d3-brush",
    "d3-chord",
    "d3-color",
    "d3-contour",
    "d3-delaunay",
    "d3-dispatch",
    "d3-drag",
    "d3-dsv",
    "d3-ease",
    "d3-fetch",
    "d3-force",
    "d3-format",
    "d3-geo",
    "d3-hierarchy",
    "d3-interpolate",
    "d3-path",
    "d3-polygon",
    "d3-quadtree",
    "d3-random",
    "d3-scale",
    "d3-scale-chromatic",
    "d3-selection",
    "d3-shape",
    "d3-time",
    "d3-time-format",
    "d3-timer",
    "d3-transition",
    "d3-zoom",
    "delaunator",
    "iconv-lite",
    "internmap",
    "robust-predicates",
    "rw",
    "safer-buffer",
  ],
  "hyparquet-compressors": ["fzstd", "hysnappy"],
  "interval-tree-1d": ["binary-search-bounds"],
  koffi: [`@koromix/koffi-${process.platform}-${process.arch}`],
  redis: [
    "@redis/bloom",
    "@redis/client",
    "@redis/json",
    "@redis/search",
    "@redis/time-series",
    "cluster-key-slot",
  ],
  webgpu: ["@webgpu/types", "debug", "ms"],
};

/** Packages of other people with install scripts, of which npm warns; they work without these. */
export const scripted: ReadonlyArray<string> = ["koffi", "webgpu"];
