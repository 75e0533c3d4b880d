// The plain operations by their tfjs kernel names; a name's place in its list is the number that crosses to C++.
#pragma once

// clang-format off
#define RLHF_UNARY_OPS(_) \
  _(Abs) _(Ceil) _(Cos) _(Erf) _(Exp) _(Expm1) _(Floor) _(Log) _(Log1p) _(Neg) _(Reciprocal) _(Relu) _(Round) \
  _(Rsqrt) _(Sigmoid) _(Sign) _(Sin) _(Softplus) _(Sqrt) _(Square) _(Tanh) _(ClipByValue) _(Step) _(LeakyRelu) \
  _(Scale)

#define RLHF_BINARY_OPS(_) \
  _(Add) _(Sub) _(Multiply) _(RealDiv) _(Maximum) _(Minimum) _(SquaredDifference) _(Pow)

#define RLHF_COMPARISONS(_) \
  _(Equal) _(NotEqual) _(Greater) _(GreaterEqual) _(Less) _(LessEqual) _(LogicalAnd) _(LogicalOr)
// clang-format on

namespace rlhf {
#define RLHF_NUMBER(name) name,
namespace unary_op {
enum : int { RLHF_UNARY_OPS(RLHF_NUMBER) count };
}
namespace binary_op {
enum : int { RLHF_BINARY_OPS(RLHF_NUMBER) count };
}
namespace comparison {
enum : int { RLHF_COMPARISONS(RLHF_NUMBER) count };
}
#undef RLHF_NUMBER
}  // namespace rlhf
