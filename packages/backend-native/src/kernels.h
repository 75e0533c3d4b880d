// The kernels that every instruction set provides. One table per instruction set; the addon picks one at start.
// All matrices are row-major float32. Sizes were validated by the caller; reductions have an order that depends on
// the shapes alone, so results do not change with the number of threads.
#pragma once
#include <cstddef>
#include <cstdint>

namespace rlhf {

/// c = a·b (+ bias), [m, k]·[k, n]; then out = activation(c) + residual. With `transposeA`, a is stored [k, m];
/// with `transposeB`, b is stored [n, k]. Without activation `out` stays null and the residual is added to c.
struct Product {
  int m, n, k;
  const float* a;
  int strideA;
  bool transposeA;
  const float* b;
  int strideB;
  bool transposeB;
  float* c;
  int strideC;
  bool accumulate = false;
  const float* bias = nullptr;
  int activation = 0;
  float* out = nullptr;
  const float* residual = nullptr;
  /// b once more, as `packWeight` laid it out: it is then read front to back and need not be packed.
  const float* packedB = nullptr;
};

/// q|k|v of a batch of sequences in one matrix [batch, time, (heads + 2·kvHeads)·headDim]. Row t of a sequence sees
/// the keys [first[t], last[t]).
struct AttentionShape {
  int batch, time, heads, kvHeads, headDim;
  const int32_t* first;
  const int32_t* last;
};

/// A walk over a block of memory: `dims` outermost first, with the element strides of up to three arrays.
struct Walk {
  static constexpr int kMaxRank = 8;
  int rank;
  int64_t dims[kMaxRank];
  int64_t a[kMaxRank];
  int64_t b[kMaxRank];
};

struct AdamwSettings {
  float learningRate, beta1, beta2, epsilon;
  float correction1, correction2;  // 1 − β₁ᵗ, 1 − β₂ᵗ
  float gradScale;
};
struct AdamwParam {
  float* param;
  const float* grad;
  float* first;
  float* second;
  size_t size;
  float weightDecay;
};

/// Columns [first, first + columns) of the logits [rows, vocab] of a softmax; their rows lie `stride` apart.
struct LogitBlock {
  const float* logits;
  int stride, rows, first, columns;
  float temperature;
};
/// What those columns of a row z that were seen so far reduce to.
struct RowSums {
  float top;     // max z
  float sum;     // Σ exp((z − top)/T)
  float moment;  // Σ exp((z − top)/T) · (z − top)/T
  float chosen;  // z of the given token
};

struct SampleSettings {
  float temperature;
  int topK;
  float topP;
};

enum class Reduction : int { sum, max, min, prod };

struct Kernels {
  const char* name;

  void (*product)(const Product&);
  void (*productBatch)(const Product& first, int count, const int64_t* offsetsA, const int64_t* offsetsB,
                       int64_t stepC);
  size_t (*packedSize)(int k, int n);
  void (*packWeight)(const float* b, int k, int n, bool transposed, float* packed);
  void (*activationGrad)(int activation, const float* dy, const float* pre, float* dpre, size_t size);
  void (*columnSums)(const float* x, float* sums, size_t rows, size_t columns);

  void (*unary)(int op, const float* x, float* y, size_t size, float p0, float p1);
  void (*binary)(int op, const float* a, const float* b, float* y, const Walk&);
  void (*binaryInt)(int op, const int32_t* a, const int32_t* b, int32_t* y, const Walk&);
  void (*compare)(int op, const float* a, const float* b, uint8_t* y, const Walk&);
  void (*compareInt)(int op, const int32_t* a, const int32_t* b, uint8_t* y, const Walk&);
  void (*compareBool)(int op, const uint8_t* a, const uint8_t* b, uint8_t* y, const Walk&);
  void (*select)(const uint8_t* condition, const float* yes, const float* no, float* y, size_t size);
  void (*reduce)(Reduction, const float* x, float* y, size_t outer, size_t reduced, size_t inner,
                 float scale);
  void (*cumulate)(const float* x, float* y, size_t rows, size_t columns, bool exclusive, bool reverse);
  void (*softmax)(const float* x, float* y, size_t rows, size_t columns, bool log);

  void (*layerNorm)(const float* x, const float* gain, const float* bias, float* y, float* stats, int rows,
                    int width, float epsilon);
  /// The residual, which may be null, is added to dx.
  void (*layerNormGrad)(const float* dy, const float* x, const float* gain, const float* stats,
                        const float* residual, float* dx, float* dgain, float* dbias, int rows, int width);
  void (*rmsNorm)(const float* x, const float* gain, float* y, float* stats, int rows, int width,
                  float epsilon);
  void (*rmsNormGrad)(const float* dy, const float* x, const float* gain, const float* stats,
                      const float* residual, float* dx, float* dgain, int rows, int width);

  void (*attention)(const AttentionShape&, const float* qkv, float* y, float* logSumExp);
  void (*attentionGrad)(const AttentionShape&, const float* dy, const float* qkv, const float* y,
                        const float* logSumExp, float* dqkv);
  void (*rope)(const float* qkv, const int32_t* positions, float* y, int rows, int heads, int kvHeads,
               int headDim, float theta, bool inverse);
  void (*swiglu)(const float* x, float* y, int rows, int width);
  void (*swigluGrad)(const float* dy, const float* x, float* dx, int rows, int width);

  void (*embed)(const float* weight, const int32_t* ids, float* y, int rows, int width);
  void (*scatterAdd)(const float* dy, const int32_t* ids, float* dweight, int rows, int vocab, int width);

  /// Adds a block, the first of which starts the sums.
  void (*addLogits)(const LogitBlock&, const int32_t* ids, RowSums* sums);
  void (*tokenLogProbs)(const RowSums* sums, float* logProbs, float* logSumExp, float* entropy, int rows,
                        float temperature);
  /// dlogits may be the block itself.
  void (*tokenLogProbsGrad)(const float* dy, const LogitBlock&, const int32_t* ids, const float* logSumExp,
                            float* dlogits, int strideOut);

  void (*adamw)(const AdamwParam* params, int count, const AdamwSettings&);
  double (*sumOfSquares)(const float* const* tensors, const size_t* sizes, int count);

  void (*sample)(const float* logits, const float* uniforms, int32_t* ids, float* logProbs, int rows,
                 int vocab, const SampleSettings&);
  void (*cachedAttention)(const struct DecodeLayer&);
};

/// One layer's share of a decoding step: row i of qkv belongs to the sequence in slots[i] at positions[i].
/// keys and values are [slot][kvHead][position][headDim].
struct DecodeLayer {
  int rows, heads, kvHeads, headDim, length;
  const int32_t* slots;
  const int32_t* positions;
  const float* qkv;
  float* keys;
  float* values;
  float* y;
};

extern const Kernels kAvx512Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kPortableKernels;

}  // namespace rlhf
