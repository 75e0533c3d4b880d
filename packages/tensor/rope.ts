import * as tf from "@tensorflow/tfjs-core";
import { assertRange, assertShape, assertType } from "./_shapes.ts";
import { assertHeads } from "./attention.ts";
import { hasFusedKernel, runFusedKernel } from "./fused_kernels.ts";
import "./gradients.ts";
import { type RopeScaling, ropeFrequencies } from "./rope_scaling.ts";

const task = "rotate positions";

/**
 * Rotary position embedding (Su et al. 2021) in the rotate-half convention of Llama: of each query and key head,
 * element i and element i + headDim/2 turn together by position · theta^(−2i / headDim); values pass unchanged.
 *
 * @param qkv `[batch, time, (heads + 2 kvHeads) headDim]`, laid out as `attention` wants it
 * @param options.positions int32 `[batch, time]`
 * @param options.theta the base of the wavelengths, 10000 in the paper
 * @param options.scaling stretches the wavelengths; it is composed of tfjs operations on every backend
 * @returns the same shape as qkv
 * @throws RangeError when shapes do not agree or headDim is odd, TypeError when positions are not int32
 */
export const rope = (
  qkv: tf.Tensor3D,
  options: {
    readonly heads: number;
    readonly kvHeads: number;
    readonly positions: tf.Tensor2D;
    readonly theta: number;
    readonly scaling?: RopeScaling | undefined;
  },
): tf.Tensor3D => {
  const { heads, kvHeads, positions, theta, scaling } = options;
  assertShape(task, "qkv", qkv, ["batch", "time", "(heads + 2 kvHeads) headDim"]);
  assertHeads(task, qkv, heads, kvHeads);
  assertShape(task, "positions", positions, qkv.shape.slice(0, 2));
  assertType(task, "positions", positions, "int32");
  const headDim = qkv.shape[2] / (heads + 2 * kvHeads);
  assertRange(task, headDim % 2 === 0, `headDim must be even, got ${headDim}`);
  const spec = { heads, kvHeads, theta };
  return tf.tidy(() =>
    hasFusedKernel("RlhfRope") && scaling === undefined
      ? fusedRope(qkv, positions, spec)
      : composedRope(qkv, positions, spec, scaling),
  );
};

interface RopeSpec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly theta: number;
}

const composedRope = (
  qkv: tf.Tensor3D,
  positions: tf.Tensor2D,
  spec: RopeSpec,
  scaling: RopeScaling | undefined,
): tf.Tensor3D => {
  const { heads, kvHeads, theta } = spec;
  const [batch, time, width] = qkv.shape;
  const headDim = width / (heads + 2 * kvHeads);
  const rotatedHeads = heads + kvHeads;

  const { frequencies, amplitude } = ropeFrequencies(headDim, theta, scaling);
  const angles = tf.mul(
    tf.reshape(tf.cast(positions, "float32"), [batch, time, 1, 1]),
    tf.tensor1d(frequencies),
  );
  const [cosine, sine] = [tf.mul(tf.cos(angles), amplitude), tf.mul(tf.sin(angles), amplitude)];

  const [queryKey, value] = tf.split(qkv, [rotatedHeads * headDim, kvHeads * headDim], 2) as [
    tf.Tensor3D,
    tf.Tensor3D,
  ];
  const [first, second] = tf.split(tf.reshape(queryKey, [batch, time, rotatedHeads, headDim]), 2, 3) as [
    tf.Tensor4D,
    tf.Tensor4D,
  ];
  const rotated = tf.concat(
    [
      tf.sub(tf.mul(first, cosine), tf.mul(second, sine)),
      tf.add(tf.mul(second, cosine), tf.mul(first, sine)),
    ],
    3,
  );
  return tf.concat([tf.reshape(rotated, [batch, time, rotatedHeads * headDim]), value], 2) as tf.Tensor3D;
};

const fusedRope = (qkv: tf.Tensor3D, positions: tf.Tensor2D, spec: RopeSpec): tf.Tensor3D =>
  tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const [value] = runFusedKernel("RlhfRope", { qkv, positions }, { ...spec, inverse: false });
    save([positions]);
    const gradFunc = (dy: tf.Tensor, [positions]: tf.Tensor[]) =>
      runFusedKernel("RlhfRope", { qkv: dy, positions: positions! }, { ...spec, inverse: true })[0];
    return { value, gradFunc };
  })(qkv) as tf.Tensor3D;
