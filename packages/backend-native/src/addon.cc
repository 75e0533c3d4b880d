// The addon: which instruction set runs, how many threads, and how a call from JavaScript becomes one to a kernel.
#include <dlfcn.h>

#include <mutex>
#include <new>
#include <utility>

#include "call.h"
#include "ops.h"
#include "thread_pool.h"

namespace rlhf {
namespace {

const Kernels* chosen = nullptr;

bool supported(const Kernels& k) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (&k == &kAvx512Kernels)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (&k == &kAvx2Kernels) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return &k == &kPortableKernels;
}

const Kernels* const kAll[] = {
#if defined(__x86_64__)
    &kAvx512Kernels,
    &kAvx2Kernels,
#endif
    &kPortableKernels,
};

// The thread pool and its scratch memory serve one call at a time; worker threads of Node take turns.
std::mutex one_call_at_a_time;

napi_value run(napi_env env, napi_callback_info info) {
  void* data;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  auto* definition = static_cast<std::pair<const char*, Binding>*>(data);
  Call call(env, info, definition->first);
  try {
    std::lock_guard<std::mutex> lock(one_call_at_a_time);
    definition->second(call);
    return call.result;
  } catch (const TypeProblem& problem) {
    napi_throw_type_error(env, nullptr, problem.what());
  } catch (const RangeProblem& problem) {
    napi_throw_range_error(env, nullptr, problem.what());
  } catch (const std::bad_alloc&) {
    napi_throw_range_error(env, nullptr, ("Cannot run " + std::string(call.op) + ": out of memory").c_str());
  }
  return nullptr;
}

/// configure(isa, threads, shareAll): isa is a place in `instructionSets`, or −1 for the best one here. Returns its name.
void configure(Call& call) {
  int threads = call.size(1);
  double index = call.number(0);
  const Kernels* best = nullptr;
  for (int i = 0; i < static_cast<int>(sizeof(kAll) / sizeof(*kAll)); i++)
    if (!best && (index < 0 || index == i) && supported(*kAll[i])) best = kAll[i];
  if (!best) call.range_problem("this processor lacks the instruction set");
  chosen = best;
  set_threads(threads, call.flag(2));
  napi_create_string_utf8(call.env, best->name, NAPI_AUTO_LENGTH, &call.result);
}

void release(Call&) { release_scratch(); }

void set_names(napi_env env, napi_value exports, const char* property, const char* const* names,
               size_t count) {
  napi_value list, name;
  napi_create_array_with_length(env, count, &list);
  for (size_t i = 0; i < count; i++) {
    napi_create_string_utf8(env, names[i], NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, list, static_cast<uint32_t>(i), name);
  }
  napi_set_named_property(env, exports, property, list);
}

/// Node unloads an addon when the last worker thread that used it ends, but the threads of the pool go on.
void stay_loaded() {
  Dl_info own;
  if (dladdr(reinterpret_cast<void*>(&stay_loaded), &own)) dlopen(own.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

}  // namespace

const Kernels& kernels() { return *chosen; }

void define(napi_env env, napi_value exports, const char* name, Binding binding) {
  // Lives as long as the process: worker threads may load the addon again at any time.
  auto* definition = new std::pair<const char*, Binding>(name, binding);
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, run, definition, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace rlhf

NAPI_MODULE_INIT() {
  using namespace rlhf;
  stay_loaded();
  for (const Kernels* k : kAll)
    if (!chosen && supported(*k)) chosen = k;
  define(env, exports, "configure", configure);
  define(env, exports, "releaseScratch", release);
  define_plain(env, exports);
  define_layout(env, exports);
  define_fused(env, exports);
  define_decode(env, exports);
#define RLHF_NAME(name) #name,
  static const char* const unary[] = {RLHF_UNARY_OPS(RLHF_NAME)};
  static const char* const binary[] = {RLHF_BINARY_OPS(RLHF_NAME)};
  static const char* const comparisons[] = {RLHF_COMPARISONS(RLHF_NAME)};
  static const char* sets[sizeof(kAll) / sizeof(*kAll)];
  for (size_t i = 0; i < sizeof(kAll) / sizeof(*kAll); i++) sets[i] = kAll[i]->name;
  set_names(env, exports, "unaryOps", unary, sizeof(unary) / sizeof(*unary));
  set_names(env, exports, "binaryOps", binary, sizeof(binary) / sizeof(*binary));
  set_names(env, exports, "comparisons", comparisons, sizeof(comparisons) / sizeof(*comparisons));
  set_names(env, exports, "instructionSets", sets, sizeof(kAll) / sizeof(*kAll));
  return exports;
}
