// A whole decoding step of a pre-norm decoder in one call: between kernels there is no JavaScript at all.
#include <cmath>
#include <cstring>

#include "call.h"
#include "thread_pool.h"

namespace rlhf {
namespace {

struct Decoder {
  int vocab, width, context, hidden, heads, kvHeads, headDim, slots, length, layers;
  bool rms;
  float epsilon;
  int activation;   // kSwiglu or a number of Product::activation
  float ropeTheta;  // 0: no rotary embedding
  static constexpr int kSwiglu = 5;
  int qkvWidth() const { return (heads + 2 * kvHeads) * headDim; }
  int upWidth() const { return activation == kSwiglu ? 2 * hidden : hidden; }
  size_t cacheSize() const { return static_cast<size_t>(slots) * kvHeads * length * headDim; }
};

/// [vocab, width, context, hidden, heads, kvHeads, headDim, slots, length, layers, rms, epsilon, activation, ropeTheta]
Decoder decoder_at(Call& call, size_t i) {
  auto n = call.numbers(i);
  if (n.size() != 14) call.range_problem("a decoder is described by 14 numbers");
  for (int j = 0; j < 10; j++)
    if (!(n[j] >= 0 && n[j] < (1 << 28)) || n[j] != std::floor(n[j]))
      call.range_problem("sizes must be whole numbers below 2^28");
  Decoder d{};
  int* const sizes[] = {&d.vocab,   &d.width,   &d.context, &d.hidden, &d.heads,
                        &d.kvHeads, &d.headDim, &d.slots,   &d.length, &d.layers};
  for (int j = 0; j < 10; j++) *sizes[j] = static_cast<int>(n[j]);
  d.rms = n[10] != 0;
  d.epsilon = static_cast<float>(n[11]);
  d.activation = static_cast<int>(n[12]);
  d.ropeTheta = static_cast<float>(n[13]);
  double cache = n[7] * n[5] * n[8] * n[6], qkv = (n[4] + 2 * n[5]) * n[6];
  if (cache > 1e12 || qkv > 1e8) call.range_problem("the decoder is too large");
  if (d.vocab < 1 || d.width < 1 || d.hidden < 1 || d.heads < 1 || d.kvHeads < 1 || d.headDim < 1 ||
      d.heads % d.kvHeads || d.activation < 0 || d.activation > Decoder::kSwiglu ||
      (d.ropeTheta > 0 && d.headDim % 2))
    call.range_problem("this is no decoder: check the vocabulary, width, heads and activation");
  return d;
}

struct Affine {
  const float *weight, *bias, *packed;
};
struct Block {
  Affine attentionNorm, qkv, attentionOut, feedForwardNorm, up, down;
};
struct Weights {
  const float *tokens, *positions;
  std::vector<Block> blocks;
  Affine finalNorm;
  const float *unembedding, *packedUnembedding;
};

/// Hands out the weights one after the other, with the size that each must have.
class WeightReader {
 public:
  WeightReader(Call& call, size_t plain, size_t packed)
      : call_(call),
        arrays_(call.optional_float_arrays(plain, lengths_)),
        packed_(call.optional_float_arrays(packed, packedLengths_)) {
    if (arrays_.size() != packed_.size()) call.range_problem("as many packed weights as weights");
  }
  const float* take(size_t size, bool optional = false) {
    if (next_ >= arrays_.size()) call_.range_problem("too few weights");
    size_t i = next_++;
    if (!arrays_[i] && optional) return nullptr;
    if (!arrays_[i] || lengths_[i] != size)
      call_.range_problem("weight " + std::to_string(i) + " needs " + std::to_string(size) +
                          " elements, got " + std::to_string(arrays_[i] ? lengths_[i] : 0));
    return arrays_[i];
  }
  /// The packed form of the weight taken last, a [k, n] matrix; null when there is none.
  const float* packed(int k, int n) {
    size_t i = next_ - 1;
    if (packed_[i] && packedLengths_[i] < kernels().packedSize(k, n))
      call_.range_problem("a packed weight is too small");
    return packed_[i];
  }
  Affine affine(int in, int out) {
    const float *weight = take(static_cast<size_t>(in) * out), *fast = packed(in, out);
    return {weight, take(out, true), fast};
  }
  Affine norm(size_t width, bool rms) {
    const float* gain = take(width);
    return {gain, take(width, rms), nullptr};
  }

 private:
  Call& call_;
  std::vector<size_t> lengths_, packedLengths_;
  std::vector<float*> arrays_, packed_;
  size_t next_ = 0;
};

Weights read_weights(Call& call, const Decoder& d) {
  WeightReader reader(call, 0, 1);
  Weights w;
  w.tokens = reader.take(static_cast<size_t>(d.vocab) * d.width);
  w.positions = reader.take(static_cast<size_t>(d.context) * d.width, d.context == 0);
  for (int layer = 0; layer < d.layers; layer++) {
    Block b;
    b.attentionNorm = reader.norm(d.width, d.rms);
    b.qkv = reader.affine(d.width, d.qkvWidth());
    b.attentionOut = reader.affine(d.heads * d.headDim, d.width);
    b.feedForwardNorm = reader.norm(d.width, d.rms);
    b.up = reader.affine(d.width, d.upWidth());
    b.down = reader.affine(d.hidden, d.width);
    w.blocks.push_back(b);
  }
  w.finalNorm = reader.norm(d.width, d.rms);
  w.unembedding = reader.take(static_cast<size_t>(d.vocab) * d.width);
  w.packedUnembedding = reader.packed(d.width, d.vocab);
  return w;
}

void normalize(const Decoder& d, const Affine& norm, const float* x, float* y, float* stats, int rows) {
  if (d.rms)
    kernels().rmsNorm(x, norm.weight, y, stats, rows, d.width, d.epsilon);
  else
    kernels().layerNorm(x, norm.weight, norm.bias, y, stats, rows, d.width, d.epsilon);
}

/// y = x·W + b, or y += with `accumulate`.
Product affine(const Affine& a, const float* x, int rows, int in, int out, float* y,
               bool accumulate = false) {
  Product p{rows, out, in, x, in, false, a.weight, out, false, y, out};
  p.accumulate = accumulate;
  p.bias = a.bias;
  p.packedB = a.packed;
  return p;
}

/// weights[], packed[], keys[], values[], ids, slots, positions, outputRows, logits, rows, outputs, decoder
void decode_step(Call& call) {
  Decoder d = decoder_at(call, 11);
  int rows = call.size(9), outputs = call.size(10);
  Weights w = read_weights(call, d);
  std::vector<size_t> keySizes, valueSizes;
  auto keys = call.float_arrays(2, keySizes), values = call.float_arrays(3, valueSizes);
  const int32_t *ids = call.ints(4, rows), *slots = call.ints(5, rows), *positions = call.ints(6, rows);
  const int32_t* outputRows = call.ints(7, outputs);
  float* logits = call.floats(8, static_cast<size_t>(outputs) * d.vocab);
  if (static_cast<int>(keys.size()) != d.layers || static_cast<int>(values.size()) != d.layers)
    call.range_problem("the cache must have as many layers as the weights");
  for (int l = 0; l < d.layers; l++)
    if (keySizes[l] < d.cacheSize() || valueSizes[l] < d.cacheSize())
      call.range_problem("the cache is too small");
  call.check_ids(ids, rows, d.vocab);
  call.check_ids(slots, rows, d.slots);
  call.check_ids(positions, rows, w.positions ? std::min(d.length, d.context) : d.length);
  call.check_ids(outputRows, outputs, rows);

  size_t n = rows, width = d.width, attended = static_cast<size_t>(d.heads) * d.headDim;
  size_t most = std::max(n, static_cast<size_t>(outputs));
  float* x = reserve_shared(Slot::decode,
                            sizeof(float) * (n * width + most * (width + 2) + n * (d.qkvWidth() + attended) +
                                             n * (d.upWidth() + d.hidden) + outputs * width));
  float *normed = x + n * width, *stats = normed + most * width, *qkv = stats + 2 * most,
        *mixed = qkv + n * d.qkvWidth();
  float *up = mixed + n * attended, *hidden = up + n * d.upWidth(), *chosen = hidden + n * d.hidden;

  kernels().embed(w.tokens, ids, x, rows, d.width);
  if (w.positions)
    for (size_t i = 0; i < n; i++)
      for (size_t j = 0; j < width; j++) x[i * width + j] += w.positions[positions[i] * width + j];
  for (int l = 0; l < d.layers; l++) {
    const Block& b = w.blocks[l];
    normalize(d, b.attentionNorm, x, normed, stats, rows);
    kernels().product(affine(b.qkv, normed, rows, d.width, d.qkvWidth(), qkv));
    if (d.ropeTheta > 0)
      kernels().rope(qkv, positions, qkv, rows, d.heads, d.kvHeads, d.headDim, d.ropeTheta, false);
    kernels().cachedAttention(
        {rows, d.heads, d.kvHeads, d.headDim, d.length, slots, positions, qkv, keys[l], values[l], mixed});
    kernels().product(affine(b.attentionOut, mixed, rows, static_cast<int>(attended), d.width, x, true));
    normalize(d, b.feedForwardNorm, x, normed, stats, rows);
    Product raise = affine(b.up, normed, rows, d.width, d.upWidth(), up);
    if (d.activation == Decoder::kSwiglu) {
      kernels().product(raise);
      kernels().swiglu(up, hidden, rows, d.hidden);
    } else {
      raise.activation = d.activation;
      raise.out = hidden;
      kernels().product(raise);
    }
    kernels().product(affine(b.down, hidden, rows, d.hidden, d.width, x, true));
  }
  for (int i = 0; i < outputs; i++)
    std::memcpy(chosen + i * width, x + outputRows[i] * width, width * sizeof(float));
  normalize(d, w.finalNorm, chosen, normed, stats, outputs);
  const float* table = w.unembedding;
  Product unembed{outputs, d.vocab, d.width, normed, d.width, false, table, d.width, true, logits, d.vocab};
  unembed.packedB = w.packedUnembedding;
  kernels().product(unembed);
}

/// weight, k, n, transposed, packed
void pack_weight(Call& call) {
  int k = call.size(1), n = call.size(2);
  if (static_cast<double>(k) * n > 1e11) call.range_problem("the weight is too large");
  const float* weight = call.floats(0, static_cast<size_t>(k) * n);
  bool transposed = call.flag(3);
  float* packed = call.floats(4, kernels().packedSize(k, n));
  if (k && n) kernels().packWeight(weight, k, n, transposed, packed);
}
void packed_size(Call& call) {
  napi_create_double(call.env, static_cast<double>(kernels().packedSize(call.size(0), call.size(1))),
                     &call.result);
}

}  // namespace

void define_decode(napi_env env, napi_value exports) {
  define(env, exports, "decodeStep", decode_step);
  define(env, exports, "packWeight", pack_weight);
  define(env, exports, "packedSize", packed_size);
}

}  // namespace rlhf
