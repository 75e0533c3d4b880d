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
  /** What the package is for: an example that says `missing` where there is none does what it should. */
  readonly device?: { readonly name: string; readonly missing: string };
}

const budget = (megabytes: number, importing: number, function_: string, kilobytes: number): Budget => ({
  megabytes,
  importing,
  function: function_,
  kilobytes,
});

export const budgets: Readonly<Record<string, Budget>> = {
  "@rlhf/backend-cuda": {
    ...budget(999, 9999, "register", 9999),
    nodeOnly: true,
    device: { name: "NVIDIA GPU", missing: "libcuda" },
  },
  "@rlhf/backend-native": { ...budget(999, 9999, "register", 9999), nodeOnly: true },
  "@rlhf/backend-webgpu": {
    ...budget(999, 9999, "register", 9999),
    nodeOnly: true,
    device: { name: "GPU", missing: "NoAdapter" },
  },
  "@rlhf/bandit-env": budget(999, 9999, "weightedSum", 9999),
  "@rlhf/core": budget(999, 9999, "uniforms", 9999),
  "@rlhf/data": budget(999, 9999, "pack", 9999),
  "@rlhf/doctor": budget(999, 9999, "examine", 9999),
  "@rlhf/dpo": budget(999, 9999, "dpoLoss", 9999),
  "@rlhf/eval": budget(999, 9999, "bestOfNKl", 9999),
  "@rlhf/hub": budget(999, 9999, "checkpointFiles", 9999),
  "@rlhf/kl": budget(999, 9999, "k3", 9999),
  "@rlhf/labeler": budget(999, 9999, "agreement", 9999),
  "@rlhf/optim": budget(999, 9999, "cosine", 9999),
  "@rlhf/policy-gradient": budget(999, 9999, "clippedSurrogate", 9999),
  "@rlhf/ppo": budget(999, 9999, "gae", 9999),
  "@rlhf/pretrain": budget(999, 9999, "maskTokens", 9999),
  "@rlhf/reward": budget(999, 9999, "bradleyTerryLoss", 9999),
  "@rlhf/sft": budget(999, 9999, "responseLoss", 9999),
  "@rlhf/tensor": budget(999, 9999, "linear", 9999),
  "@rlhf/tokenizer": budget(999, 9999, "tokenOffsets", 9999),
  "@rlhf/transformer": budget(999, 9999, "toSequences", 9999),
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
