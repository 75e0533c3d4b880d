/** tfjs's operations that only move elements, and so change none of them. */
import * as tf from "@tensorflow/tfjs-core";
import { everyType, given, type PlainCase, together } from "./plain_case.ts";
import { floats, ints } from "./run_on.ts";

const transposes = [
  { shape: [3, 5], order: [1, 0] },
  { shape: [64, 47], order: [1, 0] },
  { shape: [2, 3, 4], order: [2, 0, 1] },
  { shape: [2, 3, 4], order: [0, 2, 1] },
  { shape: [5, 33, 2, 17], order: [0, 2, 1, 3] },
  { shape: [2, 3, 4, 5, 6], order: [4, 2, 0, 1, 3] },
  { shape: [0, 3], order: [1, 0] },
  { shape: [1, 7, 1], order: [2, 1, 0] },
].flatMap(({ shape, order }) =>
  everyType(shape).map((raw) => given([raw], ([x]) => tf.transpose(x!, order))),
);

const paddings: Array<[number, number]> = [
  [0, 1],
  [2, 0],
  [1, 1],
];
const views = [
  ...everyType([4, 5, 6]).map((raw) =>
    given([raw], ([x]) => [
      tf.slice(x!, [1, 0, 2], [2, 5, 3]),
      tf.slice(x!, [3], [1]),
      tf.slice(x!, [0, 2, 0], [4, 0, 6]),
      tf.tile(x!, [2, 1, 3]),
      tf.reverse(x!, [0, 2]),
      tf.expandDims(tf.reshape(x!, [20, -1]), 1),
      ...(raw.dtype === "bool" ? [] : [tf.pad(x!, paddings, 7)]),
    ]),
  ),
  given([floats(1, [1, 5])], ([x]) => tf.broadcastTo(x!, [300, 5])),
];

const joins = [0, 1, 2, -1].flatMap((axis) => {
  const shape = [3, 4, 2];
  const others = everyType(shape.with(axis, shape.at(axis)! + 1));
  return [
    ...everyType(shape).map((raw, i) =>
      given([raw, others[i]!], ([x, y]) => [
        tf.concat([x!, y!], axis),
        tf.stack([x!, x!], axis),
        ...tf.unstack(x!, axis),
      ]),
    ),
    given([floats(1, [6, 6, 6])], ([x]) => [...tf.split(x!, 3, axis), ...tf.split(x!, [1, 3, 2], axis)]),
  ];
});

const gathers = everyType([5, 4, 3]).flatMap((raw) => {
  const [along, batched] = [raw.shape.map((size, axis) => ({ size, axis })), [1, 2]];
  return [
    ...along.map(({ size, axis }) =>
      given([raw, ints(1, [2, 7], size)], ([x, i]) => tf.gather(x!, i as tf.Tensor2D, axis)),
    ),
    ...batched.map((axis) =>
      given([raw, ints(2, [5, 2], raw.shape[axis]!)], ([x, i]) => tf.gather(x!, i as tf.Tensor2D, axis, 1)),
    ),
  ];
});

const oneHots = [2, 3, 50].map((depth) =>
  given([ints(1, [2, 9], 4)], ([x]) => tf.oneHot(x as tf.Tensor2D, depth, 2, -1)),
);
const fills = given([], () => [tf.fill([3, 5], 2.5), tf.fill([4], 7, "int32"), tf.zeros([0, 2])]);

export const layoutCases: ReadonlyArray<PlainCase> = [
  together("layout", "transpose", transposes),
  together("layout", "slice, tile, reverse, reshape, pad, broadcastTo", views),
  together("layout", "concat, stack, unstack, split", joins),
  together("layout", "gather", gathers),
  together("layout", "oneHot", oneHots),
  together("layout", "fill", [fills]),
];
