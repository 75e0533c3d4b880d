import * as tf from "@tensorflow/tfjs-core";
import { addInto } from "./add_into.ts";
import "./gradients.ts";

/** One recorded operation: tfjs's own tape, which it keeps to itself. */
interface TapeNode {
  readonly kernelName: string;
  readonly inputs: Readonly<Record<string, tf.Tensor>>;
  readonly outputs: ReadonlyArray<tf.Tensor>;
  readonly saved: ReadonlyArray<tf.Tensor>;
  readonly gradient?: (dys: ReadonlyArray<tf.Tensor | null>) => Readonly<Record<string, () => tf.Tensor>>;
}

interface TapeEngine {
  readonly state: { activeTape: TapeNode[] | null; gradientDepth: number };
  startTape(): void;
  endTape(): void;
}

/**
 * Value of a scalar function and its gradients, as `tf.variableGrads` computes them, but every tensor that the
 * forward pass saved and every spent gradient is freed while the walk goes back: about half the memory at the peak.
 *
 * @param f differentiable function of the variables; what it allocates is freed
 * @param variables by name
 * @returns the value and one gradient for each variable, of its shape; zeros where `f` does not depend on it. The
 *   caller frees them all
 * @throws TypeError when `f` does not return a float32 scalar, when a gradient is not known, or inside another tape
 */
export const valueAndGrads = (
  f: () => tf.Tensor,
  variables: Readonly<Record<string, tf.Variable>>,
): { readonly value: tf.Scalar; readonly grads: Record<string, tf.Tensor> } => {
  const engine = tf.engine() as unknown as TapeEngine;
  if (engine.state.gradientDepth > 0) {
    throw new TypeError("Cannot take gradients: valueAndGrads does not nest inside another gradient");
  }
  const value = runWithTape(engine, f);
  const tape = engine.state.activeTape ?? [];
  engine.state.activeTape = null;
  const gradients = new Map<number, tf.Tensor>();
  try {
    if (value.size !== 1 || value.rank !== 0 || value.dtype !== "float32") {
      throw new TypeError(
        `Cannot take gradients: f must return a float32 scalar, got ${value.dtype} [${value.shape.join(", ")}]`,
      );
    }
    return { value: value as tf.Scalar, grads: walkBack(tape, value, variables, gradients) };
  } catch (error) {
    for (const node of tape) dispose(node.saved);
    dispose([value, ...gradients.values()]);
    throw error;
  }
};

const dispose = (tensors: ReadonlyArray<tf.Tensor>) => {
  for (const tensor of tensors) if (!tensor.isDisposed) tensor.dispose();
};

const runWithTape = (engine: TapeEngine, f: () => tf.Tensor): tf.Tensor => {
  engine.startTape();
  try {
    return tf.tidy(f);
  } catch (error) {
    for (const node of engine.state.activeTape ?? []) dispose(node.saved);
    engine.state.activeTape = null;
    throw error;
  } finally {
    engine.endTape();
  }
};

/** Fills `gradients`, by tensor id, from the last recorded operation to the first. */
const walkBack = (
  tape: ReadonlyArray<TapeNode>,
  value: tf.Tensor,
  variables: Readonly<Record<string, tf.Variable>>,
  gradients: Map<number, tf.Tensor>,
): Record<string, tf.Tensor> => {
  const variableIds = new Set(Object.values(variables).map((variable) => variable.id));
  const depends = new Set(variableIds);
  for (const node of tape) {
    const reached = Object.values(node.inputs).some((input) => depends.has(input.id));
    if (reached) for (const output of node.outputs) if (output.dtype === "float32") depends.add(output.id);
  }

  if (depends.has(value.id)) gradients.set(value.id, tf.onesLike(value));
  for (const node of tape.toReversed()) {
    const dys = node.outputs.map((output) => gradients.get(output.id) ?? null);
    if (dys.some((dy) => dy !== null)) {
      for (const [id, dx] of inputGradients(node, dys, depends)) accumulate(gradients, id, dx);
      for (const output of node.outputs) {
        if (variableIds.has(output.id)) continue;
        gradients.get(output.id)?.dispose();
        gradients.delete(output.id);
      }
    }
    dispose(node.saved);
  }
  return Object.fromEntries(
    Object.entries(variables).map(([name, variable]) => [
      name,
      gradients.get(variable.id) ?? tf.zerosLike(variable as tf.Tensor),
    ]),
  );
};

/** Gradients by those inputs that lead to a variable; each is a tensor of its own, never one that flows elsewhere. */
const inputGradients = (
  node: TapeNode,
  dys: ReadonlyArray<tf.Tensor | null>,
  depends: ReadonlySet<number>,
): Array<[id: number, dx: tf.Tensor]> => {
  const wanted = Object.entries(node.inputs).filter(([, input]) => depends.has(input.id));
  if (wanted.length === 0) return [];
  if (!node.gradient) throw new TypeError(`Cannot take gradients: none is known for ${node.kernelName}`);
  const gradient = node.gradient;
  return tf.tidy(() => {
    const byName = gradient(dys);
    const taken = new Set<tf.Tensor | null>(dys);
    return wanted.map(([name, input]): [number, tf.Tensor] => {
      const dx = byName[name]?.();
      if (!dx)
        throw new TypeError(`Cannot take gradients: ${node.kernelName} has none for its input ${name}`);
      const own = taken.has(dx) ? tf.clone(dx) : dx;
      taken.add(own);
      return [input.id, own];
    });
  });
};

const accumulate = (gradients: Map<number, tf.Tensor>, id: number, dx: tf.Tensor): void => {
  const sum = gradients.get(id);
  gradients.set(id, sum ? addInto(sum, dx) : dx);
};
