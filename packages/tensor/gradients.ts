/**
 * Gradients of plain tfjs operations. In Node, tfjs-core registers none by itself; importing this file registers
 * those below wherever none is registered yet. Each formula is one line: the gradient of a scalar loss by the
 * operation's inputs, given `dy`, its gradient by the operation's output.
 */
import * as tf from "@tensorflow/tfjs-core";

type Tensor = tf.Tensor;
// biome-ignore lint/suspicious/noExplicitAny: each kernel has attributes of its own
type Attributes = Record<string, any>;
type Gradient = (dy: Tensor, saved: Tensor[], attrs: Attributes) => Record<string, () => Tensor>;

const ours: tf.GradConfig[] = [];

const registerOnce = (config: tf.GradConfig): void => {
  if (tf.getGradient(config.kernelName) != null) return;
  ours.push(config);
  tf.registerGradient(config);
};

/**
 * Registers the gradients of this file again, after the import of a package that replaces all gradients by tfjs's
 * own, some of which fail where shapes broadcast or where a kernel is missing.
 */
export const restoreGradients = (): void => ours.forEach(tf.registerGradient);

const register = (kernelName: string, inputsToSave: string[], outputsToSave: boolean[], gradient: Gradient) =>
  registerOnce({ kernelName, inputsToSave, outputsToSave, gradFunc: gradient as tf.GradFunc });

/** dy summed over the axes along which an input of this shape was broadcast. */
const sumTo = (dy: Tensor, shape: number[]): Tensor => {
  const extra = dy.rank - shape.length;
  const axes = dy.shape.flatMap((size, axis) =>
    axis < extra || (shape[axis - extra] === 1 && size !== 1) ? [axis] : [],
  );
  return tf.reshape(axes.length > 0 ? tf.sum(dy, axes) : dy, shape);
};

const float = (x: Tensor): Tensor => tf.cast(x, "float32");
const zeros = (shape: number[]): Tensor => tf.zeros(shape);

// Elementwise, one input: y = f(x); `known` is x or y, whichever the formula needs.
type Slope = (dy: Tensor, known: Tensor, attrs: Attributes) => Tensor;
const fromInput = (name: string, slope: Slope) =>
  register(name, ["x"], [], (dy, [x], attrs) => ({ x: () => slope(dy, x!, attrs) }));
const fromOutput = (name: string, slope: Slope) =>
  register(name, [], [true], (dy, [y], attrs) => ({ x: () => slope(dy, y!, attrs) }));
const fromNothing = (name: string, slope: (dy: Tensor, attrs: Attributes) => Tensor) =>
  register(name, [], [], (dy, _, attrs) => ({ x: () => slope(dy, attrs) }));

fromNothing(tf.Neg, (dy) => tf.neg(dy));
fromNothing(tf.Identity, (dy) => float(dy));
fromNothing(tf.Cast, (dy) => float(dy));
fromNothing(tf.Transpose, (dy, { perm }) => tf.transpose(dy, tf.backend_util.getUndoAxesPermutation(perm)));
fromNothing(tf.Reverse, (dy, { dims }) => tf.reverse(dy, dims));
fromInput(tf.Reshape, (dy, x) => tf.reshape(dy, x.shape));
fromNothing(tf.Cumsum, (dy, { axis, exclusive, reverse }) => tf.cumsum(dy, axis, exclusive, !reverse));

fromInput(tf.Abs, (dy, x) => tf.mul(dy, tf.sign(x)));
fromInput(tf.Square, (dy, x) => tf.mul(dy, tf.mul(x, 2)));
fromInput(tf.Sin, (dy, x) => tf.mul(dy, tf.cos(x)));
fromInput(tf.Cos, (dy, x) => tf.mul(dy, tf.neg(tf.sin(x))));
fromInput(tf.Log, (dy, x) => tf.div(dy, x));
fromInput(tf.Log1p, (dy, x) => tf.div(dy, tf.add(x, 1)));
fromInput(tf.Erf, (dy, x) => tf.mul(dy, tf.mul(tf.exp(tf.neg(tf.square(x))), 2 / Math.sqrt(Math.PI))));
fromInput(tf.Softplus, (dy, x) => tf.mul(dy, tf.sigmoid(x)));
fromInput(tf.Relu, (dy, x) => tf.mul(dy, tf.step(x)));
fromInput(tf.LeakyRelu, (dy, x, { alpha }) => tf.mul(dy, tf.step(x, alpha)));
fromInput(tf.Elu, (dy, x) => tf.mul(dy, tf.exp(tf.minimum(x, 0))));
fromInput(tf.ClipByValue, (dy, x, { clipValueMin, clipValueMax }) =>
  tf.mul(dy, float(tf.logicalAnd(tf.greaterEqual(x, clipValueMin), tf.lessEqual(x, clipValueMax)))),
);
fromOutput(tf.Exp, (dy, y) => tf.mul(dy, y));
fromOutput(tf.Expm1, (dy, y) => tf.mul(dy, tf.add(y, 1)));
fromOutput(tf.Sqrt, (dy, y) => tf.div(dy, tf.mul(y, 2)));
fromOutput(tf.Rsqrt, (dy, y) => tf.mul(dy, tf.mul(tf.mul(tf.square(y), y), -0.5)));
fromOutput(tf.Reciprocal, (dy, y) => tf.neg(tf.mul(dy, tf.square(y))));
fromOutput(tf.Sigmoid, (dy, y) => tf.mul(dy, tf.mul(y, tf.sub(1, y))));
fromOutput(tf.Tanh, (dy, y) => tf.mul(dy, tf.sub(1, tf.square(y))));

// Constant almost everywhere.
for (const name of [
  tf.Sign,
  tf.Floor,
  tf.Ceil,
  tf.Round,
  tf.Step,
  tf.IsNan,
  tf.IsFinite,
  tf.IsInf,
  tf.LogicalNot,
]) {
  fromNothing(name, (dy) => zeros(dy.shape));
}
for (const name of [tf.ZerosLike, tf.OnesLike]) fromNothing(name, (dy) => zeros(dy.shape));
for (const name of [tf.ArgMax, tf.ArgMin]) fromInput(name, (_, x) => zeros(x.shape));
register(tf.OneHot, ["indices"], [], (_, [indices]) => ({ indices: () => zeros(indices!.shape) }));

// Elementwise, two inputs that broadcast.
type Slopes = (dy: Tensor, a: Tensor, b: Tensor) => { a: () => Tensor; b: () => Tensor };
const binary = (name: string, slopes: Slopes) =>
  register(name, ["a", "b"], [], (dy, [a, b]) => {
    const by = slopes(dy, a!, b!);
    return { a: () => sumTo(by.a(), a!.shape), b: () => sumTo(by.b(), b!.shape) };
  });

binary(tf.Add, (dy) => ({ a: () => dy, b: () => dy }));
binary(tf.Sub, (dy) => ({ a: () => dy, b: () => tf.neg(dy) }));
binary(tf.Multiply, (dy, a, b) => ({ a: () => tf.mul(dy, float(b)), b: () => tf.mul(dy, float(a)) }));
binary(tf.RealDiv, (dy, a, b) => ({
  a: () => tf.div(dy, float(b)),
  b: () => tf.neg(tf.div(tf.mul(dy, float(a)), tf.square(float(b)))),
}));
binary(tf.SquaredDifference, (dy, a, b) => ({
  a: () => tf.mul(dy, tf.mul(tf.sub(a, b), 2)),
  b: () => tf.mul(dy, tf.mul(tf.sub(b, a), 2)),
}));
// At ties the gradient goes to `a` alone.
binary(tf.Maximum, (dy, a, b) => ({
  a: () => tf.mul(dy, float(tf.greaterEqual(a, b))),
  b: () => tf.mul(dy, float(tf.less(a, b))),
}));
binary(tf.Minimum, (dy, a, b) => ({
  a: () => tf.mul(dy, float(tf.lessEqual(a, b))),
  b: () => tf.mul(dy, float(tf.greater(a, b))),
}));
binary(tf.Pow, (dy, a, b) => ({
  a: () => tf.mul(dy, tf.mul(float(b), tf.pow(a, tf.sub(float(b), 1)))),
  b: () =>
    tf.mul(
      dy,
      tf.mul(tf.pow(a, b), tf.where(tf.greater(a, 0), tf.log(tf.maximum(a, 1e-38)), tf.zerosLike(a))),
    ),
}));
binary(tf.Mod, (dy, a, b) => ({ a: () => dy, b: () => tf.neg(tf.mul(dy, tf.floor(tf.div(a, b)))) }));
for (const name of [
  tf.FloorDiv,
  tf.Greater,
  tf.GreaterEqual,
  tf.Less,
  tf.LessEqual,
  tf.Equal,
  tf.NotEqual,
  tf.LogicalAnd,
  tf.LogicalOr,
]) {
  binary(name, (dy) => ({ a: () => zeros(dy.shape), b: () => zeros(dy.shape) }));
}
register(tf.Select, ["condition"], [], (dy, [condition]) => ({
  condition: () => zeros(condition!.shape),
  t: () => tf.mul(dy, float(condition!)),
  e: () => tf.mul(dy, float(tf.logicalNot(condition!))),
}));

// Reductions. `axis` may be one number, a list or nothing.
const reducedAxes = (x: Tensor, axis: number | number[] | null | undefined): number[] =>
  tf.util.parseAxisParam(axis ?? x.shape.map((_, i) => i), x.shape);
/** A reduced tensor with its reduced axes back as 1, so that it broadcasts against x. */
const expanded = (reduced: Tensor, x: Tensor, axis: number | number[] | null | undefined): Tensor =>
  tf.reshape(reduced, tf.backend_util.expandShapeToKeepDim(keptShape(x, axis), reducedAxes(x, axis)));
const keptShape = (x: Tensor, axis: number | number[] | null | undefined): number[] => {
  const reduced = reducedAxes(x, axis);
  return x.shape.filter((_, i) => !reduced.includes(i));
};

fromInput(tf.Sum, (dy, x, { axis }) => tf.mul(expanded(dy, x, axis), tf.ones(x.shape)));
fromInput(tf.Mean, (dy, x, { axis }) =>
  tf.mul(tf.div(expanded(dy, x, axis), x.size / Math.max(1, dy.size)), tf.ones(x.shape)),
);
fromInput(tf.Prod, (dy, x, { axis }) => productGradient(dy, x, reducedAxes(x, axis)));
for (const name of [tf.Max, tf.Min]) {
  // At ties the gradient is shared in equal parts.
  register(name, ["x"], [true], (dy, saved, { reductionIndices, axis }) => ({
    x: () => {
      const [x, y] = saved as [Tensor, Tensor];
      const axes = reductionIndices ?? axis;
      const chosen = float(tf.equal(x, expanded(y, x, axes)));
      return tf.mul(chosen, tf.div(expanded(dy, x, axes), tf.sum(chosen, reducedAxes(x, axes), true)));
    },
  }));
}

/** ∂ ∏ x / ∂ xᵢ is the product of all the others: of those before times those behind, so that zeros do no harm. */
const productGradient = (dy: Tensor, x: Tensor, axes: number[]): Tensor => {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const order = [...kept, ...axes];
  const rows = tf.reshape(tf.transpose(x, order), [dy.size, -1]);
  const others = tf.mul(tf.cumprod(rows, 1, true, false), tf.cumprod(rows, 1, true, true));
  const flat = tf.reshape(
    tf.mul(others, tf.reshape(dy, [-1, 1])),
    order.map((i) => x.shape[i]!),
  );
  return tf.transpose(flat, tf.backend_util.getUndoAxesPermutation(order));
};

register(tf.Softmax, [], [true], (dy, [y], { dim }) => ({
  logits: () => {
    const product = tf.mul(dy, y!);
    return tf.sub(product, tf.mul(tf.sum(product, dim, true), y!));
  },
}));

// Products. Batch axes of either side may have been broadcast.
register(tf.BatchMatMul, ["a", "b"], [], (dy, saved, { transposeA, transposeB }) => {
  const [a, b] = saved as [Tensor, Tensor];
  return {
    a: () =>
      sumTo(transposeA ? tf.matMul(b, dy, transposeB, true) : tf.matMul(dy, b, false, !transposeB), a.shape),
    b: () =>
      sumTo(transposeB ? tf.matMul(dy, a, true, transposeA) : tf.matMul(a, dy, !transposeA, false), b.shape),
  };
});

// Moving things about.
register(tf.ExpandDims, ["input"], [], (dy, [input]) => ({ input: () => tf.reshape(dy, input!.shape) }));
register(tf.BroadcastTo, ["x"], [], (dy, [x]) => ({ x: () => sumTo(dy, x!.shape) }));
register(tf.Tile, ["x"], [], (dy, [x], { reps }) => ({
  x: () => {
    const split = x!.shape.flatMap((size, axis) => [reps[axis] as number, size]);
    return tf.sum(
      tf.reshape(dy, split),
      x!.shape.map((_, axis) => 2 * axis),
    );
  },
}));
register(tf.Slice, ["x"], [], (dy, [x], { begin }) => ({
  x: () =>
    tf.pad(
      dy,
      x!.shape.map((size, axis) => [begin[axis], size - begin[axis] - dy.shape[axis]!]),
    ),
}));
register(tf.PadV2, ["x"], [], (dy, [x], { paddings }) => ({
  x: () =>
    tf.slice(
      dy,
      paddings.map((padding: number[]) => padding[0]),
      x!.shape,
    ),
}));

// Lists of tensors: inputs are named "0", "1", "2", …
const numbered = (gradients: ReadonlyArray<() => Tensor>): Record<string, () => Tensor> =>
  Object.fromEntries(gradients.map((gradient, index) => [index, gradient]));

registerOnce({
  kernelName: tf.AddN,
  saveAllInputs: true,
  gradFunc: (dy, saved) => numbered(saved.map(() => () => dy as Tensor)),
});
registerOnce({
  kernelName: tf.Concat,
  saveAllInputs: true,
  gradFunc: (dy, saved, attrs) => {
    const axis = tf.util.parseAxisParam(attrs.axis as number, saved[0]!.shape)[0]!;
    let end = 0;
    return numbered(
      saved.map(({ shape }) => {
        const begin = shape.map((_, i) => (i === axis ? end : 0));
        end += shape[axis]!;
        return () => tf.slice(dy as Tensor, begin, shape);
      }),
    );
  },
});
registerOnce({
  kernelName: tf.Pack,
  saveAllInputs: true,
  gradFunc: (dy, saved, attrs) => {
    const parts = tf.unstack(dy as Tensor, attrs.axis as number);
    return numbered(saved.map((_, index) => () => parts[index]!));
  },
});
registerOnce({
  kernelName: tf.Unpack,
  gradFunc: (dys, _, attrs) => ({ value: () => tf.stack([dys].flat(), attrs.axis as number) }),
});
registerOnce({
  kernelName: tf.SplitV,
  gradFunc: (dys, _, attrs) => ({ x: () => tf.concat([dys].flat(), attrs.axis as number) }),
});

// Reading and writing by index. Scattering adds, in the order of the indices.
register(tf.GatherV2, ["x", "indices"], [], (dy, saved, { axis, batchDims }) => ({
  x: () =>
    scatterRows(dy, saved[0]!, saved[1]!, tf.util.parseAxisParam(axis, saved[0]!.shape)[0]!, batchDims),
  indices: () => zeros(saved[1]!.shape),
}));
register(tf.GatherNd, ["params", "indices"], [], (dy, saved) => ({
  params: () => tf.scatterND(tf.cast(saved[1]!, "int32"), dy, saved[0]!.shape),
  indices: () => zeros(saved[1]!.shape),
}));
register(tf.ScatterNd, ["indices"], [], (dy, [indices]) => ({
  indices: () => zeros(indices!.shape),
  updates: () => tf.gatherND(dy, indices!),
}));

/** Gradient of `gather` along one axis: dy is `[before…, indices…, after…]`. */
const scatterRows = (dy: Tensor, x: Tensor, indices: Tensor, axis: number, batchDims: number): Tensor => {
  if (batchDims > 0) {
    const rows = tf
      .unstack(x)
      .map((row, i) =>
        scatterRows(tf.unstack(dy)[i]!, row, tf.unstack(indices)[i]!, axis - 1, batchDims - 1),
      );
    return tf.stack(rows);
  }
  const before = x.shape.slice(0, axis);
  const after = x.shape.slice(axis + 1);
  const [outer, inner] = [before, after].map((sizes) => sizes.reduce((a, b) => a * b, 1)) as [number, number];
  const updates = tf.transpose(tf.reshape(dy, [outer, indices.size, inner]), [1, 0, 2]);
  const rows = tf.scatterND(
    tf.reshape(tf.cast(indices, "int32"), [-1, 1]),
    tf.reshape(updates, [indices.size, outer * inner]),
    [x.shape[axis]!, outer * inner],
  );
  return tf.reshape(tf.transpose(tf.reshape(rows, [-1, outer, inner]), [1, 0, 2]), x.shape);
};
