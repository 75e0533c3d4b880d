/** Sampling by inverting the cumulative distribution: a workgroup a row, top-k and top-p by bisection, not by sorting. */
import { type Kernel, kernel } from "./_kernel.ts";
import { lowest, program, reductions } from "./_program.ts";

/** Bits of floats as whole numbers of the same order. */
const order = `
fn keyOf(z: f32) -> u32 {
  let bits = bitcast<u32>(z);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn valueOf(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u)); }`;

/**
 * The lowest key that stays. Both searches fix it bit by bit: the k-th highest is the largest key that k elements
 * reach; and a token stays as long as what lies above it holds less than topP of the mass of the k highest.
 */
const cut = `
  var kept = 0u;
  var mass = total;
  if (u.topK < u.width) {
    for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
      var count = 0.0;
      for (var i = lane; i < u.width; i += threads) {
        count += select(0.0, 1.0, keyOf(logits[base + i] * u.inverseTemperature) >= (kept | bit));
      }
      if (sumOver(count, lane) >= f32(u.topK)) { kept |= bit; }
    }
    var above = vec2f(0.0);
    for (var i = lane; i < u.width; i += threads) {
      let z = logits[base + i] * u.inverseTemperature;
      if (keyOf(z) > kept) { above += vec2f(1.0, exp(z - highest)); }
    }
    let ties = f32(u.topK) - sumOver(above.x, lane);
    mass = sumOver(above.y, lane) + ties * exp(valueOf(kept) - highest);
  }
  if (u.topP < 1.0) {
    var full = 0u;
    var found = 0.0;
    for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
      var above = 0.0;
      for (var i = lane; i < u.width; i += threads) {
        let z = logits[base + i] * u.inverseTemperature;
        if (keyOf(z) > (full | bit)) { above += exp(z - highest); }
      }
      if (sumOver(above, lane) >= u.topP * mass) { full |= bit; found = 1.0; }
    }
    if (found > 0.0) { kept = max(kept, full + 1u); }
  }`;

const sampleProgram = (cuts: boolean) =>
  program({
    key: `sample${cuts ? ", cut" : ""}`,
    buffers: { logits: "in f32", draws: "in f32", ids: "out i32", logProbs: "out f32" },
    ints: ["rows", "width", "topK"],
    floats: ["inverseTemperature", "topP"],
    declarations: reductions + order,
    main: `
  if (index >= u.rows) { return; }
  let base = index * u.width;
  var top = ${lowest};
  for (var i = lane; i < u.width; i += threads) { top = max(top, logits[base + i] * u.inverseTemperature); }
  let highest = maxOver(top, lane);
  var sum = 0.0;
  for (var i = lane; i < u.width; i += threads) { sum += exp(logits[base + i] * u.inverseTemperature - highest); }
  let total = sumOver(sum, lane);
  ${cuts ? cut : "let kept = 0u;"}
  // Each thread sums a run of tokens; one thread finds the run, then the token in it.
  let run = (u.width + threads - 1u) / threads;
  var share = 0.0;
  for (var i = lane * run; i < min(u.width, (lane + 1u) * run); i++) {
    let z = logits[base + i] * u.inverseTemperature;
    share += select(0.0, exp(z - highest), keyOf(z) >= kept);
  }
  partial[lane] = share;
  workgroupBarrier();
  if (lane > 0u) { return; }
  var all = 0.0;
  for (var i = 0u; i < threads; i++) { all += partial[i]; }
  // The largest float below 1 that stays below 1 when multiplied with any sum and rounded.
  let wanted = all * min(draws[index], 1.0 - 1.1920929e-7);
  var before = 0.0;
  var chosen = 0u;
  while (chosen < threads - 1u && before + partial[chosen] <= wanted) {
    before += partial[chosen];
    chosen++;
  }
  var id = 0u;
  for (var i = chosen * run; i < min(u.width, (chosen + 1u) * run); i++) {
    let z = logits[base + i] * u.inverseTemperature;
    let weight = select(0.0, exp(z - highest), keyOf(z) >= kept);
    if (weight > 0.0) { id = i; }
    before += weight;
    if (before > wanted) { break; }
  }
  ids[index] = i32(id);
  logProbs[index] = logits[base + id] * u.inverseTemperature - highest - log(total);`,
  });
const plainProgram = sampleProgram(false);
const cutProgram = sampleProgram(true);

const sample = kernel<
  "logits" | "uniforms",
  { readonly temperature: number; readonly topK: number; readonly topP: number }
>(({ inputs: { logits, uniforms: draws }, attrs, backend }) => {
  const [rows, width] = logits.shape as [number, number];
  const topK = attrs.topK === 0 ? width : Math.min(attrs.topK, width);
  const [ids, logProbs] = [backend.output([rows], "int32"), backend.output([rows])];
  backend.run(topK < width || attrs.topP < 1 ? cutProgram : plainProgram, {
    tensors: { logits, draws, ids, logProbs },
    uniforms: { rows, width, topK, inverseTemperature: 1 / attrs.temperature, topP: attrs.topP },
    groups: rows,
  });
  return [ids, logProbs];
});

export const sampleKernels: Record<string, Kernel> = { RlhfSample: sample };
