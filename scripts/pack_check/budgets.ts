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
 * Sizes of 29 November 2026, and 15 % for what dependencies will add: core, kl, tensor and ppo as npm installed them, the others
 * added up from what it would install. Import time: at least twice what core (520 ms), kl (130), tensor (610) and ppo (830) took on two
 * busy cores; packages like them have the same.
 */
export const budgets: Readonly<Record<string, Budget>> = {
  "@rlhf/backend-cuda": {
    ...budget(160, 2000, "register", 120),
    nodeOnly: true,
    device: { name: "NVIDIA GPU", missing: "libcuda" },
  },
  "@rlhf/backend-native": { ...budget(125, 2000, "register", 36), nodeOnly: true },
  "@rlhf/backend-webgpu": {
    ...budget(300, 2000, "register", 54),
    nodeOnly: true,
    device: { name: "GPU", missing: "NoAdapter" },
  },
  "@rlhf/bandit-env": budget(150, 2000, "weightedSum", 34),
  "@rlhf/core": budget(65, 1200, "uniforms", 1),
  "@rlhf/data": budget(80, 1200, "pack", 2),
  "@rlhf/doctor": budget(165, 2000, "examine", 218),
  "@rlhf/dpo": budget(150, 2000, "dpoLoss", 9),
  "@rlhf/eval": budget(75, 1200, "bestOfNKl", 1),
  "@rlhf/hub": {
    ...budget(90, 1200, "checkpointFiles", 358),
    device: { name: "Hub", missing: "Unreachable" },
  },
  "@rlhf/kl": budget(140, 500, "k3", 1),
  "@rlhf/labeler": budget(70, 1200, "agreement", 1),
  "@rlhf/optim": budget(140, 2000, "cosine", 1),
  "@rlhf/policy-gradient": budget(150, 2000, "clippedSurrogate", 9),
  "@rlhf/ppo": budget(150, 2000, "gae", 1),
  "@rlhf/pretrain": budget(150, 2000, "maskTokens", 3),
  "@rlhf/reward": budget(150, 2000, "bradleyTerryLoss", 1),
  "@rlhf/sft": budget(150, 2000, "responseLoss", 45),
  "@rlhf/tensor": budget(140, 2000, "linear", 10),
  "@rlhf/tokenizer": budget(75, 1200, "tokenOffsets", 5),
  "@rlhf/transformer": budget(145, 2000, "toSequences", 1),
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
