// Bindings of the fused kernels.
#include <algorithm>
#include <cmath>

#include "call.h"
#include "thread_pool.h"

namespace rlhf {
namespace {

/// rows · columns, or more than any array has when that overflows.
size_t area(size_t rows, size_t columns) {
  size_t result;
  return __builtin_mul_overflow(rows, columns, &result) ? SIZE_MAX / sizeof(float) : result;
}

/// The size of a last axis, which must have elements: then every other size is bounded by some array's length.
int width_at(Call& call, size_t i) {
  int width = call.size(i);
  if (width < 1) call.range_problem("the last axis must not be empty");
  return width;
}

/// x, weight, bias|null, residual|null, y, pre|null, rows, in, out, activation, transposeWeight
void linear(Call& call) {
  int rows = call.size(6), in = call.size(7), out = call.size(8), activation = call.choice(9, 5);
  bool transposed = call.flag(10);
  float* y = call.floats(4, area(rows, out));
  const float *x = call.floats(0, area(rows, in)), *weight = call.floats(1, area(in, out));
  Product p{rows, out, in, x, in, false, weight, transposed ? in : out, transposed, y, out};
  p.bias = call.floats_or_null(2, out);
  p.residual = call.floats_or_null(3, area(rows, out));
  if (activation) {
    p.activation = activation;
    p.c = call.floats(5, area(rows, out));
    p.out = y;
  }
  kernels().product(p);
}

/// dy, x, weight, pre|null, dpre|null, dx, dweight, dbias|null, rows, in, out, activation, transposeWeight
void linear_grad(Call& call) {
  int rows = call.size(8), in = call.size(9), out = call.size(10), activation = call.choice(11, 5);
  bool transposed = call.flag(12);
  const float *dy = call.floats(0, area(rows, out)), *x = call.floats(1, area(rows, in));
  const float* weight = call.floats(2, area(in, out));
  float *dx = call.floats(5, area(rows, in)), *dweight = call.floats(6, area(in, out)),
        *dbias = call.floats_or_null(7, out);
  if (activation) {
    float* dpre = call.floats(4, area(rows, out));
    kernels().activationGrad(activation, dy, call.floats(3, area(rows, out)), dpre, area(rows, out));
    dy = dpre;
  }
  kernels().product({rows, in, out, dy, out, false, weight, transposed ? in : out, !transposed, dx, in});
  if (transposed)
    kernels().product({out, in, rows, dy, out, true, x, in, false, dweight, in});
  else
    kernels().product({in, out, rows, x, in, true, dy, out, false, dweight, out});
  if (dbias) kernels().columnSums(dy, dbias, rows, out);
}

/// x, gain, bias, y, stats, rows, width, epsilon
void layer_norm(Call& call) {
  int rows = call.size(5), width = width_at(call, 6);
  kernels().layerNorm(call.floats(0, area(rows, width)), call.floats(1, width), call.floats(2, width),
                      call.floats(3, area(rows, width)), call.floats(4, area(rows, 2)), rows, width,
                      static_cast<float>(call.number(7)));
}
/// dy, x, gain, stats, dx, dgain, dbias, rows, width, residual|null
void layer_norm_grad(Call& call) {
  int rows = call.size(7), width = width_at(call, 8);
  kernels().layerNormGrad(call.floats(0, area(rows, width)), call.floats(1, area(rows, width)),
                          call.floats(2, width), call.floats(3, area(rows, 2)),
                          call.floats_or_null(9, area(rows, width)), call.floats(4, area(rows, width)),
                          call.floats(5, width), call.floats(6, width), rows, width);
}
/// x, gain, y, stats, rows, width, epsilon
void rms_norm(Call& call) {
  int rows = call.size(4), width = width_at(call, 5);
  kernels().rmsNorm(call.floats(0, area(rows, width)), call.floats(1, width),
                    call.floats(2, area(rows, width)), call.floats(3, rows), rows, width,
                    static_cast<float>(call.number(6)));
}
/// dy, x, gain, stats, dx, dgain, rows, width, residual|null
void rms_norm_grad(Call& call) {
  int rows = call.size(6), width = width_at(call, 7);
  kernels().rmsNormGrad(call.floats(0, area(rows, width)), call.floats(1, area(rows, width)),
                        call.floats(2, width), call.floats(3, rows),
                        call.floats_or_null(8, area(rows, width)), call.floats(4, area(rows, width)),
                        call.floats(5, width), rows, width);
}

/// The heads of q|k|v at arguments i (heads), i+1 (kvHeads), i+2 (headDim).
void check_heads(Call& call, int heads, int kvHeads, int headDim) {
  constexpr int kMost = 1 << 14;
  if (heads < 1 || kvHeads < 1 || headDim < 1 || heads % kvHeads != 0 || heads > kMost || headDim > kMost)
    call.range_problem("heads must be a multiple of kvHeads, headDim at least 1, and both at most 16384");
}

/// The keys that each row sees: its own run of equal segment numbers (0 sees nothing), up to itself when causal.
void visible_keys(const int32_t* segments, int batch, int time, bool causal, int32_t* first, int32_t* last) {
  for (int b = 0; b < batch; b++) {
    size_t row = static_cast<size_t>(b) * time;
    for (int begin = 0; begin < time;) {
      int end = begin + 1;
      if (!segments) end = time;
      while (end < time && segments[row + end] == segments[row + begin]) end++;
      bool padding = segments && segments[row + begin] == 0;
      for (int t = begin; t < end; t++) {
        first[row + t] = padding ? 0 : begin;
        last[row + t] = padding ? 0 : causal ? t + 1 : end;
      }
      begin = end;
    }
  }
}

/// batch, time, heads, kvHeads, headDim from argument i on.
AttentionShape attention_shape(Call& call, size_t i) {
  AttentionShape s{};
  s.batch = call.size(i);
  s.time = call.size(i + 1);
  s.heads = call.size(i + 2);
  s.kvHeads = call.size(i + 3);
  s.headDim = call.size(i + 4);
  check_heads(call, s.heads, s.kvHeads, s.headDim);
  return s;
}
void set_visible_keys(AttentionShape& s, const int32_t* segments, bool causal) {
  size_t rows = area(s.batch, s.time);
  auto* first = reinterpret_cast<int32_t*>(reserve_shared(Slot::hidden, 2 * rows * sizeof(int32_t)));
  visible_keys(segments, s.batch, s.time, causal, first, first + rows);
  s.first = first;
  s.last = first + rows;
}

/// qkv, segments|null, y, logSumExp, batch, time, heads, kvHeads, headDim, causal
void attention(Call& call) {
  AttentionShape s = attention_shape(call, 4);
  size_t rows = area(s.batch, s.time), heads = area(rows, s.heads);
  const float* qkv = call.floats(0, area(rows, (s.heads + 2 * size_t(s.kvHeads)) * s.headDim));
  const int32_t* segments = call.ints_or_null(1, rows);
  float *y = call.floats(2, area(heads, s.headDim)), *sums = call.floats(3, heads);
  if (rows == 0) return;
  if (heads > INT32_MAX) call.range_problem("too many rows");
  set_visible_keys(s, segments, call.flag(9));
  kernels().attention(s, qkv, y, sums);
}
/// dy, qkv, y, logSumExp, segments|null, dqkv, batch, time, heads, kvHeads, headDim, causal
void attention_grad(Call& call) {
  AttentionShape s = attention_shape(call, 6);
  size_t rows = area(s.batch, s.time), heads = area(rows, s.heads);
  size_t wide = area(rows, (s.heads + 2 * size_t(s.kvHeads)) * s.headDim), narrow = area(heads, s.headDim);
  const float *dy = call.floats(0, narrow), *qkv = call.floats(1, wide), *y = call.floats(2, narrow);
  const float* sums = call.floats(3, heads);
  const int32_t* segments = call.ints_or_null(4, rows);
  float* dqkv = call.floats(5, wide);
  if (rows == 0) return;
  if (heads > INT32_MAX) call.range_problem("too many rows");
  set_visible_keys(s, segments, call.flag(11));
  kernels().attentionGrad(s, dy, qkv, y, sums, dqkv);
}

/// qkv, positions, y, rows, heads, kvHeads, headDim, theta, inverse
void rope(Call& call) {
  int rows = call.size(3), heads = call.size(4), kvHeads = call.size(5), headDim = call.size(6);
  check_heads(call, heads, kvHeads, headDim);
  if (headDim % 2) call.range_problem("headDim must be even");
  size_t size = area(rows, (heads + 2 * size_t(kvHeads)) * headDim);
  const float* qkv = call.floats(0, size);
  const int32_t* positions = call.ints(1, rows);
  float *y = call.floats(2, size), theta = static_cast<float>(call.number(7));
  if (rows) kernels().rope(qkv, positions, y, rows, heads, kvHeads, headDim, theta, call.flag(8));
}

/// x, y, rows, width
void swiglu(Call& call) {
  int rows = call.size(2), width = width_at(call, 3);
  kernels().swiglu(call.floats(0, 2 * area(rows, width)), call.floats(1, area(rows, width)), rows, width);
}
/// dy, x, dx, rows, width
void swiglu_grad(Call& call) {
  int rows = call.size(3), width = width_at(call, 4);
  kernels().swigluGrad(call.floats(0, area(rows, width)), call.floats(1, 2 * area(rows, width)),
                       call.floats(2, 2 * area(rows, width)), rows, width);
}

/// weight, ids, y, rows, vocab, width
void embed(Call& call) {
  int rows = call.size(3), vocab = call.size(4), width = call.size(5);
  const float* weight = call.floats(0, area(vocab, width));
  const int32_t* ids = call.ints(1, rows);
  float* y = call.floats(2, area(rows, width));
  call.check_ids(ids, rows, vocab);
  if (width) kernels().embed(weight, ids, y, rows, width);
}
/// dy, ids, dweight, rows, vocab, width; ids outside the table are skipped
void scatter_add(Call& call) {
  int rows = call.size(3), vocab = call.size(4), width = call.size(5);
  kernels().scatterAdd(call.floats(0, area(rows, width)), call.ints(1, rows),
                       call.floats(2, area(vocab, width)), rows, vocab, width);
}

RowSums* reserve_sums(int rows) {
  return reinterpret_cast<RowSums*>(reserve_shared(Slot::hidden, rows * sizeof(RowSums)));
}

float temperature_at(Call& call, size_t i) {
  double t = call.number(i);
  if (!(t > 0) || !std::isfinite(t))
    call.range_problem("temperature must be above 0, got " + std::to_string(t));
  return static_cast<float>(t);
}

/// logits, ids, logProbs, logSumExp, entropy|null, rows, vocab, temperature
void token_log_probs(Call& call) {
  int rows = call.size(5), vocab = call.size(6);
  float temperature = temperature_at(call, 7);
  const float* logits = call.floats(0, area(rows, vocab));
  const int32_t* ids = call.ints(1, rows);
  float *logProbs = call.floats(2, rows), *logSumExp = call.floats(3, rows);
  float* entropy = call.floats_or_null(4, rows);
  call.check_ids(ids, rows, vocab);
  RowSums* sums = reserve_sums(rows);
  kernels().addLogits({logits, vocab, rows, 0, vocab, temperature}, ids, sums);
  kernels().tokenLogProbs(sums, logProbs, logSumExp, entropy, rows, temperature);
}
/// dy, logits, ids, logSumExp, dlogits, rows, vocab, temperature
void token_log_probs_grad(Call& call) {
  int rows = call.size(5), vocab = call.size(6);
  const int32_t* ids = call.ints(2, rows);
  call.check_ids(ids, rows, vocab);
  kernels().tokenLogProbsGrad(
      call.floats(0, rows),
      {call.floats(1, area(rows, vocab)), vocab, rows, 0, vocab, temperature_at(call, 7)}, ids,
      call.floats(3, rows), call.floats(4, area(rows, vocab)), vocab);
}

/// Logits that are not kept exist for so many tokens of the vocabulary at a time that they take around 8 MB. Blocks
/// of rows instead would read and write the whole unembedding and its gradient once for each of them.
int columns_per_block(int rows, int vocab) {
  constexpr int kElements = 2 << 20, kMultiple = 256;
  return std::min(vocab, std::max(1, kElements / std::max(rows, 1) / kMultiple) * kMultiple);
}

/// hidden, unembedding, ids, logProbs, entropy, logSumExp, rows, width, vocab, temperature, logits|null to keep
void linear_token_log_probs(Call& call) {
  int rows = call.size(6), width = width_at(call, 7), vocab = call.size(8);
  float temperature = temperature_at(call, 9);
  const float *hidden = call.floats(0, area(rows, width)), *unembedding = call.floats(1, area(vocab, width));
  const int32_t* ids = call.ints(2, rows);
  float *logProbs = call.floats(3, rows), *entropy = call.floats(4, rows), *logSumExp = call.floats(5, rows);
  float* kept = call.floats_or_null(10, area(rows, vocab));
  call.check_ids(ids, rows, vocab);
  int block = columns_per_block(rows, vocab), stride = kept ? vocab : block;
  float* scratch = kept ? nullptr : reserve_shared(Slot::logits, area(rows, block) * sizeof(float));
  RowSums* sums = reserve_sums(rows);
  for (int first = 0; first < vocab; first += block) {
    int columns = std::min(block, vocab - first);
    float* logits = kept ? kept + first : scratch;
    const float* rowsOfWeight = unembedding + area(first, width);
    kernels().product({rows, columns, width, hidden, width, false, rowsOfWeight, width, true, logits, stride});
    kernels().addLogits({logits, stride, rows, first, columns, temperature}, ids, sums);
  }
  kernels().tokenLogProbs(sums, logProbs, logSumExp, entropy, rows, temperature);
}
/// dy, hidden, unembedding, ids, logSumExp, dhidden, dunembedding, rows, width, vocab, temperature, logits|null
void linear_token_log_probs_grad(Call& call) {
  int rows = call.size(7), width = width_at(call, 8), vocab = call.size(9);
  float temperature = temperature_at(call, 10);
  const float *dy = call.floats(0, rows), *hidden = call.floats(1, area(rows, width));
  const float *unembedding = call.floats(2, area(vocab, width)), *logSumExp = call.floats(4, rows);
  const int32_t* ids = call.ints(3, rows);
  float *dhidden = call.floats(5, area(rows, width)), *dunembedding = call.floats(6, area(vocab, width));
  const float* kept = call.floats_or_null(11, area(rows, vocab));
  call.check_ids(ids, rows, vocab);
  int block = columns_per_block(rows, vocab), stride = kept ? vocab : block;
  float* dlogits = reserve_shared(Slot::logits, area(rows, block) * sizeof(float));
  for (int first = 0; first < vocab; first += block) {
    int columns = std::min(block, vocab - first);
    const float *logits = kept ? kept + first : dlogits, *rowsOfWeight = unembedding + area(first, width);
    if (!kept)
      kernels().product(
          {rows, columns, width, hidden, width, false, rowsOfWeight, width, true, dlogits, stride});
    kernels().tokenLogProbsGrad(dy, {logits, stride, rows, first, columns, temperature}, ids, logSumExp,
                                dlogits, block);
    kernels().product({rows, width, columns, dlogits, block, false, rowsOfWeight, width, false, dhidden,
                       width, first > 0});
    kernels().product({columns, width, rows, dlogits, block, true, hidden, width, false,
                       dunembedding + area(first, width), width});
  }
}

/// params[], grads[], firsts[], seconds[], weightDecays[], learningRate, beta1, beta2, epsilon, step, gradScale
void adamw(Call& call) {
  std::vector<size_t> sizes[4];
  std::vector<float*> arrays[4];
  for (int k = 0; k < 4; k++) arrays[k] = call.float_arrays(k, sizes[k]);
  auto decays = call.numbers(4);
  size_t count = arrays[0].size();
  for (int k = 1; k < 4; k++)
    if (sizes[k] != sizes[0]) call.range_problem("params, grads and moments must agree in size");
  if (decays.size() != count) call.range_problem("one weight decay for every parameter");
  double beta1 = call.number(6), beta2 = call.number(7), step = call.number(9);
  AdamwSettings s{static_cast<float>(call.number(5)),
                  static_cast<float>(beta1),
                  static_cast<float>(beta2),
                  static_cast<float>(call.number(8)),
                  static_cast<float>(1 - std::pow(beta1, step)),
                  static_cast<float>(1 - std::pow(beta2, step)),
                  static_cast<float>(call.number(10))};
  std::vector<AdamwParam> params;
  for (size_t i = 0; i < count; i++)
    params.push_back(
        {arrays[0][i], arrays[1][i], arrays[2][i], arrays[3][i], sizes[0][i], static_cast<float>(decays[i])});
  kernels().adamw(params.data(), static_cast<int>(count), s);
}

/// tensors[] → √Σ x²
void global_norm(Call& call) {
  std::vector<size_t> sizes;
  auto arrays = call.float_arrays(0, sizes);
  double sum = kernels().sumOfSquares(arrays.data(), sizes.data(), static_cast<int>(arrays.size()));
  napi_create_double(call.env, std::sqrt(sum), &call.result);
}

/// logits, uniforms, ids, logProbs, rows, vocab, temperature, topK (0: off), topP (1: off)
void sample(Call& call) {
  int rows = call.size(4), vocab = call.size(5);
  double topP = call.number(8);
  if (!(topP > 0 && topP <= 1)) call.range_problem("topP must be in (0, 1], got " + std::to_string(topP));
  if (vocab < 1 && rows > 0) call.range_problem("no tokens to choose from");
  const float *logits = call.floats(0, area(rows, vocab)), *uniforms = call.floats(1, rows);
  int32_t* ids = call.ints(2, rows);
  SampleSettings settings{temperature_at(call, 6), call.size(7), static_cast<float>(topP)};
  if (rows) kernels().sample(logits, uniforms, ids, call.floats(3, rows), rows, vocab, settings);
}

}  // namespace

void define_fused(napi_env env, napi_value exports) {
  define(env, exports, "linear", linear);
  define(env, exports, "linearGrad", linear_grad);
  define(env, exports, "layerNorm", layer_norm);
  define(env, exports, "layerNormGrad", layer_norm_grad);
  define(env, exports, "rmsNorm", rms_norm);
  define(env, exports, "rmsNormGrad", rms_norm_grad);
  define(env, exports, "attention", attention);
  define(env, exports, "attentionGrad", attention_grad);
  define(env, exports, "rope", rope);
  define(env, exports, "swiglu", swiglu);
  define(env, exports, "swigluGrad", swiglu_grad);
  define(env, exports, "embed", embed);
  define(env, exports, "scatterAdd", scatter_add);
  define(env, exports, "tokenLogProbs", token_log_probs);
  define(env, exports, "tokenLogProbsGrad", token_log_probs_grad);
  define(env, exports, "linearTokenLogProbs", linear_token_log_probs);
  define(env, exports, "linearTokenLogProbsGrad", linear_token_log_probs_grad);
  define(env, exports, "adamw", adamw);
  define(env, exports, "globalNorm", global_norm);
  define(env, exports, "sample", sample);
}

}  // namespace rlhf
